import numpy as np
import pytest
from scipy import integrate, stats

from studies.engine.compare.equivalence import equivalence_test
from studies.engine.compare.power import (
    RANK_EFFICIENCY,
    attainable_level,
    difference_power,
    equivalence_power,
    seeds_needed,
)
from studies.engine.compare.signed_rank import signed_rank_test


@pytest.mark.parametrize(
    ("n", "effect", "alpha"), [(50, 0.3, 0.01), (41, -0.5, 0.05), (3000, 0.05, 0.007)]
)
def test_difference_power_is_the_noncentral_t_tail(n: int, effect: float, alpha: float) -> None:
    effective = n * RANK_EFFICIENCY
    critical = stats.t.isf(alpha / 2, effective - 1)
    expected = stats.nct.sf(critical, effective - 1, abs(effect) * np.sqrt(effective))
    assert difference_power(n, effect, alpha) == pytest.approx(expected, abs=1e-9)


def test_equivalence_power_equals_a_double_integral() -> None:
    for n, effect, margin, alpha in [
        (2, 0.1, 9.0, 0.05),
        (12, 0.3, 1.2, 0.05),
        (200, 0.1, 0.3, 0.01),
    ]:
        critical = stats.t.isf(alpha, n - 1)

        def inside(spread: float) -> float:  # closed before the loop goes on
            reach = (margin - critical * spread / np.sqrt(n)) * np.sqrt(n)  # noqa: B023
            centre = effect * np.sqrt(n)  # noqa: B023
            chance = stats.norm.cdf(reach - centre) - stats.norm.cdf(-reach - centre)
            density = stats.chi.pdf(spread * np.sqrt(n - 1), n - 1) * np.sqrt(n - 1)  # noqa: B023
            return float(chance * density)

        expected = integrate.quad(inside, 0, margin * np.sqrt(n) / critical, limit=200)[0]
        assert equivalence_power(n, effect, margin, alpha) == pytest.approx(expected, abs=1e-7)


def test_no_power_where_there_can_be_none() -> None:
    assert difference_power(5, 100.0, 0.05) == 0  # p >= 2**-4
    assert difference_power(6, 100.0, 0.05) == pytest.approx(1)
    assert equivalence_power(2, 0.0, 0.01, 0.05) == pytest.approx(0, abs=1e-3)


def test_attainable_level_hand_worked() -> None:
    # n = 6: sums 0, 1, 2 have one subset each of 64: two-sided levels 2/64, 4/64, 6/64.
    assert attainable_level(6, 0.05) == 2 / 64
    assert attainable_level(6, 0.0625) == 4 / 64
    assert attainable_level(4, 0.05) == 0
    assert attainable_level(1000, 0.05) == 0.05


# mean, deviation, comparisons; the smallest n of each way over the whole range of sizes.
CASES = [
    (0.01, 0.008, 1),
    (0.01, 0.008, 7),
    (0.004, 0.008, 1),
    (0.005, 0.010, 7),
    (0.012, 0.010, 3),
]
EQUIVALENT = [(0.0, 0.003, 1), (0.0, 0.008, 7), (0.001, 0.008, 1), (0.002, 0.004, 7)]


@pytest.mark.parametrize(("mean", "deviation", "comparisons"), CASES + EQUIVALENT)
def test_advised_seeds_decide_four_times_in_five(
    mean: float, deviation: float, comparisons: int
) -> None:
    margin, level, repeats = 0.005, 0.05 / comparisons, 1500
    n = seeds_needed(mean, deviation, margin, comparisons=comparisons)
    assert n is not None
    rng = np.random.default_rng(n)

    def decided(size: int) -> float:
        rows = rng.normal(mean, deviation, size=(repeats, size))
        if (mean, deviation, comparisons) in EQUIVALENT:
            return float(np.mean([equivalence_test(row, margin) <= level for row in rows]))
        return float(np.mean([signed_rank_test(row).p_value <= level for row in rows]))

    # Steps of n and of the exact test's levels lift the power at small n: at most to that of n.
    predicted = max(
        difference_power(n, mean / deviation, level),
        equivalence_power(n, mean / deviation, margin / deviation, level),
    )
    sigma = np.sqrt(0.8 * 0.2 / repeats)
    assert 0.8 - 4 * sigma < decided(n) < predicted + 4 * sigma + 0.02
    if n > 8:
        assert decided(max(2, round(0.6 * n))) < 0.8 - 4 * sigma


def test_smallest_number() -> None:
    mean, deviation, margin = 0.003, 0.006, 0.005
    n = seeds_needed(mean, deviation, margin, comparisons=2)
    assert n is not None

    def best(pairs: int) -> float:
        return max(
            difference_power(pairs, mean / deviation, 0.025),
            equivalence_power(pairs, mean / deviation, margin / deviation, 0.025),
        )

    assert best(n - 1) < 0.8 <= best(n)


@pytest.mark.parametrize(("mean", "deviation"), [(0.001, 0.03), (0.02, 0.15), (-0.02, 0.15)])
def test_bisection_finds_the_smallest_large_number(mean: float, deviation: float) -> None:
    n = seeds_needed(mean, deviation, 0.005)
    assert n is not None
    assert n > 100
    sizes = np.arange(2, 1000)
    enough = [
        difference_power(k, mean / deviation, 0.05) >= 0.8
        or (
            abs(mean) < 0.005
            and equivalence_power(k, mean / deviation, 0.005 / deviation, 0.05) >= 0.8
        )
        for k in sizes.tolist()
    ]
    assert n == sizes[np.argmax(enough)]


def test_limits_and_sides() -> None:
    assert seeds_needed(0.0, 0.1, 0.0005) is None  # equivalence within .05 points at this spread
    assert seeds_needed(0.005, 0.3, 0.005) is None  # on the edge: never equivalent
    assert seeds_needed(0.01, 0.004, 0.005, more_than=30) == 31
    # Ranks against the mean: only equivalence can decide, and not beyond the margin.
    assert seeds_needed(0.01, 0.008, 0.005, by_difference=False) is None
    both = seeds_needed(0.004, 0.008, 0.005)
    alone = seeds_needed(0.004, 0.008, 0.005, by_difference=False)
    assert both is not None
    assert alone is not None
    assert both < alone
    assert seeds_needed(0.004, 0.008, 0.005, limit=both - 1) is None
    assert seeds_needed(0.004, 0.008, 0.005, limit=both) == both
    assert seeds_needed(0.01, 0.004, 0.005, more_than=10_000) is None


def test_without_spread() -> None:
    # Equivalence: 2**-5 <= .05. Difference: 2 * 2**-6 <= .05.
    assert seeds_needed(0.001, 0.0, 0.005) == 5
    assert seeds_needed(0.02, 0.0, 0.005) == 6
    assert seeds_needed(0.02, 0.0, 0.005, comparisons=7) == 9  # 2**-8 <= .05 / 7 < 2**-7
    assert seeds_needed(0.02, 0.0, 0.005, by_difference=False) is None
