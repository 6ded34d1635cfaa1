"""Where the mirrored halves of a looks-linear weight stand: pure index arithmetic.

The units of a layer are split into equal blocks; in each block the first half carries z, the
second half -z, and an odd last unit stands alone. There is one block, or one per group where a
grouped convolution comes before or after.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Halves:
    """Positions along one axis of a weight.

    Attributes:
        plus: Units that carry z; all units if nothing is mirrored.
        minus: Their mirrors, in the same order; empty if nothing is mirrored.
        alone: Odd units without a mirror.
    """

    plus: Tensor
    minus: Tensor
    alone: Tensor

    @classmethod
    def of(cls, size: int, blocks: int) -> Halves:
        """Split ``size`` units into ``blocks`` mirrored blocks; 0 blocks mirror nothing.

        >>> halves = Halves.of(10, 2)
        >>> halves.plus.tolist(), halves.minus.tolist(), halves.alone.tolist()
        ([0, 1, 5, 6], [2, 3, 7, 8], [4, 9])
        """
        units = torch.arange(size)
        if blocks == 0:
            return cls(units, units[:0], units[:0])
        rows = units.view(blocks, size // blocks)
        half = rows.shape[1] // 2
        plus, minus, alone = rows[:, :half], rows[:, half : 2 * half], rows[:, 2 * half :]
        return cls(plus.flatten(), minus.flatten(), alone.flatten())


def write_mirrored(weight: Tensor, submatrix: Tensor, rows: Halves, columns: Halves) -> None:
    """Write ``[[U, -U], [-U, U]]``, or what is left of it where an axis is not mirrored.

    Args:
        weight: (units, inputs, taps); units that stand alone are left as they are.
        submatrix: U, (len(rows.plus), len(columns.plus), taps).
        rows: Halves along the first axis.
        columns: Halves along the second axis.
    """
    for units, row_sign in ((rows.plus, 1.0), (rows.minus, -1.0)):
        for inputs, column_sign in ((columns.plus, 1.0), (columns.minus, -1.0)):
            if len(units) and len(inputs):
                weight[units[:, None], inputs[None, :]] = submatrix * (row_sign * column_sign)
