"""The same training with one Trainer step per epoch, for networks so small that overhead counts.

The Trainer's own work per batch costs about as much as the arithmetic of a small network. Here
one "batch" of the Trainer is the epoch's whole sequence of batches, and the steps run in a plain
loop within it. Weights, figures and history are bit for bit those of `Classifier`; callbacks see
one training batch per epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import nullcontext
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from lightning_modules.averaging import average_gradients_, take_over
from lightning_modules.classifier import Classifier

Batch = tuple[Tensor, Tensor]


class Batches(Sized, Protocol):
    """What an epoch needs of its loader: a length and an iterator over (x, y) batches."""

    def __iter__(self) -> Iterator[Batch]:
        """The epoch's batches in order."""


class WholeEpoch:
    """A loader with one item per epoch: the wrapped loader itself, to be iterated by the module.

    Args:
        batches: the loader of single batches; its `sampler`, told of each epoch by the Trainer,
            is passed through.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.sampler = getattr(batches, "sampler", None)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batches]:
        yield self.batches


class WholeEpochClassifier(Classifier):
    """A `Classifier` trained from `WholeEpoch` loaders.

    Takes the arguments of `Classifier`. Optimiser and backward pass still go through Lightning,
    so precision plugins, `global_step` and checkpoints behave as usual; the figures stand in
    `history` only, not in the Trainer's logs. With several processes, gradients are averaged over
    the examples of all, whose shares of a batch may differ in size.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def transfer_batch_to_device(self, batch: Any, device: torch.device, idx: int) -> Any:
        """Leave an epoch's loader as it is; its batches move one by one."""
        if self.trainer.training:
            return batch
        return super().transfer_batch_to_device(batch, device, idx)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Take over the averaging of gradients: all steps of an epoch are one call to DDP."""
        take_over(self.trainer.strategy.model)

    def _batches(self) -> Any:
        return super()._batches().batches

    # Lightning's contract is one batch per call; here the batch is the epoch's iterable.
    def training_step(  # type: ignore[override]
        self, batch: Iterable[Batch], batch_idx: int
    ) -> None:
        """Train on all batches of one epoch."""
        optimizer = cast(Any, self.optimizers())
        scheduler = cast(Any, self.lr_schedulers())
        precision = self.trainer.precision_plugin
        clipping = self.optimization.gradient_clip > 0
        shared = self.trainer.world_size > 1
        kind = self.device.type
        mixed = torch.is_autocast_enabled(kind)
        for index, (x, y) in enumerate(batch):
            # The Trainer's own conversions saw the iterable only, not what is in it.
            moved = precision.convert_input((x.to(self.device), y.to(self.device)))
            loss = super().training_step(moved, index)
            # The Trainer's autocast region spans this whole loop; it is meant for forward only.
            with torch.autocast(kind, enabled=False) if mixed else nullcontext():
                optimizer.zero_grad()
                self.manual_backward(loss)
                if shared:
                    average_gradients_(self.parameters(), len(y))
                if clipping:
                    self.optimization.clip(self.parameters())
                optimizer.step()
            if scheduler is not None:
                scheduler.step()

    def _publish(self, figures: dict[str, float]) -> None:
        """Leave the figures in `history`: the Trainer's logging costs more than an epoch's step."""

    def _steps(self) -> tuple[int, int]:
        _, epochs = super()._steps()  # the Trainer counts one batch per epoch
        batches = len(self._batches())
        return batches, batches * epochs
