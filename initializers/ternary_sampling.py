"""Where the non-zero weights go and which sign they get: exact counts, drawn uniformly.

All functions fill a contiguous float32 or float64 CPU tensor in place with {-value, 0, value}.
They are exact in law: every arrangement with the stated counts is equally likely, because each
procedure treats all positions alike (derived).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from initializers.ternary_rows import draw_rows, fill_empty_rows, level_for

SIGNS: tuple[str, ...] = ("balanced", "random")
_SMALL = 2**16  # up to here one permutation of all positions is the fastest way
_BLOCK = 2**16
_LEVELS = 2**15  # resolution of the random numbers in the block-wise draw


def round_half_up(value: float) -> int:
    """Return ``floor(value + 0.5)``, free of the float noise of ``1 - (1 - x)``."""
    return math.floor(round(value, 6) + 0.5)


def draw_count(trials: int, probability: float, generator: torch.Generator) -> int:
    """Draw the number of successes in ``trials`` independent trials."""
    pair = torch.tensor([trials, probability], dtype=torch.float64)
    return int(torch.binomial(pair[0], pair[1], generator=generator))


def count_positive(nonzeros: int, signs: str, generator: torch.Generator) -> int:
    """Return how many of the non-zero weights are positive.

    ``"balanced"``: half of them, an odd one by coin. ``"random"``: as many as independent coins
    give, so that an exact arrangement of this count equals independent coins in law.
    """
    if signs == "random":
        return draw_count(nonzeros, 0.5, generator)
    coin = int(torch.randint(2, (), generator=generator))
    return nonzeros // 2 + (nonzeros % 2) * coin


def fill_exact(
    weight: Tensor, nonzeros: int, positives: int, value: float, generator: torch.Generator
) -> None:
    """Place exactly ``nonzeros`` non-zero weights, ``positives`` of them positive.

    Small tensors take the head of a random permutation; very sparse ones draw distinct positions.
    The others draw every weight independently with nearly the right probabilities and then move
    the few weights that are too many or too few (about the square root of their number), chosen
    uniformly: a uniform arrangement with random counts becomes a uniform one with exact counts,
    in one pass and without an index per weight.
    """
    flat = weight.view(-1)
    negatives = nonzeros - positives
    if len(flat) <= _SMALL:
        order = torch.randperm(len(flat), generator=generator)
        flat.zero_()
        flat[order[:positives]] = value
        flat[order[positives:nonzeros]] = -value
        return
    zeros, share, plus, minus = len(flat) - nonzeros, _LEVELS / len(flat), 0, 0
    dense = zeros < len(flat) // 16
    if nonzeros < len(flat) // 256:
        flat.zero_()
    else:
        plus_level = min(_LEVELS - 1, round(positives * share))
        level = max(1, min(_LEVELS, plus_level + round(negatives * share)))
        if dense:  # rather too few zeros: they are hard to find where there are too many
            margin = 3.0 * math.sqrt(zeros * nonzeros / len(flat))
            level = min(_LEVELS, math.ceil((nonzeros + margin) * share))
        plus, minus = _draw_independent(flat, plus_level, level, generator)
    if dense:  # turn signs directly, not by way of the few zeros
        turned = max(0, min(plus - positives, negatives - minus))
        back = max(0, min(minus - negatives, positives - plus))
        _move(flat, 1.0, -1.0, turned, plus, generator)
        _move(flat, -1.0, 1.0, back, minus, generator)
        plus, minus = plus - turned + back, minus + turned - back
    _move(flat, 1.0, 0.0, plus - positives, plus, generator)
    _move(flat, -1.0, 0.0, minus - negatives, minus, generator)
    zeros = len(flat) - min(plus, positives) - min(minus, negatives)
    _move(flat, 0.0, 1.0, positives - plus, zeros, generator)
    _move(flat, 0.0, -1.0, negatives - minus, zeros - max(0, positives - plus), generator)
    flat.mul_(value)


def fill_rows(
    weight: Tensor, per_row: int, signs: str, value: float, generator: torch.Generator
) -> None:
    """Place exactly ``per_row`` non-zero weights in every row of a matrix, at random columns.

    The signs are counted over the whole matrix. Small matrices rank a random key per weight;
    sparse ones guess places, which then get a shuffled row of signs. The others draw every weight
    independently, bring the rows to their count and, last, the signs to theirs: all signs, of the
    first draw and of later ones, are fair coins and so exchangeable, and turning some of them at
    random keeps that.
    """
    rows, columns = weight.shape
    nonzeros = rows * per_row
    positives = count_positive(nonzeros, signs, generator)
    if per_row == columns or rows == 1:
        return fill_exact(weight, nonzeros, positives, value, generator)
    if weight.numel() <= _SMALL:
        signed = _signs(weight, nonzeros, positives, generator).view(rows, per_row)
        keys = torch.rand(weight.shape, dtype=torch.float64, generator=generator)
        chosen = keys.topk(per_row, dim=1, sorted=False).indices
        weight.zero_().scatter_(1, chosen, signed)
    elif (level := level_for(columns, per_row)) == 0:
        fill_empty_rows(weight, _signs(weight, nonzeros, positives, generator), generator)
    else:
        plus = draw_rows(weight, per_row, level, generator)
        _move(weight.view(-1), 1.0, -1.0, plus - positives, plus, generator)
        _move(weight.view(-1), -1.0, 1.0, positives - plus, nonzeros - plus, generator)
    weight.mul_(value)
    return None


def fill_rows_and_columns(
    weight: Tensor, per_row: int, groups: int, signs: str, value: float, generator: torch.Generator
) -> None:
    """Place ``per_row`` non-zero weights in every row and balance the columns as well.

    Within each group every column gets ``floor`` or ``ceil`` of ``rows * per_row / columns``
    non-zero weights: a regular bipartite graph. Columns are dealt to the rows like cards from
    shuffled decks; a row that meets the end of a deck draws the rest of its hand from a fresh
    one, without the columns it holds already, which go back into that deck.
    """
    rows, columns = weight.shape
    nonzeros = rows * per_row
    positives = count_positive(nonzeros, signs, generator)
    signed = torch.empty(rows, per_row, dtype=weight.dtype)
    fill_exact(signed, nonzeros, positives, value, generator)
    weight.zero_()
    for block, values in zip(weight.chunk(groups), signed.chunk(groups), strict=True):
        block.scatter_(1, _deal(len(block), columns, per_row, generator), values)


def _deal(rows: int, columns: int, per_row: int, generator: torch.Generator) -> Tensor:
    hands = torch.empty(rows, per_row, dtype=torch.int64)
    deck = torch.randperm(columns, generator=generator)
    for hand in hands:
        if len(deck) >= per_row:
            hand.copy_(deck[:per_row])
            deck = deck[per_row:]
            continue
        held, missing = deck, per_row - len(deck)
        fresh = torch.randperm(columns, generator=generator)
        free = fresh[~torch.isin(fresh, held)]
        hand.copy_(torch.cat((held, free[:missing])))
        rest = torch.cat((free[missing:], held))
        deck = rest[torch.randperm(len(rest), generator=generator)]
    return hands


def _draw_independent(
    flat: Tensor, plus_level: int, level: int, generator: torch.Generator
) -> tuple[int, int]:
    """Draw independent weights; return how many are 1 and -1.

    One 15-bit number r per weight, four from each 64-bit draw: 1 for r < plus_level, else -1 for
    r < level, else 0. The arithmetic shift gives -1 for a negative int16 and 0 otherwise, several
    times faster than a comparison: with a = -[r < plus_level] and b = -[r < level] the weight is
    b - 2 a.
    """
    words = torch.empty(_BLOCK // 4, dtype=torch.int64)
    first = torch.empty(_BLOCK, dtype=torch.int16)
    total, nonzero = 0, 0
    for block in torch.split(flat, _BLOCK):
        size = len(block)
        words.random_(-(2**63), None, generator=generator)
        second = words.view(torch.int16)[:size].bitwise_and_(_LEVELS - 1)
        torch.sub(second, plus_level, out=first[:size])
        first.bitwise_right_shift_(15)
        second.add_(-level)  # -2**15 fits an int16, 2**15 does not
        second.bitwise_right_shift_(15)
        block.copy_(second.sub_(first[:size], alpha=2))
        total += int(block.sum())  # exact: integers below 2**24
        nonzero += int(block.dot(block))
    return (nonzero + total) // 2, (nonzero - total) // 2


def _signs(like: Tensor, count: int, positives: int, generator: torch.Generator) -> Tensor:
    """Return a row of ``count`` signs, ``positives`` of them 1."""
    signs = torch.empty(count, dtype=like.dtype)
    fill_exact(signs, count, positives, 1.0, generator)
    return signs


def _move(
    flat: Tensor, old: float, new: float, wanted: int, held: int, generator: torch.Generator
) -> None:
    """Set ``wanted`` of the ``held`` weights of value ``old``, chosen uniformly, to ``new``."""
    if wanted <= 0:
        return
    if wanted > held // 8:
        places = (flat == old).nonzero().view(-1)
        flat[places[torch.randperm(held, generator=generator)[:wanted]]] = new
        return
    while wanted > 0:  # guess positions and keep those that hold the old value
        guesses = min(4 * _BLOCK, wanted * len(flat) // held + 64)
        drawn = torch.randint(len(flat), (guesses,), generator=generator)
        drawn = torch.unique(drawn[flat[drawn] == old])
        if len(drawn) > wanted:
            drawn = drawn[torch.randperm(len(drawn), generator=generator)[:wanted]]
        flat[drawn] = new
        wanted -= len(drawn)
