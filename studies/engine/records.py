"""How runs and errors look in tracking: used by studies and by single trainings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studies.engine.errors import UserError
from studies.engine.options import RecipeOptions
from studies.engine.run import Arm, Recipe, Result, Run, diagnostic_fields
from studies.engine.tracking import (
    Tracker,
    TrackingConfig,
    TrackingError,
    load_tracking_config,
)


def tracking_config(options: RecipeOptions) -> TrackingConfig:
    """The tracking configuration of file, environment and options.

    Raises:
        UserError: one of them is not usable.
    """
    try:
        return load_tracking_config(
            tracking_uri=options.tracking_uri, experiment=options.experiment
        )
    except TrackingError as error:
        raise UserError(sentence(error)) from error


def open_tracker(
    config: TrackingConfig,
    experiment: str,
    folder: Path,
    note: str | None = None,
    views: Mapping[str, str] | None = None,
) -> Tracker:
    """Open the tracking store; one that is away now is told to the user in one line.

    Args:
        config: where to record.
        experiment: name of the experiment.
        folder: existing folder that keeps what the store misses.
        note: description of the experiment.
        views: prepared views of MLflow's UI.

    Raises:
        UserError: the store cannot be used as it is.
    """
    try:
        tracker = Tracker.open(
            config,
            experiment=experiment,
            primary_metric="test_accuracy",
            note=note,
            views=views,
            folder=folder,
        )
    except TrackingError as error:
        raise UserError(sentence(error)) from error
    if tracker.notice is not None:
        print(f"notice: {tracker.notice}", flush=True)
    return tracker


def run_record(
    run: Run, result: Result, tags: Mapping[str, Any], status: str | None = None
) -> dict[str, Any]:
    """Keyword arguments of `Tracker.log_run` for one training."""
    finals = {
        "val_accuracy": result.val_accuracy,
        "test_accuracy": result.test_accuracy,
        "test_loss": result.test_loss,
        **result.extra,
        **diagnostic_fields(result.diagnostics.get("summary", {})),
        "seconds": result.seconds,
    }
    epochs = result.diagnostics.get("steps", ())[1:]  # the first are the initial weights
    return {
        "params": {**arm_params(run.arm), **recipe_params(run), "seed": run.seed},
        "tags": {
            **tags,
            "arm": run.arm.label,
            "initializer": run.arm.initializer["name"],
            "seed": run.seed,
        },
        "history": [
            {name: value for name, value in epoch.items() if value is not None}
            | diagnostic_fields(epochs[index] if index < len(epochs) else {})
            for index, epoch in enumerate(result.history)
        ],
        "metrics": {name: value for name, value in finals.items() if value is not None},
        "status": status or result.status,
        "start_ms": milliseconds(result.started),
        "end_ms": milliseconds(result.started + result.seconds),
    }


def arm_params(arm: Arm) -> dict[str, Any]:
    """The initialiser's and the method's names and hyperparameters, as MLflow parameters."""
    own = dict(arm.initializer)
    return {"initializer": own.pop("name"), **own, **arm.method_fields()}


def recipe_params(run: Run) -> dict[str, Any]:
    """The run's recipe, as MLflow parameters."""
    return {
        field.name: value
        for field in dataclasses.fields(Recipe)
        if (value := getattr(run.effective_recipe, field.name)) is not None
    }


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, as MLflow counts time."""
    return int(1000 * seconds)


def sentence(error: TrackingError) -> str:
    """A tracking error as a sentence."""
    text = str(error).rstrip(".")
    return f"{text[0].upper()}{text[1:]}."
