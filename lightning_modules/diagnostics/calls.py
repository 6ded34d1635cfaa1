"""Calling any network: several inputs, and outputs that are no plain tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Any
"""A tensor, a tuple or list of positional arguments, or a mapping of keyword arguments."""

Loss = Callable[[Any, Any], Tensor]
"""From a network's output and the labels to a scalar."""


def call(network: nn.Module, inputs: Inputs) -> Any:
    """Run a network on its inputs."""
    if isinstance(inputs, Mapping):
        return network(**inputs)
    if isinstance(inputs, list | tuple):
        return network(*inputs)
    return network(inputs)


def on_device(inputs: Inputs, network: nn.Module) -> Inputs:
    """Bring inputs to a network's device, and floating-point ones to its precision."""
    like = next((p for p in network.parameters() if p.is_floating_point()), None)

    def move(tensor: Tensor) -> Tensor:
        if like is None:
            return tensor.detach().clone()
        moved = tensor.detach().clone().to(like.device)  # a network may change its input in place
        return moved.to(like.dtype) if moved.is_floating_point() else moved

    return changed(inputs, move)


def changed(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same structure of inputs with `change` applied to every tensor in it."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {name: changed(value, change) for name, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        return tuple(changed(value, change) for value in inputs)
    return inputs


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in an output or in inputs, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name))


def main_tensor(value: Any) -> Tensor | None:
    """The first real floating-point tensor of an output; None if there is none."""
    return next((each for each in tensors(value) if each.is_floating_point()), None)


def with_main(value: Any, tensor: Tensor) -> Any:
    """An output (tensor or tuple) with its first floating-point tensor exchanged."""
    if isinstance(value, Tensor):
        return tensor
    main = main_tensor(value)
    if type(value) is tuple and any(each is main for each in value):
        return tuple(tensor if each is main else each for each in value)
    return value


def examples(inputs: Inputs) -> int:
    """Number of examples: the length of the first tensor.

    Raises:
        ValueError: there is no tensor, or it is empty.
    """
    first = next(tensors(inputs), None)
    if first is None or first.dim() == 0 or len(first) == 0:
        raise ValueError("The batch to measure on holds no examples.")
    return len(first)


def noise_generator(seed: int) -> torch.Generator:
    """A generator of probes: another stream than that of a caller who drew inputs by this seed."""
    return torch.Generator().manual_seed((seed + 0x9E3779B97F4A7C15) % 2**63)


def scalar_loss(output: Any, labels: Tensor | None, loss: Loss | None = None) -> Tensor:
    """The scalar whose gradient is measured.

    `loss(output, labels)` if given; the mean cross-entropy if there are labels (n,) of classes and
    logits (n, classes); else, without labels, the output times fixed Gaussian numbers, summed over
    an example and averaged over examples, with their variance one over the output's size.

    Raises:
        ValueError: none of these fits.
    """
    if loss is not None:
        return loss(output, labels)
    main = main_tensor(output)
    if main is None:
        raise ValueError("The network's output holds no floating-point tensor; pass a loss.")
    if labels is not None and not labels.is_floating_point():
        if main.dim() == 2 and labels.shape == main.shape[:1]:
            return nn.functional.cross_entropy(main, labels)
        raise ValueError(
            f"Labels {tuple(labels.shape)} and output {tuple(main.shape)} are no classification; "
            "pass a loss, or no labels."
        )
    probe = torch.randn(main.shape[1:], generator=noise_generator(0), dtype=torch.float64)
    probe = (probe / max(1, probe.numel()) ** 0.5).to(main)
    projection: Tensor = (main * probe).sum() / len(main)
    return projection
