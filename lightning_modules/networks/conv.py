"""The small VGG-like networks Conv2, Conv4, Conv6 and Conv8."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from lightning_modules.networks.activations import make_activation
from lightning_modules.networks.checks import require_flag, require_image
from lightning_modules.networks.messages import shape_text

CHANNELS = (64, 128, 256, 512)
"""Output channels of the convolution pairs, in order."""

DENSE = (256, 256)
"""Widths of the hidden fully connected layers."""


class ConvNet(nn.Sequential):
    """Pairs of 3x3 "same" convolutions, each pair closed by a 2x2 max-pool, then dense 256-256.

    Input (batch, channels, height, width) floating point, output (batch, num_classes) logits. An
    activation follows every layer but the last. The layers are children named ``conv1, act1,
    conv2, act2, pool1, ..., flatten, fc1, ...``; activations are counted through.

    Source: Zhou, Lan, Liu, Yosinski 2019, "Deconstructing Lottery Tickets" (after Frankle and
    Carbin 2019, which took them from Simonyan and Zisserman 2015). Weights without biases for
    3x32x32 and 10 classes: 4 300 992 (2 convolutions), 2 425 024 (4), 2 261 184 (6),
    5 275 840 (8).

    Args:
        input_shape: (channels, height, width); each of the depth / 2 pools halves both sides,
            rounded down, and at least one pixel must be left.
        num_classes: number of logits.
        depth: number of convolutions: 2, 4, 6 or 8.
        activation: a key of `ACTIVATIONS`.
        bias: whether convolutions and Linear layers have a bias.

    Raises:
        ValueError: another depth, an input that is no image or too small, unknown activation.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        depth: int = 2,
        activation: str = "relu",
        bias: bool = True,
    ) -> None:
        if depth not in (2, 4, 6, 8):
            raise ValueError(f"depth={depth!r} of a ConvNet must be 2, 4, 6 or 8.")
        require_flag("bias", bias)
        name = f"conv{depth}"
        channels, height, width = require_image(name, input_shape)
        pools = depth // 2
        if min(height, width) < 2**pools:
            raise ValueError(
                f"network {name!r} halves the image {pools} times and needs at least "
                f"{2**pools}x{2**pools} pixels, but the input is {shape_text(input_shape)}."
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for pair, out in enumerate(CHANNELS[:pools]):
            for number in (2 * pair + 1, 2 * pair + 2):
                layers[f"conv{number}"] = nn.Conv2d(channels, out, 3, padding=1, bias=bias)
                layers[f"act{number}"] = make_activation(activation)
                channels = out
            layers[f"pool{pair + 1}"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        features = channels * (height // 2**pools) * (width // 2**pools)
        for number, out in enumerate(DENSE, start=1):
            layers[f"fc{number}"] = nn.Linear(features, out, bias=bias)
            layers[f"act{depth + number}"] = make_activation(activation)
            features = out
        layers[f"fc{len(DENSE) + 1}"] = nn.Linear(features, num_classes, bias=bias)
        super().__init__(layers)
