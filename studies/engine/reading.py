"""The value of an outcome in a run's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from studies.engine.errors import UserError
from studies.engine.run import Result, Run, diagnostic_fields

if TYPE_CHECKING:
    from studies.engine.compare import Outcome


class MissingFigureError(UserError):
    """A run has no figure of the name that an outcome reads."""


def read_outcomes(
    outcome: Outcome, also: Sequence[Outcome], runs: Sequence[Run], results: Sequence[Result]
) -> list[dict[str, float]]:
    """The outcomes of runs by name: the compared one of all, the others of the runs that have them.

    A training method's own figures, such as the share of changed connections, are missing where
    the weights themselves are trained.

    Raises:
        UserError: as `read_outcome`; of a further outcome only if no run has its figure.
    """
    found: list[dict[str, float]] = []
    missing: dict[str, MissingFigureError] = {}
    for run, result in zip(runs, results, strict=True):
        epochs = run.effective_recipe.epochs
        found.append({outcome.name: read_outcome(outcome, result, epochs)})
        for other in also:
            try:
                found[-1][other.name] = read_outcome(other, result, epochs)
            except MissingFigureError as why:
                missing[other.name] = why
    for name, error in missing.items():
        if not any(name in read for read in found):
            raise error
    return found


def read_outcome(outcome: Outcome, result: Result, epochs: int) -> float:
    """What a run contributes to a comparison.

    A run that diverged has the worst value: the outcome's worse end, or where that is infinite
    one epoch more than the recipe has.

    Args:
        outcome: what is compared.
        result: a finished or diverged run.
        epochs: length of the recipe.

    Raises:
        MissingFigureError: the run has no such figure.
        UserError: it has fewer epochs than the outcome asks for.
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
        raise MissingFigureError(
            f"The outcome {outcome.words} reads {outcome.metric!r}, which a run does not have: "
            f"{', '.join(name for name, held in figures.items() if held is not None)}."
        )
    return float(value)
