"""From a run's history to the figure that is compared, and from verdicts to a finding."""

import dataclasses
import math
from typing import Any

import pytest

from studies.engine.claims import Evidence, expect
from studies.engine.compare import (
    TEST_ACCURACY,
    TRAIN_ACCURACY,
    Outcome,
    after_epoch,
    compare_pairs,
    epochs_to,
    final,
)
from studies.engine.errors import UserError
from studies.engine.reading import read_outcome
from studies.engine.run import Result

HISTORY = tuple(
    {"train_loss": 1.0 - i / 10, "train_accuracy": 0.5 + i / 10, "val_accuracy": value}
    for i, value in enumerate((0.6, 0.8, 0.7, 0.9))
)


def result(**changes: Any) -> Result:
    plain = Result(
        key="k",
        status="finished",
        history=HISTORY,
        val_accuracy=0.9,
        test_accuracy=0.875,
        test_loss=0.3,
        started=0.0,
        seconds=1.0,
        initialization={},
        data={},
        extra={"changed": 0.04},
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    ("outcome", "value", "worst"),
    [
        (TEST_ACCURACY, 0.875, 0.0),
        (TRAIN_ACCURACY, 0.8, 0.0),
        (after_epoch(1), 0.6, 0.0),
        (after_epoch(3), 0.7, 0.0),
        (epochs_to(0.8), 2.0, 5.0),
        (epochs_to(0.85), 4.0, 5.0),
        (epochs_to(0.95), 5.0, 5.0),
        (final("changed", "share changed"), 0.04, 0.0),
    ],
)
def test_outcomes_are_read_from_a_run(outcome: Outcome, value: float, worst: float) -> None:
    assert read_outcome(outcome, result(), 4) == pytest.approx(value)
    assert read_outcome(outcome, result(status="diverged", history=HISTORY[:1]), 4) == worst
    assert Outcome.from_dict(outcome.to_dict()) == outcome


def test_a_figure_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UserError, match="'sharpness', which a run does not have"):
        read_outcome(final("sharpness", "sharpness"), result(), 4)
    with pytest.raises(UserError, match="needs 9 epochs, and the recipe has 4"):
        read_outcome(after_epoch(9), result(), 4)


def test_fewer_epochs_are_better() -> None:
    outcome = epochs_to(0.9)
    values = {
        "fast": {seed: 3.0 + seed % 2 for seed in range(10)},
        "slow": {seed: 6.0 + seed % 3 for seed in range(10)},
    }
    found = compare_pairs(values, [("fast", "slow")], margin=1.0, outcome=outcome)
    comparison = found.between("fast", "slow")
    # Per seed: 3 + s % 2 - 6 - s % 3; the sum over ten seeds is 35 - 69.
    assert comparison.mean_difference == pytest.approx(-3.4)
    assert comparison.verdict == "better"
    assert (
        compare_pairs(values, [("slow", "fast")], margin=1.0, outcome=outcome)
        .comparisons[0]
        .verdict
        == "worse"
    )
    assert math.isinf(outcome.high)
    assert type(found).from_dict(found.to_dict()) == found


def evidence(gap: float, spread: float = 0.001) -> Evidence:
    base = {seed: 0.9 + spread * (seed % 5) for seed in range(10)}
    values = {
        "reference": base,
        "arm": {seed: value - gap - spread * (seed % 3 - 1) for seed, value in base.items()},
    }
    rows = [
        {"arm": arm, "seed": seed, "test_accuracy": value}
        for arm, row in values.items()
        for seed, value in row.items()
    ]
    return Evidence(compare_pairs(values, [("arm", "reference")], margin=0.5), rows)


@pytest.mark.parametrize(
    ("gap", "spread", "at_most", "verdict"),
    [
        (0.0, 0.001, 0.0, "reproduced"),
        (0.05, 0.001, 0.0, "not reproduced"),
        (0.008, 0.001, 0.0, "not reproduced"),
        (0.008, 0.001, 1.0, "reproduced"),
        (0.004, 0.02, 0.0, "undecided"),
    ],
)
def test_findings_follow_from_the_verdicts(
    gap: float, spread: float, at_most: float, verdict: str
) -> None:
    judge = expect({("arm", "reference"): ("equivalent", "better")}, at_most=at_most)
    finding = judge(evidence(gap, spread))
    assert finding.verdict == verdict, finding
    assert "arm against reference" in finding.reason


def test_evidence_gives_columns_by_seed() -> None:
    given = evidence(0.0)
    assert given.values("reference", "test_accuracy")[4] == pytest.approx(0.904)
    assert given.mean("reference", "test_accuracy") == pytest.approx(0.902)
    with pytest.raises(KeyError, match="no run of 'arm' has 'loss'"):
        given.values("arm", "loss")
