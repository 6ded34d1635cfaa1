import math

import numpy as np
import pytest
from scipy import stats

from studies.engine.compare.equivalence import equivalence_test


def test_hand_worked() -> None:
    # d = 0, 2 with margin 2: mean 1, standard deviation sqrt(2), standard error 1. The nearer edge
    # lies one standard error away; with 1 degree of freedom (Cauchy) P(T < -1) = 1/4.
    assert equivalence_test([0.0, 2.0], 2.0) == pytest.approx(0.25, abs=1e-12)
    # Margin 4: three standard errors, 1/2 - atan(3)/pi.
    assert equivalence_test([0.0, 2.0], 4.0) == pytest.approx(0.5 - math.atan(3) / math.pi)
    # Outside the margin the p-value is above 1/2: margin 1/2 is half an error short.
    assert equivalence_test([0.0, 2.0], 0.5) == pytest.approx(0.5 + math.atan(0.5) / math.pi)


@pytest.mark.parametrize("n", [3, 10, 40])
@pytest.mark.parametrize("shift", [-0.006, -0.002, 0.0, 0.004])
def test_larger_of_two_one_sided_t_tests(n: int, shift: float) -> None:
    d = np.random.default_rng(n).normal(shift, 0.004, size=n)
    above = stats.ttest_1samp(d, -0.005, alternative="greater").pvalue
    below = stats.ttest_1samp(d, 0.005, alternative="less").pvalue
    assert equivalence_test(d, 0.005) == pytest.approx(max(above, below), rel=1e-9)


def test_p_below_alpha_is_the_t_interval_inside_the_margins() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for d in rng.normal(0.002, 0.005, size=(300, 12)):
        low, high = stats.ttest_1samp(d, 0).confidence_interval(0.9)
        inside = low > -0.005 and high < 0.005
        hits += inside
        assert (equivalence_test(d, 0.005) < 0.05) == inside
    assert 50 < hits < 250  # both answers occur


def test_without_spread_the_number_of_pairs_decides() -> None:
    assert equivalence_test(np.full(4, 0.001), 0.005) == 2**-4
    assert equivalence_test(np.zeros(5), 0.005) == 2**-5
    assert equivalence_test(np.full(50, 0.005), 0.005) == 1
    assert equivalence_test(np.full(50, -0.02), 0.005) == 1


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least 2 differences, not 1"):
        equivalence_test([0.1], 0.005)
    for margin in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="must be a positive number"):
            equivalence_test([0.1, 0.2], margin)
