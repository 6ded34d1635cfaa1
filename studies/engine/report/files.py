"""Results as files: a tidy table of runs, everything as JSON, the verdict table as text."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.engine.run import Result, Run, diagnostic_fields

Row = dict[str, Any]


def run_row(run: Run, result: Result, *, study: str, stage: str, trial: int | None = None) -> Row:
    """One line of the tidy table.

    Accuracies are fractions; train_* and val_* are of the last epoch. Hyperparameters of the
    initialiser stand in columns "initializer.<name>", of a training method in "method.<name>".
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
    }


def write_results(
    folder: Path, rows: Sequence[Row], results: Mapping[str, Any], table: str
) -> tuple[Path, ...]:
    """Write runs.csv, results.json and table.txt, each in one step; returns their paths."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    paths = (folder / "runs.csv", folder / "results.json", folder / "table.txt")
    texts = ("", json.dumps(results, indent=1) + "\n", table + "\n")
    for path, text in zip(paths, texts, strict=True):
        # Several processes may end one study at the same moment.
        temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}.part")
        with temporary.open("w", newline="") as file:
            if path.suffix == ".csv":
                writer = csv.DictWriter(file, columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
            else:
                file.write(text)
        temporary.replace(path)
    return paths
