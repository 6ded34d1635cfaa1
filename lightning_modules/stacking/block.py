"""The part of a stack whose members take each step together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.memory_format import in_channels_last
from lightning_modules.optimization import Optimization
from lightning_modules.stacking.dense import DenseStack
from lightning_modules.stacking.networks import StackedNetwork


class Block(nn.Module):
    """Networks that take each step together, and what is measured of them.

    Args:
        network: the stacked networks.
        positions: the members' places in the whole stack.
        optimization: their loss.
        channels_last: hold images with the channel as innermost dimension.
    """

    def __init__(
        self,
        network: StackedNetwork,
        positions: Sequence[int],
        optimization: Optimization,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.positions = list(positions)
        self.optimization = optimization
        self.channels_last = channels_last
        #: parameters of all members, one row each
        self.stacked = list(network.parameters())

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only the members in these rows."""
        self.network.keep(rows)
        self.positions = [self.positions[row] for row in rows]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (members, n, classes) of inputs (members, n, *shape) or, for all, (n, *shape)."""
        members = len(self.positions)
        inputs = x.flatten(0, 1)
        logits: Tensor = self.network(in_channels_last(inputs) if self.channels_last else inputs)
        return logits.view(members, x.shape[1], -1)

    def differentiate(
        self, x: Tensor, y: Tensor, backward: Callable[[Tensor], Any], *, mixed: bool
    ) -> Tensor:
        """Set the gradients of a step; returns logits (members, n, classes).

        Args:
            x: inputs (members, n, *shape).
            y: labels (members, n).
            backward: differentiates a scalar.
            mixed: whether the caller's autocast is on; it is meant for the forward pass only.
        """
        smoothing = self.optimization.label_smoothing
        if isinstance(self.network, DenseStack) and not mixed:
            return self.network.gradients(x, y, smoothing)
        logits: Tensor = self(x)
        loss = mean_losses(logits, y, smoothing).sum()
        for parameter in self.stacked:
            parameter.grad = None
        with torch.autocast(x.device.type, enabled=False) if mixed else nullcontext():
            backward(loss)
        return logits.detach()


def mean_losses(logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy (members,) of logits (members, n, classes) and labels (members, n)."""
    each = nn.functional.cross_entropy(
        logits.flatten(0, 1), y.flatten(), reduction="none", label_smoothing=smoothing
    )
    return each.view(y.shape).mean(dim=1)


def _each_loss(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy (...) of logits (..., classes) and labels (...), without gradient.

    By its parts: for few classes that takes a fifth of the time of `cross_entropy`.
    """
    lower = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    lower = lower - lower.amax(dim=-1, keepdim=True)
    norm = lower.exp().sum(dim=-1).log_()
    loss = norm - lower.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    if smoothing > 0:
        loss = (1.0 - smoothing) * loss + smoothing * (norm - lower.mean(dim=-1))
    return loss


Reduce = Callable[[Tensor], Tensor]


class StackSums:
    """Losses and hits of every member, on the device until they are asked for.

    Logits are collected and looked at some steps at a time: one by one, that would take a tenth of
    a small network's training.

    Args:
        smoothing: label smoothing of the losses.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        self._smoothing = smoothing
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._losses: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._sizes: list[float] = []
        self._copies = 1
        self._shares: list[float] = []

    def add(self, logits: Tensor, y: Tensor, copies: int = 1) -> None:
        """Count a batch: logits (members, n, classes), labels (members, n).

        Args:
            logits, y: the batch.
            copies: processes that count these same examples.
        """
        self._sizes.append(y.shape[1] / copies)
        if self._waiting and (self._waiting[0][0].shape, self._copies) != (logits.shape, copies):
            self._look()
        self._copies = copies
        self._waiting.append((logits, y))
        if len(self._waiting) * logits.numel() > _MOST_WAITING:
            self._look()

    @torch.no_grad()
    def _look(self) -> None:
        if not self._waiting:
            return
        logits = torch.stack([logits for logits, _ in self._waiting], dim=1)
        y = torch.stack([y for _, y in self._waiting], dim=1)
        self._waiting = []
        losses = _each_loss(logits, y, self._smoothing)
        self._losses += losses.mean(dim=2).unbind(1)
        self._hits.append((logits.argmax(dim=3) == y).sum(dim=(1, 2)))
        self._shares.append(1 / self._copies)

    def figures(self, stage: str, reduce: Reduce) -> list[dict[str, float]]:
        """For each member its mean loss per example and its accuracy; empty without batches.

        Args:
            stage: prefix of the names.
            reduce: sums a float64 tensor over the processes and returns it on the CPU.
        """
        self._look()
        if not self._losses:
            return []
        sizes = torch.tensor(self._sizes, dtype=torch.float64)
        losses = torch.stack(self._losses, dim=1).cpu().double()
        totals = torch.stack([(row * sizes).sum() for row in losses])
        shares = torch.tensor(self._shares, dtype=torch.float64)
        hits = shares @ torch.stack(self._hits).cpu().double()
        loss, hit, count = reduce(torch.stack((totals, hits, sizes.sum().expand_as(hits))))
        names = (f"{stage}_loss", f"{stage}_accuracy")
        return [
            dict(zip(names, pair, strict=True))
            for pair in zip((loss / count).tolist(), (hit / count).tolist(), strict=True)
        ]


_MOST_WAITING = 2**18  # elements
