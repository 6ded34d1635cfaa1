"""Small networks with dropout: those of the examples that Keras gave for MNIST and CIFAR-10."""

from __future__ import annotations

from collections import OrderedDict
from math import prod

from torch import nn

from lightning_modules.networks.checks import require_image
from lightning_modules.networks.messages import shape_text


def mnist_mlp(input_shape: tuple[int, ...], num_classes: int, narrow: int = 1) -> nn.Sequential:
    """Build inputs-512-512-classes with ReLU and dropout 0.2 after both hidden layers.

    (batch, *input_shape) to logits (batch, num_classes). On MNIST 669 706 parameters.

    Args:
        input_shape: shape of one example, of any number of dimensions; it is flattened.
        num_classes: number of logits.
        narrow: both hidden widths are divided by it: 1, 2, 4, 8 or 16.

    Raises:
        ValueError: another divisor.
    """
    _require_divisor(narrow)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    features = prod(input_shape)
    for number in (1, 2):
        features = _dense(layers, number, features, 512 // narrow, dropout=0.2)
    layers["fc3"] = nn.Linear(features, num_classes)
    return nn.Sequential(layers)


def mnist_cnn(input_shape: tuple[int, ...], num_classes: int, narrow: int = 1) -> nn.Sequential:
    """Build 3x3 convolutions of 32 and 64 filters, a pool, and a dense layer of 128 units.

    The convolutions have no padding. ReLU after every layer but the last, 2x2 max-pooling and
    dropout 0.25 after the convolutions, dropout 0.5 before the last layer. (batch, channels,
    height, width) to logits (batch, num_classes). On MNIST 1 199 882 parameters.

    Args:
        input_shape: (channels, height, width), at least 6x6 pixels.
        num_classes: number of logits.
        narrow: all hidden widths are divided by it: 1, 2, 4, 8 or 16.

    Raises:
        ValueError: another divisor, an input that is no image or too small.
    """
    return _convolutional("mnist_cnn", input_shape, num_classes, narrow, [[(32, 0), (64, 0)]], 128)


def cifar10_cnn(input_shape: tuple[int, ...], num_classes: int, narrow: int = 1) -> nn.Sequential:
    """Build two pairs of 3x3 convolutions of 32 and 64 filters and a dense layer of 512 units.

    The first convolution of a pair keeps the image's size, the second has no padding. ReLU after
    every layer but the last, 2x2 max-pooling and dropout 0.25 after each pair, dropout 0.5 before
    the last layer. (batch, channels, height, width) to logits (batch, num_classes). On CIFAR-10
    1 250 858 parameters.

    Args:
        input_shape: (channels, height, width), at least 10x10 pixels.
        num_classes: number of logits.
        narrow: all hidden widths are divided by it: 1, 2, 4, 8 or 16.

    Raises:
        ValueError: another divisor, an input that is no image or too small.
    """
    pairs = [[(32, 1), (32, 0)], [(64, 1), (64, 0)]]
    return _convolutional("cifar10_cnn", input_shape, num_classes, narrow, pairs, 512)


def _convolutional(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    narrow: int,
    blocks: list[list[tuple[int, int]]],
    hidden: int,
) -> nn.Sequential:
    """Blocks of (filters, padding), each closed by a pool and dropout; then the dense part."""
    _require_divisor(narrow)
    channels, height, width = require_image(name, input_shape)
    smallest = 1
    for block in reversed(blocks):
        smallest = 2 * smallest + sum(2 - 2 * padding for _, padding in block)
    if min(height, width) < smallest:
        raise ValueError(
            f"network {name!r} needs at least {smallest}x{smallest} pixels, but the input is "
            f"{shape_text(input_shape)}."
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    number = 0
    for place, block in enumerate(blocks, start=1):
        for filters, padding in block:
            number += 1
            out = filters // narrow
            layers[f"conv{number}"] = nn.Conv2d(channels, out, 3, padding=padding)
            layers[f"act{number}"] = nn.ReLU()
            channels, height, width = out, height - 2 + 2 * padding, width - 2 + 2 * padding
        layers[f"pool{place}"] = nn.MaxPool2d(2)
        layers[f"drop{place}"] = nn.Dropout(0.25)
        height, width = height // 2, width // 2
    layers["flatten"] = nn.Flatten()
    features = channels * height * width
    features = _dense(layers, 1, features, hidden // narrow, dropout=0.5)
    layers["fc2"] = nn.Linear(features, num_classes)
    return nn.Sequential(layers)


def _dense(
    layers: OrderedDict[str, nn.Module], number: int, features: int, out: int, dropout: float
) -> int:
    layers[f"fc{number}"] = nn.Linear(features, out)
    layers[f"fc_act{number}"] = nn.ReLU()
    layers[f"fc_drop{number}"] = nn.Dropout(dropout)
    return out


def _require_divisor(narrow: object) -> None:
    if type(narrow) is not int or narrow not in (1, 2, 4, 8, 16):
        raise ValueError(f"narrow={narrow!r} must be 1, 2, 4, 8 or 16.")
