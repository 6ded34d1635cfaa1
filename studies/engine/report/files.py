"""Results as files: tidy tables of runs and epochs, everything as JSON, the verdicts as text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.engine.run import Result, Run, diagnostic_fields

Row = dict[str, Any]

HISTORY = "history"
RUNS_FILE = "runs.csv"
CURVES_FILE = "curves.csv"
RESULTS_FILE = "results.json"
TABLE_FILE = "table.txt"


def run_row(run: Run, result: Result, *, study: str, stage: str, trial: int | None = None) -> Row:
    """One line of the tidy table.

    Accuracies are fractions; train_* and val_* are of the last epoch. Hyperparameters of the
    initialiser stand in columns "initializer.<name>", of a training method in "method.<name>",
    places on the axes of a study in "at.<name>". The history stands under "history", which
    `write_results` puts into a file of its own.
    """
    recipe = run.effective_recipe
    last = result.history[-1]
    initializer = dict(run.arm.initializer)
    return {
        "study": study,
        "stage": stage,
        "arm": run.arm.label,
        "family": run.arm.family,
        "trial": "" if trial is None else trial,
        "seed": run.seed,
        "status": result.status,
        "initializer": initializer.pop("name"),
        **{f"initializer.{name}": value for name, value in initializer.items()},
        **run.arm.method_fields(),
        **{f"at.{name}": value for name, value in run.arm.at.items()},
        **{
            field.name: value
            for field in dataclasses.fields(recipe)
            if (value := getattr(recipe, field.name)) is not None and field.name != "epochs"
        },
        "epochs": len(result.history),
        "train_loss": last["train_loss"],
        "train_accuracy": last["train_accuracy"],
        "val_loss": last.get("val_loss"),
        "val_accuracy": result.val_accuracy,
        "test_loss": result.test_loss,
        "test_accuracy": result.test_accuracy,
        **result.extra,
        **diagnostic_fields(result.diagnostics.get("summary", {})),
        "seconds": round(result.seconds, 4),
        "key": result.key,
        HISTORY: result.history,
    }


def write_results(
    folder: Path, rows: Sequence[Row], results: Mapping[str, Any], table: str
) -> tuple[Path, ...]:
    """Write runs.csv, curves.csv, results.json and table.txt, each in one step.

    Args:
        folder: the study's output folder.
        rows: what `run_row` made of every training.
        results: the study as plain data.
        table: the verdict table as text.

    Returns:
        The paths. curves.csv has a row per run and epoch, found by the run's key; its numbers have
        six significant digits, and a non-finite one is left empty.
    """
    finals = [{name: row[name] for name in row if name != HISTORY} for row in rows]
    texts = {
        RUNS_FILE: _csv(finals),
        CURVES_FILE: _csv(_curves(rows), ("key", "epoch")),
        RESULTS_FILE: json.dumps(results, indent=1) + "\n",
        TABLE_FILE: table + "\n",
    }
    return tuple(write_text(folder / name, text) for name, text in texts.items())


def write_text(path: Path, text: str) -> Path:
    """Write a file in one step, so that nobody reads half of it; returns its path."""
    # Several processes may end one study at the same moment.
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}.part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
    return path


def _curves(rows: Sequence[Row]) -> list[Row]:
    """One row per run and epoch; a run that stands for two arms comes once."""
    histories = {row["key"]: row[HISTORY] for row in rows if HISTORY in row}
    return [
        {"key": key, "epoch": epoch, **{name: _short(value) for name, value in figures.items()}}
        for key, history in histories.items()
        for epoch, figures in enumerate(history, start=1)
    ]


def _short(value: float | None) -> str:
    return f"{value:.6g}" if value is not None and math.isfinite(value) else ""


def _csv(rows: Sequence[Row], first: Sequence[str] = ()) -> str:
    columns = dict.fromkeys([*first, *(name for row in rows for name in row)])
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
