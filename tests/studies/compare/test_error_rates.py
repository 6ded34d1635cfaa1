"""Verdicts on simulated studies with known truth: errors must stay below the promised level.

Accuracies are counts over test sets of 360 (as digits) and 10,000 (as MNIST), so that ties and
zeros are as common as in practice. Upper bounds are alpha plus four binomial standard errors.
"""

import numpy as np
import pytest

from studies.engine.compare.judgement import judge

ALPHA = 0.05
MARGIN = 0.005


def bound(repeats: int) -> float:
    return float(ALPHA + 4 * np.sqrt(ALPHA * (1 - ALPHA) / repeats))


def counted(values: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(np.rint(values * size) / size)


@pytest.mark.parametrize(("n", "size", "spread"), [(20, 360, 0.01), (10, 10_000, 0.003)])
def test_false_better_or_worse_without_a_difference(n: int, size: int, spread: float) -> None:
    repeats = 4000
    rng = np.random.default_rng(n)
    # Two arms of one distribution each: differences are symmetric about 0 and exchangeable.
    arms = counted(rng.normal(0.95, spread, size=(2, repeats, n)), size)
    # A margin far below the spread leaves "equivalent" out of the way.
    verdicts = [judge([d], 1e-5)[0].verdict for d in arms[0] - arms[1]]
    wrong = np.mean([v in ("better", "worse") for v in verdicts])
    assert 0.03 < wrong <= bound(repeats)  # not needlessly strict either
    assert np.mean([v == "better" for v in verdicts]) == pytest.approx(wrong / 2, abs=0.01)


@pytest.mark.parametrize(
    ("n", "size", "spread"),
    [(20, 360, 0.01), (20, 10_000, 0.003), (10, 10_000, 0.003), (4, 1000, 0.002)],
)
def test_false_equivalence_at_the_margin(n: int, size: int, spread: float) -> None:
    repeats = 4000
    rng = np.random.default_rng(n + size)
    # The spreads are at least one count, so that rounding keeps the mean on the margin.
    ours = counted(rng.normal(0.90 + MARGIN, spread, size=(repeats, n)), size)
    theirs = counted(rng.normal(0.90, spread, size=(repeats, n)), size)
    wrong = np.mean([judge([d], MARGIN)[0].verdict == "equivalent" for d in ours - theirs])
    assert wrong <= bound(repeats)
    if n >= 10 and spread < MARGIN:  # the level is used up where equivalence can be found at all
        assert wrong > 0.03


@pytest.mark.parametrize("spread", [0.003, 0.01])
def test_family_wise_errors_over_seven_comparisons(spread: float) -> None:
    repeats, arms, n = 1200, 7, 20
    rng = np.random.default_rng(arms)
    # Seven arms against one reference: the shared reference makes the comparisons dependent.
    reference = rng.normal(0.95, spread, size=(repeats, 1, n))
    noise = rng.normal(0.95, spread, size=(repeats, arms, n))
    equal = counted(noise, 10_000) - counted(reference, 10_000)
    edge = counted(noise + MARGIN, 10_000) - counted(reference, 10_000)
    differ = [any(j.verdict in ("better", "worse") for j in judge(d, 1e-5)) for d in equal]
    same = [any(j.verdict == "equivalent" for j in judge(d, MARGIN)) for d in edge]
    assert np.mean(differ) <= bound(repeats)
    assert np.mean(same) <= bound(repeats)
    # The correction is needed: without it the seven tests together err far more often.
    unadjusted = [any(j.p_value <= ALPHA for j in judge(d, 1e-5)) for d in equal[:400]]
    assert np.mean(unadjusted) > 2 * ALPHA


def test_true_verdicts_are_found() -> None:
    repeats, n = 500, 20
    rng = np.random.default_rng(9)
    found = {}
    for shift in (-0.01, 0.0, 0.01):
        rows = counted(rng.normal(shift, 0.004, size=(repeats, n)), 10_000)
        verdicts = [judge([d], MARGIN)[0].verdict for d in rows]
        found[shift] = {v: verdicts.count(v) / repeats for v in set(verdicts)}
    # Standard error .0009: one point is 11 errors from 0, the margin 5.6 errors from 0.
    assert found[0.01]["better"] > 0.99
    assert found[-0.01]["worse"] > 0.99
    assert found[0.0]["equivalent"] > 0.99
