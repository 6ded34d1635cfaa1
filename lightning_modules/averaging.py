"""One training on several processes: gradients as one process would get them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def take_over(model: Any) -> None:
    """Keep DDP from averaging by itself, for modules that take many steps in one call to it.

    Args:
        model: what the Trainer's strategy calls; nothing happens unless it is DDP.
    """
    if isinstance(model, DistributedDataParallel):
        model.require_backward_grad_sync = False


def average_gradients_(parameters: Iterable[nn.Parameter], examples: int) -> None:
    """Replace the gradients of mean losses by that of the mean over all processes' examples.

    Processes may hold different numbers of examples. Every process must call it, with the same
    parameters; all get equal bits.

    Args:
        parameters: those without a gradient are left out.
        examples: number of examples in this process's mean, >= 1.
    """
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            gradient = parameter.grad
            kinds.setdefault((gradient.dtype, gradient.device), []).append(gradient)
    for gradients in kinds.values():
        # One message instead of one per tensor; its last number becomes the number of examples.
        count = gradients[0].new_full((1,), examples)
        flat = torch.cat([*(each.reshape(-1) * examples for each in gradients), count])
        torch.distributed.all_reduce(flat)
        flat /= flat[-1].clone()
        parts = torch.split(flat[:-1], [each.numel() for each in gradients])
        for each, part in zip(gradients, parts, strict=True):
            each.copy_(part.view(each.shape))


def copies_of(loader: Any, index: int) -> int:
    """How many processes are given all examples of a batch; 1 where they share them.

    Args:
        loader: asked by its method `copies`, if it has one.
        index: number of the batch in its epoch.
    """
    copies = getattr(loader, "copies", None)
    return 1 if copies is None else int(copies(index))
