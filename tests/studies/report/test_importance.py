"""What a hyperparameter explains, on searches whose truth is known."""

import numpy as np
import pytest

from studies.engine.report.importance import importances
from studies.engine.report.stored import Trial


def trials(accuracies: list[float], **values: list[float]) -> list[Trial]:
    return [
        Trial("f", i, {name: row[i] for name, row in values.items()}, accuracy, 1, "complete")
        for i, accuracy in enumerate(accuracies)
    ]


def test_a_grid_shares_the_variance_out_exactly() -> None:
    # Ranks 1..9 over a 3 x 3 grid: a carries 3 x {0, 1, 2}, b carries {0, 1, 2}; variances 9 : 1.
    a = [x for x in (0.1, 1.0, 10.0) for _ in range(3)]
    b = [0.5, 1.0, 2.0] * 3
    found = importances("f", trials([0.1 * i for i in range(1, 10)], a=a, b=b))
    assert [(i.name, i.trials) for i in found] == [("a", 9), ("b", 9)]
    assert [i.share for i in found] == pytest.approx([0.9, 0.1], abs=1e-12)


def test_a_peak_in_the_middle_counts() -> None:
    scale = np.geomspace(0.25, 4, 21)
    found = importances("f", trials((1 - np.log(scale) ** 2).tolist(), scale=scale.tolist()))
    assert found[0].share > 0.9  # a rank correlation would say 0
    assert found[0].share > found[0].chance


def test_ranks_make_one_failure_no_more_than_one_bad_trial() -> None:
    rng = np.random.default_rng(0)
    scale = np.exp(rng.uniform(-1, 1, 30))
    accuracies = 0.9 - 0.02 * np.log(scale) ** 2
    lowest = int(accuracies.argmin())
    failed = np.where(np.arange(30) == lowest, 0.0, accuracies)
    values = scale.tolist()
    assert importances("f", trials(failed.tolist(), scale=values)) == importances(
        "f", trials(accuracies.tolist(), scale=values)
    )


def test_chance_is_passed_in_five_of_a_hundred_searches_without_influence() -> None:
    rng = np.random.default_rng(2)
    repeats, passed = 600, 0
    for _ in range(repeats):
        x, y = (np.exp(rng.uniform(-2, 2, 16)).tolist() for _ in range(2))
        accuracies = (rng.normal(size=16) + np.log(y)).tolist()
        item = importances("f", trials(accuracies, x=x, y=y))[0]
        passed += item.share > item.chance
    # Four standard errors about 5 %, the approximation's own error within them.
    assert abs(passed / repeats - 0.05) < 4 * (0.05 * 0.95 / repeats) ** 0.5


def test_too_few_trials_or_no_variance_say_nothing() -> None:
    assert importances("f", []) == ()
    assert importances("f", trials([0.1, 0.2, 0.3, 0.4, 0.5], x=[1.0, 2, 3, 4, 5])) == ()
    assert importances("f", trials([0.5] * 9, x=[float(i) for i in range(1, 10)])) == ()
    assert importances("f", trials([0.1 * i for i in range(9)])) == ()
