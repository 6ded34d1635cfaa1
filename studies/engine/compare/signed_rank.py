"""Wilcoxon's signed-rank test, exact also where differences are tied or zero.

Accuracies on a finite test set are counts, so equal and vanishing differences are the rule. The
textbook tables (and ``scipy.stats.wilcoxon(method="exact")``) assume that there are none.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from studies.engine.compare.pairing import FloatArray

Alternative: TypeAlias = Literal["two-sided", "greater", "less"]

EXACT_LIMIT = 500
"""Up to this many non-zero differences the distribution is enumerated (0.1 s at the limit)."""


@dataclass(frozen=True)
class SignedRank:
    """Outcome of a signed-rank test.

    Attributes:
        positive: sum of the ranks of the positive differences (the statistic).
        negative: sum of the ranks of the negative differences.
        p_value: probability, under symmetry about 0, of a sum at least as extreme.
    """

    positive: float
    negative: float
    p_value: float

    @property
    def direction(self) -> int:
        """+1 where the ranks favour positive differences, -1 where negative ones, 0 if neither."""
        return (self.positive > self.negative) - (self.positive < self.negative)


def doubled_midranks(magnitudes: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Twice the midranks of the values: integers, so that sums of ranks are exact.

    Args:
        magnitudes: shape (n,); values tie only where they are exactly equal.

    Returns:
        Int64 array, shape (n,); a value that ties with ranks a..b gets a + b.
    """
    _, inverse, counts = np.unique(magnitudes, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    doubled: np.ndarray[tuple[int], np.dtype[np.int64]] = (2 * last - counts + 1)[inverse]
    return doubled


def rank_sum_distribution(ranks: ArrayLike) -> FloatArray:
    """Distribution of the sum of a random subset, each element kept with probability 1/2.

    Args:
        ranks: positive integers (here doubled midranks), shape (m,).

    Returns:
        Float64 array, shape (sum(ranks) + 1,): probability of each sum. Dynamic programming over
        the ranks (Streitberg & Roehmel 1986, shift algorithm); only positive terms are added, so
        that even the far tail is right to rounding.
    """
    probability = np.ones(1)
    for rank in np.sort(np.asarray(ranks, dtype=np.int64)).tolist():  # ascending: short arrays
        longer = np.zeros(probability.size + rank)
        longer[: probability.size] = probability
        longer[rank:] += probability
        longer *= 0.5
        probability = longer
    return probability


def _upper_tail(ranks: np.ndarray[tuple[int], np.dtype[np.int64]], at_least: int) -> float:
    """P(sum of a random half of the doubled ranks >= at_least)."""
    if ranks.size <= EXACT_LIMIT:
        return min(1.0, float(rank_sum_distribution(ranks)[at_least:].sum()))
    # Normal with the variance of these very ranks, so that ties are accounted for.
    mean = ranks.sum() / 2
    spread = math.sqrt(float((ranks.astype(np.float64) ** 2).sum())) / 2
    return float(ndtr(-(at_least - 0.5 - mean) / spread))


def signed_rank_test(
    differences: ArrayLike, *, alternative: Alternative = "two-sided"
) -> SignedRank:
    """Exact Wilcoxon signed-rank test of paired differences against symmetry about 0.

    Zeros are handled as by Pratt (1959): they are ranked with the rest and their ranks are then
    dropped. Unlike dropping them before ranking, that never makes a sample look less positive when
    its zeros turn into small positive differences. Ties get midranks. The
    p-value is the exact conditional one: over all 2**m sign patterns of the m non-zero differences
    with the ranks as they are. Above `EXACT_LIMIT` non-zero differences the normal approximation
    with the same ranks' variance and a continuity correction takes over.

    Args:
        differences: finite, shape (n,); tied only where magnitudes are exactly equal (see
            `pairing.settle`). All zero gives p = 1.
        alternative: "two-sided", "greater" (differences tend to be positive) or "less".

    Returns:
        Rank sums and p-value.

    Raises:
        ValueError: for an unknown alternative or differences that are not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.all(np.isfinite(values)):
        raise ValueError("differences must be one row of finite numbers")
    moved = values != 0
    ranks = doubled_midranks(np.abs(values))[moved]
    positive = int(ranks[values[moved] > 0].sum())
    negative = int(ranks.sum()) - positive
    if alternative == "greater":
        p_value = _upper_tail(ranks, positive) if ranks.size else 1.0
    elif alternative == "less":
        p_value = _upper_tail(ranks, negative) if ranks.size else 1.0
    elif alternative == "two-sided":
        # The distribution is symmetric: both tails are as heavy as the observed one.
        extreme = max(positive, negative)
        p_value = min(1.0, 2 * _upper_tail(ranks, extreme)) if ranks.size else 1.0
    else:
        raise ValueError(f"alternative {alternative!r} must be two-sided, greater or less")
    return SignedRank(positive / 2, negative / 2, p_value)
