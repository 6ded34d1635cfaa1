"""Losses of an epoch, summed without leaving the device at every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class LossSums:
    """Mean losses of batches, kept on the device until their sum is asked for."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._sizes: list[float] = []

    def add(self, loss: Tensor, size: float) -> None:
        """Count a batch: its mean loss, a 0-dimensional tensor, and its number of examples (a
        fraction of it where other processes count the same examples).
        """
        self._losses.append(loss.detach())
        self._sizes.append(size)

    def total(self, reduce: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """Sum of the loss over examples, and their number, over all processes.

        Args:
            reduce: sums a float64 tensor over the processes and returns it on the CPU.
        """
        sizes = torch.tensor(self._sizes, dtype=torch.float64)
        losses = torch.stack(self._losses).cpu().double()
        total = reduce(torch.stack(((losses * sizes).sum(), sizes.sum())))
        return float(total[0]), float(total[1])
