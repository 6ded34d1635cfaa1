"""Which weights a mask keeps: the criteria of Zhou, Lan, Liu and Yosinski 2019.

With w_i a weight's initial and w_f its trained value, a criterion gives each weight a score and
keeps the highest ones:

=================================  ==============================================
``large_final``, ``small_final``   |w_f|, -|w_f|
``large_init``, ``small_init``     |w_i|, -|w_i|
``large_init_large_final``         both |w_i| and |w_f| pass a common percentile
``small_init_small_final``         both -|w_i| and -|w_f| pass a common percentile
``magnitude_increase``             |w_f| - |w_i|
``movement``                       |w_f - w_i|
``random``                         a random number
=================================  ==============================================

``_same_sign`` after ``large_final``, ``large_init``, ``magnitude_increase``, ``movement`` or
``random`` sets the score to 0 where the signs of w_i and w_f differ, ``_diff_sign`` where they
agree. ``large_final_same_sign_single`` ranks nothing: it keeps the weights of unchanged sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "large_final": lambda initial, final: final.abs(),
    "small_final": lambda initial, final: -final.abs(),
    "large_init": lambda initial, final: initial.abs(),
    "small_init": lambda initial, final: -initial.abs(),
    "large_init_large_final": lambda initial, final: torch.minimum(
        _percentiles(initial.abs()), _percentiles(final.abs())
    ),
    "small_init_small_final": lambda initial, final: torch.minimum(
        _percentiles(-initial.abs()), _percentiles(-final.abs())
    ),
    "magnitude_increase": lambda initial, final: final.abs() - initial.abs(),
    "movement": lambda initial, final: (final - initial).abs(),
}
_SINGLE = "large_final_same_sign_single"
_WITH_SIGN = ("large_final", "large_init", "magnitude_increase", "movement", "random")

MASK_CRITERIA: tuple[str, ...] = (
    *_SCORES,
    "random",
    *(f"{name}_{which}_sign" for name in _WITH_SIGN for which in ("same", "diff")),
    _SINGLE,
)


def needs_final(criterion: str) -> bool:
    """Return whether a criterion looks at trained weights."""
    return criterion not in ("large_init", "small_init", "random")


def kept_mask(
    criterion: str,
    initial: Tensor,
    final: Tensor | None,
    kept: int,
    generator: torch.Generator,
    alive: Tensor | None = None,
) -> Tensor:
    """Return which weights are kept.

    Ties are broken at random. The common percentile of the joint criteria is not searched for: a
    weight passes it in both rankings exactly if the lower of its two percentiles does, so that
    the lower one is the score (derived).

    Args:
        criterion: One of ``MASK_CRITERIA``.
        initial: Initial weights, a CPU tensor of any shape.
        final: Trained weights of the same shape; may be None if ``needs_final`` says so.
        kept: How many weights to keep, in [0, alive ones]; ``large_final_same_sign_single``
            ignores it.
        generator: CPU generator.
        alive: Bool tensor of the same shape; weights where it is False are never kept. None means
            that all are alive.

    Returns:
        Bool tensor of the same shape, True for the weights kept.

    Raises:
        ValueError: If the criterion is unknown, needs trained weights and gets none, the counts do
            not fit, or the weights are not finite.
    """
    if criterion not in MASK_CRITERIA:
        raise ValueError(f"Mask criterion {criterion!r} must be one of {', '.join(MASK_CRITERIA)}.")
    if final is None:
        if needs_final(criterion):
            raise ValueError(f"Mask criterion {criterion!r} needs trained weights, got none.")
        final = initial
    if not (bool(initial.isfinite().all()) and bool(final.isfinite().all())):
        raise ValueError(f"Mask criterion {criterion!r}: the weights must be finite numbers.")
    candidates = torch.ones_like(initial, dtype=torch.bool) if alive is None else alive
    there = int(candidates.sum())
    if not 0 <= kept <= there:
        raise ValueError(
            f"A mask can keep between 0 and {there} weights that are left, not {kept}."
        )
    mask = torch.zeros_like(candidates)
    before, after = initial[candidates], final[candidates]  # flat: the pruned ones do not count
    if criterion == _SINGLE:
        mask[candidates] = before.sign() == after.sign()
        return mask
    scores = _scores(criterion, before, after, generator)
    chosen = torch.zeros(there, dtype=torch.bool)
    chosen[_highest(scores, kept, generator)] = True
    mask[candidates] = chosen
    return mask


def pruned_count(alive: int, rate: float) -> int:
    """Return ``int(alive * rate)``, free of float noise: a rate of 1 - 0.8 of 100 weights is 20."""
    return math.floor(round(alive * rate, 6))


def _scores(criterion: str, initial: Tensor, final: Tensor, generator: torch.Generator) -> Tensor:
    name, same, diff = criterion, False, False
    if criterion.endswith("_sign"):
        same, diff = criterion.endswith("_same_sign"), criterion.endswith("_diff_sign")
        name = criterion[: -len("_same_sign")]  # as long as "_diff_sign"
    if name == "random":
        scores = torch.rand(len(initial), dtype=torch.float64, generator=generator)
    else:
        scores = _SCORES[name](initial, final)
    if same or diff:
        scores = scores.masked_fill((initial.sign() == final.sign()) == diff, 0.0)
    return scores


def _percentiles(values: Tensor) -> Tensor:
    """Return how many values are smaller than each one; equal values get equal numbers."""
    return torch.searchsorted(values.sort().values, values)


def _highest(scores: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the places of the ``count`` highest scores; a random order decides between equals."""
    order = torch.randperm(len(scores), generator=generator)
    return order[scores[order].argsort(descending=True, stable=True)[:count]]
