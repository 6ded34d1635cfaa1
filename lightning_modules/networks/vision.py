"""Classification networks of torchvision, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from lightning_modules.networks.checks import check_output, require_image
from lightning_modules.networks.messages import nearest, one_line, shape_text
from lightning_modules.networks.rng import isolated_torch_rng

PREFIX = "torchvision"


class GreyToRGB(nn.Module):
    """Gives a network of three input channels the one grey channel three times.

    Input (batch, 1, h, w), output that of `network` for (batch, 3, h, w); no parameters of its
    own and no copy of the data.

    Args:
        network: a network that takes three channels.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Repeat the channel and apply the network."""
        return cast(Tensor, self.network(x.expand(-1, 3, -1, -1)))


def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's image classification networks, sorted."""
    import torchvision  # seconds of import time that the small networks need not pay

    return tuple(sorted(torchvision.models.list_models(module=torchvision.models)))


def build_torchvision(
    model: str, options: Mapping[str, Any], input_shape: tuple[int, ...], num_classes: int
) -> nn.Module:
    """Build a torchvision classification network without pretrained weights.

    Its last layer gets `num_classes` outputs. GoogLeNet and Inception v3 are built without their
    auxiliary classifiers, vision transformers and MaxViT for the size of the images given. An
    input of one channel is repeated to three (`GreyToRGB`).

    Args:
        model: torchvision's name, such as ``resnet18``.
        options: further keyword arguments of torchvision's builder, such as ``dropout``.
        input_shape: (1 or 3, height, width).
        num_classes: number of logits.

    Raises:
        ValueError: an unknown name (with the nearest ones), an option torchvision refuses, or an
            input the network cannot process.
    """
    import torchvision

    name = f"{PREFIX}:{model}"
    known = torchvision_names()
    if model not in known:
        raise ValueError(f"unknown torchvision network {model!r}: {nearest(model, known)}.")
    channels, height, width = require_image(name, input_shape)
    if channels not in (1, 3):
        raise ValueError(
            f"network {name!r} takes images of 3 channels (or 1, which is repeated), but the input "
            f"is {shape_text(input_shape)}."
        )
    if options.get("weights") is not None or "num_classes" in options:
        raise ValueError(
            f"network {name!r} takes neither weights (they come from the initialiser) nor "
            f"num_classes (it comes from the data) as an option."
        )
    arguments = {**_fixed_arguments(name, model, height, width), **options, "weights": None}
    with isolated_torch_rng():
        try:
            network = torchvision.models.get_model(model, num_classes=num_classes, **arguments)
        except Exception as error:
            # torchvision reports sizes and options it cannot use by several exception types.
            raise ValueError(
                f"network {name!r} cannot be built for input {shape_text(input_shape)}"
                f"{_listed(options)} ({one_line(error)})."
            ) from error
    result = network if channels == 3 else GreyToRGB(network)
    check_output(result, name, input_shape, num_classes, without_data=True)
    return cast(nn.Module, result)


def _fixed_arguments(name: str, model: str, height: int, width: int) -> dict[str, Any]:
    """Return the arguments by which one builder differs from the rest.

    `init_weights` is switched off where it exists: the weights come from the initialiser.
    """
    if model in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": False}
    if model.startswith("vgg"):
        return {"init_weights": False}
    if model.startswith("maxvit"):
        return {"input_size": (height, width)}
    if model.startswith("vit_"):
        if height != width:
            raise ValueError(f"network {name!r} takes square images, not {height}x{width}.")
        return {"image_size": height}
    return {}


def _listed(options: Mapping[str, Any]) -> str:
    if not options:
        return ""
    return " with " + ", ".join(f"{key}={value}" for key, value in options.items())
