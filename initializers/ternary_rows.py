"""An exact number of non-zero weights in every row, for all rows of a large matrix at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_LEVELS = 2**7  # resolution of the independent draw
_BLOCK = 2**16  # weights drawn at a time, and rows settled at a time
_SLOTS = 2**16  # guesses made at a time
_ROUNDS = 64  # far more than is usual: half of the guesses or more are right
_FEW = 16  # rows and ...
_SHORT = 2**16  # ... weights that are not worth another round


def level_for(columns: int, per_row: int) -> int:
    """Return the level for ``draw_rows``; 0 where it is better to fill empty rows.

    A guess is right as often as the value that it seeks is frequent. Sparse rows are therefore
    better filled up than thinned out, and dense ones the other way round: the level leads to a mean
    up to three standard deviations below or above ``per_row``, and is rounded to the same side.

    Args:
        columns: Weights per row.
        per_row: Non-zero weights that each row shall have, at least 1.
    """
    share = per_row / columns
    if share <= 1 / 32:
        return 0
    mean = per_row - 3.0 * (1.0 - 2.0 * share) * math.sqrt(per_row * (1.0 - share))
    return max(0, min(_LEVELS, math.ceil(mean / columns * _LEVELS - (1.0 - share))))


def fill_empty_rows(weight: Tensor, signs: Tensor, generator: torch.Generator) -> None:
    """Place the given signs, the same number in every row, at random columns of a matrix.

    Args:
        weight: Contiguous matrix; what it holds is lost.
        signs: 1 and -1, in random order: a multiple of the number of rows.
        generator: CPU generator.
    """
    used = 0

    def draw_signs(count: int) -> Tensor:
        nonlocal used
        used += count
        return signs[used - count : used]

    weight.zero_()
    need = torch.full((len(weight),), len(signs) // len(weight))
    _settle_blocks(weight, need, draw_signs, generator)


def draw_rows(weight: Tensor, per_row: int, level: int, generator: torch.Generator) -> int:
    """Draw rows with ``per_row`` non-zero weights each, whose signs are fair coins.

    Args:
        weight: Contiguous matrix.
        per_row: Non-zero weights in every row.
        level: The first draw makes a weight non-zero with chance ``level / 2^7``.
        generator: CPU generator.

    Returns:
        The number of positive weights.
    """

    def draw_signs(count: int) -> Tensor:
        coins = torch.randint(2, (count,), generator=generator)
        return coins.to(weight.dtype).mul_(2.0).sub_(1.0)

    need = per_row - _draw_independent(weight, level, generator)
    _settle_blocks(weight, need, draw_signs, generator)
    total = sum([int(block.sum()) for block in torch.split(weight.view(-1), _BLOCK)])
    return (len(weight) * per_row + total) // 2


def settle_rows(
    weight: Tensor,
    need: Tensor,
    draw_signs: Callable[[int], Tensor],
    generator: torch.Generator,
) -> None:
    """Add or remove non-zero weights, chosen uniformly in their row, in place.

    Every row guesses as many columns as it needs, keeps the different ones that hold the right
    value and guesses again for the rest. No step looks at the number of a column, so shuffling the
    columns of a row leaves the law as it is: if a row's columns were alike before, then afterwards
    every set of columns of the right size is equally likely (derived). Sorted places make the
    result independent of the number of threads.

    Args:
        weight: Contiguous matrix of 1, 0 and -1.
        need: Non-zero weights to add to each row, negative to remove; int64, 0 afterwards. Each
            row must have that many places to offer.
        draw_signs: Returns the given number of signs for places that become non-zero. It is also
            asked on behalf of places that become 0, unless ``need`` is nowhere negative.
        generator: CPU generator.
    """
    columns, flat = weight.shape[1], weight.view(-1)
    for _ in range(_ROUNDS):
        open_rows = need.nonzero().view(-1)
        if len(open_rows) <= _FEW and len(open_rows) * columns <= _SHORT:
            break
        slots = open_rows.repeat_interleave(need[open_rows].abs())
        for rows in torch.split(slots, _SLOTS):
            guesses = torch.randint(columns, rows.shape, generator=generator)
            guesses.add_(rows, alpha=columns)
            fits = (flat.index_select(0, guesses) != 0) == (need.index_select(0, rows) < 0)
            places = torch.unique(guesses[fits])
            becomes = draw_signs(len(places))
            becomes.masked_fill_(flat.index_select(0, places) != 0, 0.0)
            flat.scatter_(0, places, becomes)
            done = torch.bincount(places.div_(columns, rounding_mode="floor"), minlength=len(need))
            need.sub_(done.mul_(need.sign()))
    for row in need.nonzero().view(-1).tolist():
        missing = int(need[row])
        places = ((weight[row] != 0) == (missing < 0)).nonzero().view(-1)
        chosen = places[torch.randperm(len(places), generator=generator)[: abs(missing)]]
        weight[row, chosen] = draw_signs(missing) if missing > 0 else 0.0
        need[row] = 0


def _settle_blocks(
    weight: Tensor, need: Tensor, draw_signs: Callable[[int], Tensor], generator: torch.Generator
) -> None:
    """Settle many short rows some at a time, for the sake of memory."""
    for block, missing in zip(torch.split(weight, _BLOCK), torch.split(need, _BLOCK), strict=True):
        settle_rows(block, missing, draw_signs, generator)


def _draw_independent(weight: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """Draw independent weights; return the number of non-zero ones in every row.

    One byte per weight, eight from each 64-bit draw: the upper bit is the sign, and the weight is
    non-zero if the number r of the other seven is below the level. The arithmetic shift gives -1
    for a negative int8 and 0 otherwise, several times faster than a comparison.
    """
    rows, columns = weight.shape
    step = max(1, _BLOCK // columns)
    size = min(_BLOCK, step * columns)
    words = torch.empty(-(-size // 8), dtype=torch.int64)
    last_bit = torch.tensor(7, dtype=torch.int8)
    spare, squares = torch.empty(size, dtype=torch.int8), torch.empty(size, dtype=weight.dtype)
    counts = torch.zeros(rows, dtype=torch.float64)
    for matrix, count in zip(torch.split(weight, step), torch.split(counts, step), strict=True):
        for block in torch.split(matrix.view(-1), size):  # several if one row exceeds a block
            words.random_(-(2**63), None, generator=generator)
            drawn, sign = words.view(torch.int8)[: len(block)], spare[: len(block)]
            torch.bitwise_right_shift(drawn, last_bit, out=sign).bitwise_or_(1)
            drawn.bitwise_and_(_LEVELS - 1).add_(-level)  # -2**7 fits an int8, 2**7 does not
            block.copy_(drawn.bitwise_right_shift_(last_bit).bitwise_and_(sign))
            filled = torch.square(block, out=squares[: len(block)]).view(len(matrix), -1)
            count.add_(filled.sum(1))  # exact: integers below 2**24
    return counts.long()
