"""Single weights that an optimiser leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


def hold(
    parts: Iterable[tuple[nn.Parameter, Tensor]], optimizers: Iterable[Optimizer]
) -> list[RemovableHandle]:
    """Keep weights at their present values, bit for bit, while others of their tensors train.

    Their gradient is 0, so that they count in no gradient norm, and after each optimiser step they
    get their values back, whatever momentum and weight decay did.

    Args:
        parts: parameters, each with a bool tensor of its shape, True where a weight is held;
            parameters that are not trained, or of which nothing is held, are passed over.
        optimizers: what trains them.

    Returns:
        What lets go when it is removed.
    """
    handles: list[RemovableHandle] = []
    held: list[tuple[Tensor, Tensor, Tensor]] = []
    for parameter, mask in parts:
        frozen = mask.to(parameter.device)
        if parameter.requires_grad and bool(frozen.any()):
            held.append((parameter.detach(), frozen, parameter.detach().clone()))
            handles.append(
                parameter.register_hook(_without(frozen))  # type: ignore[no-untyped-call]
            )
    handles += [each.register_step_post_hook(_restoring(held)) for each in optimizers]
    return handles


def _without(frozen: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient.masked_fill(frozen, 0.0)


def _restoring(held: list[tuple[Tensor, Tensor, Tensor]]) -> Callable[..., None]:
    def restore(*_: Any) -> None:
        for values, frozen, kept in held:
            values.copy_(torch.where(frozen, kept, values))

    return restore
