"""What a run contributes to a comparison, where the arms of a study have different figures."""

from typing import Any

import pytest

from studies.engine.compare import TEST_ACCURACY, epochs_to, final
from studies.engine.errors import UserError
from studies.engine.reading import read_outcomes
from studies.engine.run import Arm, Recipe, Result, Run

RECIPE = Recipe("digits", "lenet_300_100", epochs=3, batch_size=50)
RUNS = [Run(RECIPE, Arm(label, {"name": "he_normal"}), 0, test=True) for label in ("a", "b")]


def result(status: str = "finished", **figures: float) -> Result:
    epochs = tuple({"val_accuracy": value, **figures} for value in (0.5, 0.8, 0.9))
    plain: dict[str, Any] = {"started": 0.0, "seconds": 1.0, "initialization": {}, "data": {}}
    return Result("0", status, epochs, 0.9, 0.88, 0.4, **plain)


def test_a_methods_own_figure_is_read_where_it_is() -> None:
    also = (final("changed", "changed connections"), epochs_to(0.8))
    plain, trained = read_outcomes(TEST_ACCURACY, also, RUNS, [result(), result(changed=0.07)])
    assert plain == {"test_accuracy": 0.88, "epochs_to_80": 2.0}
    assert trained == {"test_accuracy": 0.88, "changed": 0.07, "epochs_to_80": 2.0}
    diverged = read_outcomes(TEST_ACCURACY, also, RUNS[:1], [result("diverged")])
    assert diverged == [{"test_accuracy": 0.0, "changed": 0.0, "epochs_to_80": 4.0}]


def test_a_figure_that_no_run_has_is_a_mistake() -> None:
    with pytest.raises(UserError, match="reads 'chnged', which a run does not have"):
        read_outcomes(TEST_ACCURACY, (final("chnged", "x"),), RUNS, [result(), result(changed=0.1)])
    with pytest.raises(UserError, match="reads 'changed'"):
        read_outcomes(final("changed", "x"), (), RUNS, [result(changed=0.1), result()])
