from dataclasses import replace

import pytest

from studies.engine.compare import Comparison, difference_text, interval_text, sentence
from studies.engine.compare.judgement import SMALL_BUT_REAL

BASE = Comparison(
    arm="ternary_tuned",
    reference="glorot_tuned",
    n=20,
    mean_difference=0.03,
    std_difference=0.32,
    low=-0.12,
    high=0.18,
    interval_method="bca",
    p_value=0.7,
    p_adjusted=1.0,
    p_equivalence=1e-4,
    p_equivalence_adjusted=1e-3,
    verdict="equivalent",
    seeds_needed=None,
    note="",
    margin=0.5,
    alpha=0.05,
)
NAMES = {"ternary_tuned": "tuned ternary", "glorot_tuned": "tuned Glorot"}


def test_equivalent() -> None:
    assert sentence(BASE, data="digits", names=NAMES) == (
        "tuned ternary is equivalent to tuned Glorot on digits: 0.03 points higher on average"
        " (95 % interval -0.12 to 0.18; 20 seeds; margin 0.5 points)"
    )
    assert sentence(replace(BASE, note=SMALL_BUT_REAL)) == (
        "ternary_tuned is equivalent to glorot_tuned: 0.03 points higher on average (95 % interval"
        " -0.12 to 0.18; 20 seeds; margin 0.5 points); a real difference, but smaller than the"
        " margin"
    )


def test_better_and_worse() -> None:
    better = replace(BASE, verdict="better", mean_difference=1.234, low=0.8, high=1.7, alpha=0.01)
    assert sentence(better, names=NAMES) == (
        "tuned ternary is better than tuned Glorot: 1.23 points higher on average"
        " (99 % interval 0.80 to 1.70; 20 seeds; margin 0.5 points)"
    )
    worse = replace(better, verdict="worse", mean_difference=-1.2)
    assert sentence(worse).startswith(
        "ternary_tuned is worse than glorot_tuned: 1.20 points lower on average"
    )


@pytest.mark.parametrize(
    ("needed", "text"),
    [
        (57, "; about 57 seeds in total would decide (80 % power)"),
        (2345, "; about 2,345 seeds in total would decide (80 % power)"),
        (None, "; more than 10,000 seeds would be needed to decide (80 % power)"),
    ],
)
def test_undecided(needed: int | None, text: str) -> None:
    undecided = sentence(replace(BASE, verdict="undecided", seeds_needed=needed), data="digits")
    assert undecided.startswith("ternary_tuned against glorot_tuned on digits is undecided: 0.03")
    assert undecided.endswith(text)


def test_tiny_numbers() -> None:
    assert difference_text(replace(BASE, mean_difference=0.0)) == "no difference on average"
    assert (
        difference_text(replace(BASE, mean_difference=-0.004))
        == "less than 0.01 points lower on average"
    )
    assert interval_text(replace(BASE, low=-0.001, high=0.001)) == "95 % interval 0.00 to 0.00"
