"""Preferential attachment: weights are moved within their rows so that columns even out.

Scabini, De Baets and Bruno 2022, arXiv 2207.08148 (the algorithm as in the authors' public code).
A column's *strength* is the signed sum of its weights. Rows are treated one after the other; row
``i`` deals out its weights, the smallest first, to columns that are drawn without replacement with
odds ``P_j = s_j + |min_k s_k| + 1``, where ``s`` are the strengths over the rows before it. So
strong columns tend to get the most negative weights.

Drawing *all* columns without replacement is the Plackett-Luce law, and sorting ``E_j / P_j`` with
independent ``E_j ~ Exp(1)`` has the same law: of the exponential clocks with rates ``P_j`` the next
to ring is column ``j`` with probability ``P_j`` over the sum of those that have not rung yet
(derived). One sort thus replaces the rounds of rejection of a sequential draw. The loop over the
rows remains, because ``s`` depends on all rows before; a step of it is a handful of operations over
all columns, and the groups of a convolution, which share nothing, take their steps together.

The keys are positive numbers in float64, whose order is that of their bits read as integers. The
lowest bits give way to the number of the column: sorting the integers alone then yields the order.
That takes two thirds of the time of an index sort, and leaves no ties to the sorting algorithm,
which may be another one on another processor. With 1024 columns 42 bits of the mantissa remain.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

_BLOCK = 2**16  # draws made at a time
_ABOVE_ZERO = 64.0  # more than -log of the smallest positive draw of Exp(1), which is 2^-53

Floats = NDArray[np.floating]


def attach_rows(matrices: Floats, temperature: float, generator: torch.Generator) -> None:
    """Move the weights within each row, in place, so that the columns' sums come close to equal.

    Args:
        matrices: Contiguous array (rows, matrices, columns), float32 or float64: several matrices
            of one shape that are treated independently, side by side in every row. The first row
            stays as it is.
        temperature: Columns are drawn with odds ``P^(1 / temperature)``: 1 is the published rule,
            0 always takes the strongest column first (equal ones in random order), and large values
            shuffle. In [0, inf).
        generator: CPU generator; one float64 per weight is drawn from it.
    """
    count, columns = matrices.shape[1:]
    strength = np.zeros((count, columns))
    order = _Order(count, columns, temperature)
    above = matrices[0]
    for row, ordered, noise in _prepared(matrices[1:], generator):
        strength += above
        row.reshape(-1)[order.draw(strength, noise)] = ordered.reshape(-1)
        above = row


class _Order:
    """Draws the order of the columns, for all matrices at a time, into memory that is reused."""

    def __init__(self, count: int, columns: int, temperature: float) -> None:
        size = count * columns
        self.temperature = temperature
        self.places = np.arange(size).reshape(count, columns)
        self.low = (1 << (size - 1).bit_length()) - 1
        self.odds = np.empty((count, columns))
        self.keys = np.empty((count, columns))
        self.bits = self.keys.view(np.int64)

    def draw(self, strength: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return flat positions: of the column drawn first, second ..., matrix by matrix."""
        if self.temperature == 0.0:
            order = np.lexsort((noise, -strength)) + self.places[:, :1]
            return order.reshape(-1)
        lowest = np.minimum.reduce(strength, axis=1, keepdims=True)
        np.add(strength, np.abs(lowest) + 1.0, out=self.odds)  # as published, also if lowest > 0
        self._race(noise)
        bits = self.bits
        bits &= ~self.low
        bits |= self.places
        bits.sort(axis=1)
        bits &= self.low
        return bits.reshape(-1)

    def _race(self, noise: NDArray[np.float64]) -> None:
        """Set positive keys that sort as the times at which the columns' clocks ring."""
        if self.temperature == 1.0:
            np.divide(noise, self.odds, out=self.keys)
            return
        # the logarithm of the time, above that of the strongest column: no overflow, no underflow
        strongest = np.maximum.reduce(self.odds, axis=1, keepdims=True)
        np.log(strongest / self.odds, out=self.keys)
        self.keys /= self.temperature
        self.keys += np.log(noise)
        self.keys += _ABOVE_ZERO


def _prepared(
    rows: Floats, generator: torch.Generator
) -> Iterator[tuple[Floats, Floats, NDArray[np.float64]]]:
    """Yield each row, its weights in ascending order and draws of Exp(1), prepared in blocks."""
    step = max(1, _BLOCK // (rows.shape[1] * rows.shape[2]))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        noise = torch.empty(block.shape, dtype=torch.float64).uniform_(generator=generator)
        noise.neg_().log1p_().neg_()  # -log(1 - u): u may be 0, but is never 1
        yield from zip(block, np.sort(block, axis=2), noise.numpy(), strict=True)
