"""Checks of a network against its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_modules.networks.messages import one_line, shape_text
from lightning_modules.networks.rng import isolated_torch_rng


def require_data(input_shape: tuple[int, ...], num_classes: int) -> None:
    """Check what the data say of themselves.

    Args:
        input_shape: shape of one example: one or more whole numbers >= 1.
        num_classes: a whole number >= 2.

    Raises:
        ValueError: anything else.
    """
    if not input_shape or any(type(size) is not int or size < 1 for size in input_shape):
        raise ValueError(
            f"input_shape={input_shape!r} must be a tuple of whole numbers >= 1, such as (1, 8, 8)."
        )
    if type(num_classes) is not int or num_classes < 2:
        raise ValueError(f"num_classes={num_classes!r} must be a whole number >= 2.")


def require_image(name: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, height, width).

    Raises:
        ValueError: the shape has another number of dimensions than three.
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"network {name!r} takes images of shape (channels, height, width), but the input "
            f"shape is {tuple(input_shape)}."
        )
    channels, height, width = input_shape
    return channels, height, width


def require_flag(option: str, value: object) -> None:
    """Check that an option is True or False.

    Raises:
        ValueError: any other value, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{option}={value!r} must be true or false.")


def check_output(
    network: nn.Module,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    without_data: bool = False,
) -> None:
    """Pass a batch of two zero examples through `network` and check what comes out.

    The network is in evaluation mode meanwhile; its modes, running statistics and torch's global
    generator are as before afterwards. A lazy module gets its shapes here.

    Args:
        network: maps (2, *input_shape) to logits (2, num_classes), both floating point. The batch
            has the device and dtype of its first floating-point parameter.
        name: how the error message calls the network.
        input_shape: shape of one example.
        num_classes: number of logits expected.
        without_data: work on meta tensors, shapes alone: next to no time even for a large
            network, but one whose forward pass looks at values cannot be checked so.

    Raises:
        ValueError: the forward pass fails, or its result is no such tensor.
    """
    parameter = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    device = torch.device("meta") if without_data else parameter.device
    batch = torch.zeros((2, *input_shape), device=device, dtype=parameter.dtype)
    shape = shape_text(input_shape)
    with isolated_torch_rng(), evaluating(network), torch.no_grad():
        try:
            out = _on_meta(network, batch) if without_data else network(batch)
        except Exception as error:
            # Whatever a forward pass raises on zeros of the right shape means the same to the user.
            raise ValueError(
                f"network {name!r} cannot process input {shape} ({one_line(error)})."
            ) from error
    if not isinstance(out, Tensor) or not out.is_floating_point():
        got = f"a tensor of {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"network {name!r} must return one floating-point tensor of logits, but returned {got}."
        )
    if tuple(out.shape) != (2, num_classes):
        raise ValueError(
            f"network {name!r} must return logits of shape (2, {num_classes}) for 2 examples of "
            f"{num_classes} classes, but returned {tuple(out.shape)} for input {shape}."
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put every submodule in evaluation mode, and give each its own mode back at the end."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def weight_count(module: nn.Module) -> int:
    """Count the weights of linear and convolution layers, without biases and normalisation.

    Linear, Conv1d/2d/3d, their transposed forms, and the in-projections of
    `torch.nn.MultiheadAttention` count; a tensor that several layers share counts once. The
    number compares with those that the pruning literature states for an architecture.
    """
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    weights: dict[int, Tensor] = {}  # kept alive: a re-parametrised weight is made anew each time
    for child in module.modules():
        names: tuple[str, ...] = ()
        if isinstance(child, (nn.Linear, *convolutions, *transposed)):
            names = ("weight",)
        elif isinstance(child, nn.MultiheadAttention):
            names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        for name in names:
            weight = getattr(child, name)
            if weight is not None:
                weights[id(weight)] = weight
    return sum(weight.numel() for weight in weights.values())


def _on_meta(network: nn.Module, batch: Tensor) -> object:
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    shapes = {name: tensor.to("meta") for name, tensor in state.items()}
    return torch.func.functional_call(network, shapes, (batch,))
