"""What worker processes are asked to do, importable without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studies.engine.forms import Form
from studies.engine.run import Environment, Recipe, Result, Run


def run_group(runs: Sequence[Run], environment: Environment, form: Form) -> list[Result]:
    """See `studies.engine.worker.run_group`."""
    from studies.engine import worker

    return worker.run_group(runs, environment, form)


def inspect(
    recipe: Recipe,
    environment: Environment,
    arms: Sequence[Mapping[str, Any]],
    methods: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """See `studies.engine.inspection.inspect`."""
    from studies.engine import inspection

    return inspection.inspect(recipe, environment, arms, methods)


def calibrate(recipe: Recipe, environment: Environment, workers: int, stack: int | None) -> Form:
    """See `studies.engine.calibration.calibrate`."""
    from studies.engine import calibration

    return calibration.calibrate(recipe, environment, workers, stack)


def use_one_thread() -> None:
    """See `studies.engine.worker.use_one_thread`."""
    from studies.engine import worker

    worker.use_one_thread()
