"""Measuring while training: at the start, or after every epoch too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn

from lightning_modules.classifier import Classifier
from lightning_modules.diagnostics.calls import Inputs
from lightning_modules.diagnostics.diagnose import diagnose
from lightning_modules.diagnostics.rows import Diagnosis, Gap, Row
from lightning_modules.diagnostics.weights import Start
from lightning_modules.stacked_classifier import StackedClassifier


class Diagnostics(pl.Callback):
    """Measures a `Classifier`, or every member of a `StackedClassifier`, on one fixed batch.

    The ``cheap`` measurements of `diagnose`, with the epochs trained before as step: initialised
    weights have step 0. With every epoch come the changes since the start (`Start`). A member of a
    stack is measured in a network of its own, with the numbers that it gets alone (to rounding
    once it has been trained). Every process measures the whole batch, so that all have the same
    numbers; checkpoints keep what was measured. A network that cannot be measured is a gap.

    Args:
        inputs: the batch, the same for all.
        labels: its labels.
        every_epoch: whether to measure after every epoch as well.

    Attributes:
        found: by position of the member (0 for a `Classifier`) what was measured.
    """

    def __init__(self, inputs: Inputs, labels: Tensor | None, *, every_epoch: bool = False) -> None:
        self._inputs, self._labels = inputs, labels
        self._every_epoch = every_epoch
        self._starts: dict[int, Start] = {}
        self.found: dict[int, Diagnosis] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the initialised weights, unless this training continues from a checkpoint."""
        if trainer.current_epoch == 0:
            for position, network, seed in _networks(pl_module):
                self._measure(position, network, seed, 0)
                if self._every_epoch:
                    self._starts[position] = Start(network)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure after an epoch."""
        if self._every_epoch:
            step = trainer.current_epoch + 1
            for position, network, seed in _networks(pl_module):
                self._measure(position, network, seed, step)
                if position in self._starts:  # not where a checkpoint without them was continued
                    changes = self._starts[position].measure(network).at(step=step, seed=seed)
                    self.found[position] = self.found[position] + changes

    def _measure(self, position: int, network: nn.Module, seed: int, step: int) -> None:
        try:
            found = diagnose(
                network, self._inputs, self._labels, tier="cheap", step=step, seed=seed
            )
        except (ValueError, RuntimeError) as error:  # a training does not end for that
            reason = " ".join(str(error).split())[:200].rstrip(".")
            found = Diagnosis((), (Gap("", "the network", reason),))
        self.found[position] = self.found.get(position, Diagnosis()) + found

    def state_dict(self) -> dict[str, Any]:
        """What was measured, as plain data, and the weights at the start."""
        return {
            "found": {
                position: {
                    "rows": [list(dataclasses.astuple(row)) for row in diagnosis.rows],
                    "gaps": [list(dataclasses.astuple(gap)) for gap in diagnosis.gaps],
                }
                for position, diagnosis in self.found.items()
            },
            "starts": {position: start.values for position, start in self._starts.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self.found = {
            position: Diagnosis(
                tuple(Row(*row) for row in saved["rows"]), tuple(Gap(*gap) for gap in saved["gaps"])
            )
            for position, saved in state_dict["found"].items()
        }
        self._starts = {
            position: Start.of(values) for position, values in state_dict["starts"].items()
        }


def _networks(module: pl.LightningModule) -> Iterator[tuple[int, nn.Module, int]]:
    """Position, network and seed of everything that is trained; one network at a time."""
    if isinstance(module, StackedClassifier):
        for position in module.active:
            yield position, module.member_network(position), module.members[position].seed
    elif isinstance(module, Classifier):
        assert module.network is not None
        yield 0, module.network, module.seed
    else:
        raise TypeError(
            "Diagnostics measures a Classifier or a StackedClassifier, not "
            f"{type(module).__name__}."
        )
