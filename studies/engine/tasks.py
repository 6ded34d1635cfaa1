"""What worker processes are asked to do, importable without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.engine.run import Environment, Recipe, Result, Run


def run_one(run: Run, environment: Environment, checkpoint: Path | None = None) -> Result:
    """See `studies.engine.worker.run_one`."""
    from studies.engine import worker

    return worker.run_one(run, environment, checkpoint)


def inspect(
    recipe: Recipe, environment: Environment, arms: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """See `studies.engine.worker.inspect`."""
    from studies.engine import worker

    return worker.inspect(recipe, environment, arms)


def use_one_thread() -> None:
    """See `studies.engine.worker.use_one_thread`."""
    from studies.engine import worker

    worker.use_one_thread()
