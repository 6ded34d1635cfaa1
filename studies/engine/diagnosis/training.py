"""Diagnostics of the trainings of a study."""

from __future__ import annotations

import dataclasses
from typing import Any

from lightning_modules.diagnostics import Diagnosis, Diagnostics, Row, finite, summarise
from studies.engine.diagnosis.batches import first_examples
from studies.engine.run import Environment

EXAMPLES = 64
"""Training examples that are measured on: enough for moments, little beside a training."""
_COLUMNS = tuple(field.name for field in dataclasses.fields(Row) if field.name != "seed")


def callback_for(data: Any, environment: Environment) -> list[Diagnostics]:
    """The callback that the environment asks for; none for ``off``.

    Args:
        data: the run's DataModule; its first training examples are measured on, the same in every
            run, process and stack.
        environment: its `diagnostics` is ``off``, ``init`` or ``epoch``.
    """
    if environment.diagnostics == "off":
        return []
    x, y = first_examples(data, EXAMPLES)
    return [Diagnostics(x, y, every_epoch=environment.diagnostics == "epoch")]


def plain(callbacks: list[Diagnostics], position: int = 0) -> dict[str, Any]:
    """What was measured of a run, as plain data; empty if nothing was.

    Returns:
        ``summary``: the initial weights in a few numbers; ``steps``: the same for every epoch, the
        initial weights first, if there are several; ``columns`` and ``rows``: the long table, with
        None for numbers that are not finite; ``gaps``: what could not be measured, in sentences.
    """
    if not callbacks or position not in callbacks[0].found:
        return {}
    found = callbacks[0].found[position]
    steps = sorted({row.step for row in found.rows})
    whole = 0 in steps  # else measuring was switched on in the middle of a training
    summaries = [summarise(_step(found, step)) for step in steps] if whole else []
    return {
        "summary": summaries[0] if whole else {},
        "steps": summaries if len(summaries) > 1 else [],
        "columns": list(_COLUMNS),
        "rows": [[_number(getattr(row, name)) for name in _COLUMNS] for row in found.rows],
        "gaps": [str(gap) for gap in found.gaps],
    }


def _step(found: Diagnosis, step: int) -> Diagnosis:
    return Diagnosis(tuple(row for row in found.rows if row.step == step))


def _number(value: Any) -> Any:
    """Six digits do for a table of thousands of runs."""
    return finite(float(f"{value:.6g}")) if isinstance(value, float) else value
