from itertools import product

import numpy as np
import pytest
from scipy import stats

from studies.engine.compare.signed_rank import (
    EXACT_LIMIT,
    doubled_midranks,
    rank_sum_distribution,
    signed_rank_test,
)


def brute_force(differences: np.ndarray) -> tuple[float, float, float]:
    """Two-sided, greater and less p-values by all sign patterns of the non-zero differences."""
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    observed = ranks[differences[differences != 0] > 0].sum()
    sums = np.array([np.dot(ranks, keep) for keep in product([0, 1], repeat=ranks.size)])
    centre = ranks.sum() / 2
    two_sided = np.mean(np.abs(sums - centre) >= abs(observed - centre))
    return float(two_sided), float(np.mean(sums >= observed)), float(np.mean(sums <= observed))


@pytest.mark.parametrize("n", range(1, 11))
def test_equals_brute_force_with_ties_and_zeros(n: int) -> None:
    rng = np.random.default_rng(n)
    for steps in (1, 2, 3, 100):  # from nearly all tied or zero to nearly none
        for _ in range(3):
            d = rng.integers(-steps, steps + 1, size=n).astype(float)
            expected = brute_force(d)
            for alternative, p in zip(("two-sided", "greater", "less"), expected, strict=True):
                got = signed_rank_test(d, alternative=alternative)  # type: ignore[arg-type]
                assert got.p_value == pytest.approx(p, rel=1e-12)


def test_hand_worked_with_ties_and_a_zero() -> None:
    # d = 0, 1, 1, -1, 2. Pratt ranks of |d|: 1 | 3, 3, 3 | 5; the zero's rank is dropped.
    # T+ = 3 + 3 + 5 = 11, T- = 3. Of the 16 subsets of {3, 3, 3, 5} one sums to 14 and three
    # (5 + 3 + 3) to 11, so P(T+ >= 11) = 4/16 and the two-sided p-value is 1/2.
    # P(T+ <= 11) = 1 - P(T+ = 14) = 15/16.
    d = np.array([0, 1, 1, -1, 2], dtype=float)
    result = signed_rank_test(d)
    assert (result.positive, result.negative, result.p_value) == (11, 3, 0.5)
    assert result.direction == 1
    assert signed_rank_test(d, alternative="greater").p_value == 4 / 16
    assert signed_rank_test(d, alternative="less").p_value == 15 / 16


def test_darwins_maize() -> None:
    # Darwin's 15 pairs of cross- and self-fertilised maize, in eighths of an inch (Fisher, The
    # Design of Experiments, 1935): -48 and -67 have ranks 10 and 14, so T- = 24 of 120. By
    # counting, 676 subsets of {1..15} sum to at most 24: p = 2 * 676 / 2**15.
    d = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)
    result = signed_rank_test(d)
    assert (result.positive, result.negative) == (96, 24)
    assert result.p_value == 2 * 676 / 2**15 == 0.041259765625


@pytest.mark.parametrize("n", [6, 20, 50, 120])
def test_equals_scipy_without_ties(n: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.3):
        d = rng.normal(shift, 1, size=n)
        for alternative in ("two-sided", "greater", "less"):
            expected = stats.wilcoxon(d, alternative=alternative, method="exact").pvalue
            got = signed_rank_test(d, alternative=alternative).p_value
            assert got == pytest.approx(expected, rel=1e-10)


def test_distribution_counts_subsets() -> None:
    # Subsets of {1, 2, 3}: sums 0, 1, 2, 3 (twice), 4, 5, 6.
    assert (rank_sum_distribution([3, 1, 2]) * 8).tolist() == [1, 1, 1, 2, 1, 1, 1]
    assert rank_sum_distribution([]).tolist() == [1.0]
    assert rank_sum_distribution(np.arange(1, 301)).sum() == pytest.approx(1, abs=1e-12)


def test_doubled_midranks() -> None:
    assert doubled_midranks(np.array([5.0, 1, 1, 7, 5, 5])).tolist() == [8, 3, 3, 12, 8, 8]


def test_zeros_and_single_differences() -> None:
    assert signed_rank_test(np.zeros(8)).p_value == 1
    assert signed_rank_test(np.zeros(8)).direction == 0
    assert signed_rank_test([]).p_value == 1
    for n in (1, 6, 20):  # all on one side: only one of 2**n patterns is as extreme, on either side
        assert signed_rank_test(np.ones(n)).p_value == 2.0 ** (1 - n)
        assert signed_rank_test(-np.ones(n), alternative="less").p_value == 2.0**-n


def test_p_value_is_symmetric_and_free_of_scale() -> None:
    d = np.random.default_rng(3).integers(-4, 6, size=30).astype(float)
    p = signed_rank_test(d).p_value
    assert signed_rank_test(-d).p_value == p == signed_rank_test(8 * d).p_value


def test_small_positives_for_zeros_never_look_less_positive() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        d = rng.integers(-3, 4, size=9).astype(float)
        raised = np.where(d == 0, 1e-3, d)
        before = signed_rank_test(d, alternative="greater").p_value
        assert signed_rank_test(raised, alternative="greater").p_value <= before + 1e-15


def test_far_tail_keeps_its_relative_precision() -> None:
    d = np.arange(1.0, 201)
    d[:2] *= -1  # T- = 3; the subsets with a sum of at most 3: {}, 1, 2, 3, 1 + 2
    assert signed_rank_test(d).p_value == pytest.approx(2 * 5 * 2.0**-200, rel=1e-12)


def test_normal_approximation_beyond_the_exact_limit() -> None:
    n = EXACT_LIMIT + 1
    rng = np.random.default_rng(11)
    for shift in (0.0, 0.5, 1.0):
        d = np.rint(rng.normal(shift, 6, size=n))
        ranks = doubled_midranks(np.abs(d))[d != 0]
        if ranks.size <= EXACT_LIMIT:
            d = np.where(d == 0, 1.0, d)
            ranks = doubled_midranks(np.abs(d))
        extreme = max(ranks[d[d != 0] > 0].sum(), ranks[d[d != 0] < 0].sum())
        exact = min(1.0, 2 * rank_sum_distribution(ranks)[extreme:].sum())
        assert signed_rank_test(d).p_value == pytest.approx(exact, rel=0.02, abs=1e-5)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="finite"):
        signed_rank_test([1.0, float("nan")])
    with pytest.raises(ValueError, match="'both' must be two-sided, greater or less"):
        signed_rank_test([1.0, 2.0], alternative="both")  # type: ignore[arg-type]
