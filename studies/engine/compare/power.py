"""How many seeds would decide a comparison?"""

import math

import numpy as np
from scipy.special import gammaincinv, gammaln, ndtr, stdtrit

from studies.engine.compare.pairing import RESOLUTION, FloatArray
from studies.engine.compare.signed_rank import rank_sum_distribution

POWER = 0.8
"""Probability with which the advised number of seeds decides."""

SEED_LIMIT = 10_000
"""No larger number of seeds is advised."""

RANK_EFFICIENCY = 3 / math.pi
"""Asymptotic efficiency of the signed-rank test relative to the t test on normal differences."""

FEW = 40
"""Up to this many pairs the signed-rank test's p-values come in steps worth counting."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def _spread_grid(freedom: float, upper: float = math.inf) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes and probability weights of s / sigma for the sample deviation s.

    s**2 / sigma**2 is chi-square over its degrees of freedom; all but 2e-13 of it is covered, cut
    off at ``upper``. Both arrays have shape (96,); no mass below ``upper`` gives weights 0.
    """
    low, high = np.sqrt(2 * gammaincinv(freedom / 2, [1e-13, 1 - 1e-13]) / freedom)
    half = max(0.0, (min(high, upper) - low) / 2)
    ratio = low + half * (_NODES + 1)
    log_density = (
        math.log(2)
        + freedom / 2 * math.log(freedom / 2)
        - gammaln(freedom / 2)
        + (freedom - 1) * np.log(ratio)
        - freedom / 2 * ratio**2
    )
    return ratio, half * _WEIGHTS * np.exp(log_density)


def attainable_level(pairs: int, alpha: float) -> float:
    """Largest two-sided signed-rank p-value up to ``alpha`` that untied differences can give.

    Args:
        pairs: number of pairs n.
        alpha: two-sided level.

    Returns:
        The level, 0 where there is none; ``alpha`` itself above `FEW` pairs, where the steps
        between p-values no longer matter.
    """
    if pairs > FEW:
        return alpha
    levels = 2 * np.cumsum(rank_sum_distribution(np.arange(1, pairs + 1)))
    return float(levels[levels <= alpha * (1 + 1e-9)].max(initial=0.0))


def difference_power(pairs: int, effect: float, alpha: float) -> float:
    """Power of the two-sided signed-rank test to call a normal difference with the right sign.

    The t test's power (noncentral t, written as a mean of normal tails over the sample deviation)
    at 3/pi times the pairs and at the level that the ranks can attain; zero while even the most
    extreme ranks (p = 2**(1-n)) miss ``alpha``. Source: derived; 3/pi is Pitman's efficiency.

    Args:
        pairs: number of pairs n, at least 2.
        effect: mean difference over the standard deviation of the differences.
        alpha: two-sided level.

    Returns:
        A probability.
    """
    level = attainable_level(pairs, alpha)
    if level == 0:
        return 0.0
    effective = pairs * RANK_EFFICIENCY
    critical = -float(stdtrit(effective - 1, level / 2))
    ratio, weight = _spread_grid(effective - 1)
    return float(weight @ ndtr(abs(effect) * math.sqrt(effective) - critical * ratio))


def equivalence_power(pairs: int, effect: float, margin: float, alpha: float) -> float:
    """Power of the two one-sided paired t tests, exact for normal differences.

    Given the sample deviation s, both tests reject where the mean lies within margin - t s/sqrt(n)
    of 0; that probability is averaged over s (the integral behind Owen's Q). Source: derived.

    Args:
        pairs: number of pairs n, at least 2.
        effect: mean difference over the standard deviation sigma of the differences.
        margin: margin over sigma.
        alpha: level of each one-sided test.

    Returns:
        A probability.
    """
    root = math.sqrt(pairs)
    critical = -float(stdtrit(pairs - 1, alpha))
    ratio, weight = _spread_grid(pairs - 1, upper=margin * root / critical)
    reach = margin * root - critical * ratio
    centre = effect * root
    return float(weight @ (ndtr(reach - centre) - ndtr(-reach - centre)))


def seeds_needed(
    mean: float,
    deviation: float,
    margin: float,
    *,
    alpha: float = 0.05,
    comparisons: int = 1,
    more_than: int = 1,
    by_difference: bool = True,
    power: float = POWER,
    limit: int = SEED_LIMIT,
) -> int | None:
    """Smallest number of seeds at which a difference or an equivalence would be found.

    The observed mean and deviation are taken for the truth, as they are the best guess at hand:
    the number is a plan, not a promise. Each comparison is planned at ``alpha / comparisons``, the
    strictest level that Holm's procedure may ask of it. The smaller of the two numbers counts.

    Args:
        mean: mean paired difference, a fraction like the margin.
        deviation: standard deviation of the paired differences, >= 0.
        margin: equivalence margin as a fraction.
        alpha: family-wise level.
        comparisons: number of comparisons in the family.
        more_than: seeds already there; the answer is larger.
        by_difference: False leaves only the way over equivalence (more seeds cannot make ranks
            agree that point away from the mean).
        power: required probability, in (0, 1).
        limit: largest number tried.

    Returns:
        The number of seeds in total, or None where ``limit`` seeds would not do.
    """
    level = alpha / comparisons
    inside = margin - abs(mean) > RESOLUTION
    first = max(more_than + 1, 2)
    if deviation <= 0:  # p = 2**(1-n) for the ranks, 2**-n for the equivalence
        wanted = math.ceil(-math.log2(level)) + (0 if inside else 1)
        decides = inside or (by_difference and mean != 0)
        wanted = max(first, wanted)
        return wanted if decides and wanted <= limit else None

    def enough(pairs: int) -> bool:
        effect, edge = mean / deviation, margin / deviation
        return (by_difference and difference_power(pairs, effect, level) >= power) or (
            inside and equivalence_power(pairs, effect, edge, level) >= power
        )

    for pairs in range(first, min(FEW, limit) + 1):  # one by one where the power has steps
        if enough(pairs):
            return pairs
    # Beyond, both powers grow with the number of pairs: double until enough, then bisect.
    low = max(first - 1, FEW)
    high = low + 1
    if high > limit:
        return None
    while not enough(high):
        if high >= limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
