"""What one pass over a split measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.loss_sums import LossSums
from lightning_modules.methods import Applied

Reduce = Callable[[Tensor], Tensor]


class Evaluation:
    """Mean loss and accuracy of a network over a split, and its accuracy in a method's views.

    Args:
        metric: counts the hits, over all processes; reset in the end.
        applied: the network under its training method, if it has one.
    """

    def __init__(self, metric: Any, applied: Applied | None) -> None:
        self._metric = metric
        self._applied = applied
        self._sums = LossSums()
        views = () if applied is None else applied.views
        self._viewed: dict[str, list[Tensor]] = {view: [] for view in views}

    def add(self, network: Callable[[Tensor], Tensor], batch: tuple[Tensor, Tensor]) -> None:
        """Count a batch of (n, *input_shape) inputs and (n,) int64 labels.

        Args:
            network: gives logits (n, num_classes).
            batch: inputs and labels.
        """
        x, y = batch
        logits = network(x)
        self._metric.update(logits, y)
        self._sums.add(nn.functional.cross_entropy(logits, y), len(y))
        for view, correct in self._viewed.items():
            assert self._applied is not None
            with self._applied.viewed_as(view):
                correct.append((network(x).argmax(dim=1) == y).sum())

    def figures(self, stage: str, reduce: Reduce) -> dict[str, float]:
        """Return STAGE_loss (mean nats), STAGE_accuracy and, by view, STAGE_accuracy_VIEW.

        Args:
            stage: "val" or "test".
            reduce: sums a float64 tensor over the processes and returns it on the CPU.
        """
        loss, count = self._sums.total(reduce)
        # The metric is a fraction of whole examples in float32: give it all its digits.
        accuracy = round(self._metric.compute().item() * count) / count
        self._metric.reset()
        figures = {f"{stage}_loss": loss / count, f"{stage}_accuracy": accuracy}
        for view, correct in self._viewed.items():
            total = reduce(torch.stack(correct).sum().double()).item()
            figures[f"{stage}_accuracy_{view}"] = total / count
        return figures
