"""Multilayer perceptrons: LeNet-300-100 and any other list of widths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

from torch import nn

from lightning_modules.networks.activations import make_activation
from lightning_modules.networks.checks import require_flag
from lightning_modules.networks.messages import shape_text

Widths = str | int | Sequence[int]
"""Layer widths: a list, one number, or text such as ``300-100`` and ``64x3``, three times 64."""


class MLP(nn.Sequential):
    """A fully connected network: flatten, then Linear and activation in turn, last a Linear.

    Input (batch, *input_shape) floating point, output (batch, num_classes) logits. The layers are
    children named ``flatten, fc1, act1, fc2, act2, ..., fcN``.

    Source: the LeNet-300-100 family of LeCun et al. 1998, "Gradient-based learning applied to
    document recognition".

    Args:
        input_shape: shape of one example, of any number of dimensions; it is flattened.
        num_classes: number of logits.
        hidden: widths of the hidden layers; none at all is a linear classifier.
        activation: a key of `ACTIVATIONS`, after every layer but the last.
        bias: whether the Linear layers have a bias.

    Raises:
        ValueError: a width below 1, an unknown activation, or a bias that is no flag.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        hidden: Widths = (300, 100),
        activation: str = "relu",
        bias: bool = True,
    ) -> None:
        require_flag("bias", bias)
        sizes = [prod(input_shape), *parse_widths(hidden, "hidden"), num_classes]
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        last = len(sizes) - 1
        for number in range(1, last + 1):
            layers[f"fc{number}"] = nn.Linear(sizes[number - 1], sizes[number], bias=bias)
            if number < last:
                layers[f"act{number}"] = make_activation(activation)
        super().__init__(layers)


def lenet_300_100(
    input_shape: tuple[int, ...], num_classes: int, activation: str = "relu", bias: bool = True
) -> MLP:
    """Build an `MLP` with hidden layers of 300 and 100 units (LeCun et al. 1998).

    784-300-100-10 on MNIST: 266 200 weights, 266 610 parameters with biases.
    """
    return MLP(input_shape, num_classes, (300, 100), activation, bias)


def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    widths: Widths | None = None,
    hidden: Widths | None = None,
    activation: str = "relu",
    bias: bool = True,
) -> MLP:
    """Build an `MLP` from either all widths or the hidden ones.

    Args:
        input_shape: shape of one example.
        num_classes: number of classes of the data.
        widths: all widths, input and output included (``64-300-100-10``); the two ends are
            checked against the data.
        hidden: hidden widths alone (``300-100``); the ends follow from the data.
        activation: see `MLP`.
        bias: see `MLP`.

    Raises:
        ValueError: neither or both of widths and hidden, or widths that do not fit the data.
    """
    if (widths is None) == (hidden is None):
        which = "neither" if widths is None else "both"
        raise ValueError(
            f"network 'mlp' takes either widths (such as 64-300-100-10) or hidden (such as "
            f"300-100), and got {which}."
        )
    if widths is None:
        assert hidden is not None
        return MLP(input_shape, num_classes, hidden, activation, bias)
    sizes = parse_widths(widths, "widths")
    inputs = prod(input_shape)
    if len(sizes) < 2 or sizes[0] != inputs or sizes[-1] != num_classes:
        raise ValueError(
            f"network 'mlp' with widths={'-'.join(map(str, sizes))} does not fit the data: the "
            f"first width must be {inputs} (input {shape_text(input_shape)}) and the last "
            f"{num_classes} (classes)."
        )
    return MLP(input_shape, num_classes, sizes[1:-1], activation, bias)


def parse_widths(widths: Widths, option: str) -> tuple[int, ...]:
    """Turn ``"300-100"``, ``300`` or ``[300, 100]`` into ``(300, 100)``.

    In text ``64x3`` stands for ``64-64-64``: deep networks would be long to write.

    Args:
        widths: the widths in any of the three forms.
        option: the option's name, for the error message.

    Raises:
        ValueError: something that is not a list of whole numbers >= 1.
    """
    parts: Sequence[object]
    if isinstance(widths, str):
        parts = [width for part in widths.split("-") for width in _repeated(part)]
    elif isinstance(widths, Sequence):
        parts = widths
    else:
        parts = [widths]
    sizes = [part for part in parts if type(part) is int and part >= 1]
    if len(sizes) != len(parts):
        raise ValueError(
            f"{option}={widths!r} is not a list of layer widths: give whole numbers >= 1 joined by "
            f"hyphens, such as 300-100 or 300-64x3-10."
        )
    return tuple(sizes)


def _repeated(part: str) -> list[int | str]:
    """``"64"`` is one width, ``"64x3"`` three; anything else stays as it is, and is refused."""
    width, _, count = part.partition("x")
    if not width.isdecimal() or (part != width and not count.isdecimal()):
        return [part]
    widths: list[int | str] = [int(width)] * int(count or 1)
    return widths or [part]  # "64x0" is no layer
