"""The batch of data for initialisers that need one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


def first_batch(loader: Any, world_size: int = 1) -> Batch:
    """The first training batch of epoch 0, of all processes together, on the CPU or the data's
    device. The loader and the random generators are left as they were, so that training meets the
    same batches as without it.

    Args:
        loader: an iterable of (x, y) batches; a `sampler` with `set_epoch` is respected.
        world_size: processes that share the batches; all must call.

    Raises:
        ValueError: a loader without a pair of tensors.
    """
    with _unmoved(loader):
        batch = next(iter(loader), None)
    parts = list(batch) if isinstance(batch, tuple | list) else []
    if len(parts) != 2 or not all(isinstance(part, Tensor) for part in parts):
        raise ValueError(
            "The initialiser needs data, but the training loader's first batch is no pair (x, y) "
            "of tensors."
        )
    x, y = parts
    if world_size > 1:
        shares: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(shares, (x.cpu(), y.cpu()))
        x, y = (torch.cat(parts) for parts in zip(*shares, strict=True))
    return x, y


@contextmanager
def _unmoved(loader: Any) -> Iterator[None]:
    """Put the loader at epoch 0 inside; afterwards it and all generators are as before."""
    sampler: Any = getattr(loader, "sampler", None)
    epoch = getattr(sampler, "epoch", 0)
    owned = [getattr(each, "generator", None) for each in (loader, sampler)]
    generators = [each for each in owned if isinstance(each, torch.Generator)]
    states = [generator.get_state() for generator in generators]
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    if hasattr(sampler, "set_epoch"):
        sampler.set_epoch(0)
    try:
        yield
    finally:
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        torch.default_generator.set_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])
