"""Ranks over studies and probabilities of improvement, against published and exact numbers."""

import math

import numpy as np
import pytest

from studies.engine.report.several import improvement, nemenyi_quantile, rank_arms


@pytest.mark.parametrize(
    ("arms", "alpha", "expected"),
    [
        # Demsar (2006), table 5(a).
        (2, 0.05, 1.960), (3, 0.05, 2.343), (4, 0.05, 2.569), (5, 0.05, 2.728), (6, 0.05, 2.850),
        (7, 0.05, 2.949), (8, 0.05, 3.031), (9, 0.05, 3.102), (10, 0.05, 3.164),
        (2, 0.10, 1.645), (3, 0.10, 2.052), (4, 0.10, 2.291), (10, 0.10, 2.920),
    ],
)  # fmt: skip
def test_critical_values_are_demsars(arms: int, alpha: float, expected: float) -> None:
    assert nemenyi_quantile(arms, alpha) == pytest.approx(expected, abs=1.1e-3)


def test_ranks_of_an_example_worked_by_hand() -> None:
    ranking = rank_arms({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.9, 0.6], "c": [0.7, 0.7, 0.6]})
    # Ranks: a 1 2 1, b 2 1 2.5, c 3 3 2.5.
    assert ranking.arms == ("a", "b", "c")
    assert ranking.ranks == pytest.approx((4 / 3, 5.5 / 3, 8.5 / 3))
    error = math.sqrt(3 * 4 / (6 * 3))
    assert ranking.critical_difference == pytest.approx(2.3437 * error, abs=1e-3)
    # Friedman with ties: between (squared deviations of rank means from 2) / spread.
    between = 3 * ((2 / 3) ** 2 + (1 / 6) ** 2 + (5 / 6) ** 2)
    spread = (2 + 2 + (1 + 0.25 + 0.25)) / (3 * 2)
    assert ranking.p_friedman == pytest.approx(math.exp(-between / spread / 2))  # chi2, 2 df
    p = [math.erfc(gap / error / math.sqrt(2)) for gap in (0.5, 1.5)]
    assert ranking.p_values == pytest.approx((1.0, p[0], 2 * p[1]))


def test_cliques_are_the_largest_groups_within_the_critical_difference() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(40)
    means = {
        "first": base + 3,
        "second": base + np.where(np.arange(40) % 2, 2.9, 3.1),
        "last": base,
        "next to last": base + np.where(np.arange(40) % 2, 0.1, -0.1),
    }
    ranking = rank_arms({arm: row.tolist() for arm, row in means.items()})
    assert {ranking.arms[:2], ranking.arms[2:]} == {
        ("first", "second"), ("last", "next to last"),
    }  # fmt: skip
    assert ranking.cliques() == ((0, 1), (2, 3))
    few = rank_arms({arm: row[:3].tolist() for arm, row in means.items()})
    assert few.cliques() == ((0, 3),)


def test_equal_arms_share_every_rank() -> None:
    ranking = rank_arms({"a": [0.5, 0.6], "b": [0.5, 0.6]})
    assert ranking.ranks == (1.5, 1.5)
    assert ranking.p_friedman == 1.0
    assert ranking.p_values == (1.0, 1.0)


@pytest.mark.parametrize("means", [{"a": [0.5, 0.6]}, {"a": [0.5], "b": [0.5]}])
def test_ranks_need_two_of_each(means: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="at least two"):
        rank_arms(means)


def study(ours: list[float], theirs: list[float]) -> dict[str, dict[int, float]]:
    return {"ours": dict(enumerate(ours)), "theirs": dict(enumerate(theirs))}


def test_probability_counts_pairs_of_runs_and_halves_ties() -> None:
    one = study([0.5, 0.7], [0.5, 0.6])  # 0.5: tie, loss; 0.7: win, win
    two = study([0.9, 0.9], [0.1, 0.2])
    assert improvement("ours", "theirs", [one]).probability == pytest.approx(2.5 / 4)
    assert improvement("ours", "theirs", [one, two]).probability == pytest.approx((0.625 + 1) / 2)
    sure = improvement("ours", "theirs", [two])
    assert (sure.low, sure.high) == (1.0, 1.0)
    flipped = improvement("theirs", "ours", [one])
    assert flipped.probability == pytest.approx(1.5 / 4)


def test_its_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Independent normal runs a distance d apart: P(ours > theirs) = Phi(d / sqrt(2)).
    rng = np.random.default_rng(1)
    truth = 0.5 * math.erfc(-0.5 / 2)
    repeats = 100
    hits = 0
    for _ in range(repeats):
        studies = [
            study((0.5 + 0.01 * rng.normal(0.5, 1, 20)).tolist(),
                  (0.5 + 0.01 * rng.normal(0, 1, 20)).tolist())
            for _ in range(3)
        ]  # fmt: skip
        found = improvement("ours", "theirs", studies)
        hits += found.low <= truth <= found.high
    # Nominal 95 %; a percentile interval of 20 runs falls a little short. Four standard errors.
    assert 0.93 - 4 * math.sqrt(0.95 * 0.05 / repeats) < hits / repeats <= 1
