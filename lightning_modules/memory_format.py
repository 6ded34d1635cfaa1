"""Channels-last format: images and filters with the channel as innermost dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def use_channels_last(network: nn.Module) -> nn.Module:
    """Hold a network's filters in channels-last format, and keep its gradients in it.

    The gradient of a pooling layer comes back from `Flatten` in the default format, in which the
    layer's own backward pass takes several times as long; it is converted once. No number changes.

    Args:
        network: changed in place.

    Returns:
        The network.
    """
    network.to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, _POOLS) and not getattr(module, "_gradient_in_format", False):
            module.register_forward_hook(_keep_gradient_in_format)
            module._gradient_in_format = True  # type: ignore[assignment]
    return network


def in_channels_last(x: Tensor) -> Tensor:
    """Images (n, channels, height, width) in channels-last format; other inputs as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def _keep_gradient_in_format(module: nn.Module, inputs: Any, output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(in_channels_last)  # type: ignore[no-untyped-call]
