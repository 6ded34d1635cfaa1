"""Scaling of fixed kernels whose size does not depend on the fan.

A network of ReLU layers without biases is positively homogeneous: a constant factor on every
kernel may as well be multiplied to the input (Ivan & Florian, arXiv 2006.16627, for kernels of +-1
and the factor sqrt(2 / fan_in) of each layer). Fans are those of the layers: a dense layer after a
flattened convolution has as many inputs as the convolution has outputs.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from initializers.layers import Weight

SCALINGS = ("none", "kernel", "input")


def he_factors(weights: list[Weight]) -> list[float]:
    """Return ``sqrt(2 / fan_in)`` of every weight."""
    return [math.sqrt(2.0 / weight.fans.fan_in) for weight in weights]


class ScaledInput:
    """A forward pre-hook that multiplies a network's input by a constant.

    Args:
        factor: The product of the layers' factors; conv6's 8e-12 leaves little of float32's range,
            so that scaled kernels are the safer choice for deep networks.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the inputs, the first of them scaled."""
        return (inputs[0] * self.factor, *inputs[1:])


@torch.no_grad()
def scale_kernels(weights: list[Weight]) -> None:
    """Multiply each weight by its ``sqrt(2 / fan_in)``, in place."""
    for weight, factor in zip(weights, he_factors(weights), strict=True):
        weight.module.get_parameter("weight").mul_(factor)


def scale_input(network: nn.Module, weights: list[Weight]) -> RemovableHandle:
    """Multiply the network's input by the product of its layers' ``sqrt(2 / fan_in)``.

    Returns:
        The handle by which the hook is taken away.
    """
    return network.register_forward_pre_hook(ScaledInput(math.prod(he_factors(weights))))
