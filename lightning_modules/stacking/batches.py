"""The training batches of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from lightning_modules.whole_epoch import Batch, Batches


class StackedBatches:
    """The training batches of a stack: one loader per seed, drawn from in step.

    A loader for a Trainer with one item per epoch, like `WholeEpoch`: an object that gives the
    epoch's steps, as often as it is asked.

    Args:
        loaders: loader by seed; all give the same number of equally large batches.
    """

    def __init__(self, loaders: Mapping[int, Batches]) -> None:
        self.loaders = dict(loaders)
        self.sampler = self
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next; called by the Trainer."""
        self._epoch = epoch

    @property
    def steps(self) -> int:
        """Optimiser steps per epoch."""
        return len(next(iter(self.loaders.values())))

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[StackedBatches]:
        yield self

    def batches(self, seeds: set[int]) -> Iterator[dict[int, Batch]]:
        """The epoch's steps: a batch for each of these seeds."""
        chosen = {seed: loader for seed, loader in self.loaders.items() if seed in seeds}
        for loader in chosen.values():
            sampler = getattr(loader, "sampler", None)
            if hasattr(sampler, "set_epoch"):
                cast(Any, sampler).set_epoch(self._epoch)
        for batches in zip(*chosen.values(), strict=True):
            yield dict(zip(chosen, batches, strict=True))
