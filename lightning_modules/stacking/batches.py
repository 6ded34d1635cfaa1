"""The training batches of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import lightning.pytorch as pl

from lightning_modules.averaging import copies_of
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

    def copies(self, index: int) -> int:
        """How many processes are given all examples of a step; 1 where they share them."""
        return copies_of(next(iter(self.loaders.values())), index)

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


class StackedData(pl.LightningDataModule):
    """The data of a stack for a Trainer: one DataModule per seed, of the same data set.

    Validation and test batches are those of the first.

    Args:
        modules: DataModule by seed.
    """

    def __init__(self, modules: Mapping[int, pl.LightningDataModule]) -> None:
        super().__init__()
        self.modules = dict(modules)
        self._first = next(iter(self.modules.values()))

    def prepare_data(self) -> None:
        """Download what is missing, once."""
        self._first.prepare_data()

    def setup(self, stage: str) -> None:
        """Set up all modules for this Trainer, which knows the processes that share the data."""
        for module in self.modules.values():
            module.trainer = self.trainer
            module.setup(stage)

    def train_dataloader(self) -> StackedBatches:
        """The training batches of all seeds."""
        return StackedBatches({seed: m.train_dataloader() for seed, m in self.modules.items()})

    def val_dataloader(self) -> Any:
        """The validation batches."""
        return self._first.val_dataloader()

    def test_dataloader(self) -> Any:
        """The test batches."""
        return self._first.test_dataloader()
