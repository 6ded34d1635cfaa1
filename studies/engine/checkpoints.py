"""Trainings that continue from their last epoch checkpoint, with equal numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint

from studies.engine.run import Environment, Run, content_hash


class EpochCheckpoint(Checkpoint):
    """Saves a training every few epochs, and finds what an interrupted one left.

    The file is named after the runs that are trained together. A checkpoint holds weights,
    optimiser and figures; the order of batches and the draws of dropout follow from seed and epoch.

    Args:
        environment: where checkpoints are kept, and how often they are made.
        runs: the runs of this training.
        module: what is trained.
    """

    def __init__(
        self, environment: Environment, runs: Sequence[Run], module: pl.LightningModule
    ) -> None:
        self._every = environment.checkpoint_every
        self._file: Path | None = None
        if environment.checkpoints is not None and self._every > 0:
            name = content_hash(sorted(run.key for run in runs))
            self._file = Path(environment.checkpoints) / f"{name}.ckpt"
        self._module = module
        self._started, self._clock, self._before = time.time(), time.perf_counter(), 0.0
        self._epochs = runs[0].effective_recipe.epochs
        self._records: list[dict[str, Any]] | None = None

    @property
    def found(self) -> Path | None:
        """The checkpoint to continue from; None to begin at the beginning."""
        there = self._file is not None and self._file.exists()
        if torch.distributed.is_initialized():  # all begin at the same point
            votes = torch.tensor([float(there)])
            torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MIN)
            there = bool(votes.item())
        return self._file if there else None

    def records(self) -> list[dict[str, Any]]:
        """What each run's initialiser did, as plain data."""
        if self._records is None:
            module: Any = self._module
            own = module.records if hasattr(module, "records") else [module.record]
            self._records = [record.to_dict() for record in own]
        return self._records

    def times(self) -> tuple[float, float]:
        """Start of the training, and the seconds spent on it in all its sittings."""
        return self._started, self._before + time.perf_counter() - self._clock

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after every so many epochs, except after the last."""
        done = trainer.current_epoch + 1
        if self._file is None or done % self._every or done == self._epochs:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            part.replace(self._file)  # a process that is killed leaves the old one or the new one

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what the results need beside the weights."""
        started, seconds = self.times()
        checkpoint["training"] = {
            "records": self.records(),
            "started": started,
            "seconds": seconds,
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take it back."""
        saved = checkpoint["training"]
        self._records = saved["records"]
        self._started, self._before = saved["started"], saved["seconds"]

    def remove(self) -> None:
        """Remove the checkpoint of a training that has ended."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
