"""The value of an outcome in a run's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from studies.engine.errors import UserError
from studies.engine.run import Result, diagnostic_fields

if TYPE_CHECKING:
    from studies.engine.compare import Outcome


def read_outcome(outcome: Outcome, result: Result, epochs: int) -> float:
    """What a run contributes to a comparison.

    A run that diverged has the worst value: the outcome's worse end, or where that is infinite
    one epoch more than the recipe has.

    Args:
        outcome: what is compared.
        result: a finished or diverged run.
        epochs: length of the recipe.

    Raises:
        UserError: the run has no such figure, or fewer epochs than the outcome asks for.
    """
    if outcome.kind == "epochs_to":
        reached = (
            epoch
            for epoch, figures in enumerate(result.history, start=1)
            if _number(figures, outcome) >= outcome.at
        )
        return float(next(reached, epochs + 1) if result.status == "finished" else epochs + 1)
    if result.status != "finished":
        return outcome.low if outcome.higher_is_better else outcome.high
    if outcome.kind == "epoch":
        if outcome.at > len(result.history):
            raise UserError(
                f"The outcome {outcome.words} needs {outcome.at:g} epochs, and the recipe has "
                f"{epochs}; raise --epochs."
            )
        return _number(result.history[int(outcome.at) - 1], outcome)
    finals = {
        **result.history[-1],
        "val_accuracy": result.val_accuracy,
        "test_accuracy": result.test_accuracy,
        "test_loss": result.test_loss,
        **result.extra,
        **diagnostic_fields(result.diagnostics.get("summary", {})),
    }
    return _number(finals, outcome)


def _number(figures: Mapping[str, float | None], outcome: Outcome) -> float:
    value = figures.get(outcome.metric)
    if value is None:
        raise UserError(
            f"The outcome {outcome.words} reads {outcome.metric!r}, which a run does not have: "
            f"{', '.join(name for name, held in figures.items() if held is not None)}."
        )
    return float(value)
