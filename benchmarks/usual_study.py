"""A finished study's trainings once more, the usual way and in one process.

    python -m studies.ternary_sparsity --output FOLDER
    python benchmarks/usual_study.py FOLDER/runs.csv [--limit 30] [--data-root FOLDER]

Every training in the table, of search and of confirmation, is done again by `usual_way.train_usual`
with the same initialiser and its seed, epochs, batch size and learning rate; the order of the
batches is the DataLoader's own. The search runs in Optuna's `study.optimize`, one study per family
on SQLite with the TPE sampler. Its trials are enqueued with the table's values and train the
table's seeds, so that the number of steps is the same; what the sampler would take to propose them
is left out, in this side's favour. The tests for pruning are left out likewise, and so is the
comparison of the arms at the end. Confirmation runs are tested by `Trainer.test`.

Seconds are wall time from the first line of the program, imports included, to the last figure.
"""

# ruff: noqa: E402  (the clock runs while modules are imported)

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse
import ast
import csv
import dataclasses
import functools
import importlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import optuna
import torch
from usual_data import steps_in
from usual_training import train_usual
from usual_way import quiet

from initializers import get_initializer
from studies.engine.run import Recipe


@dataclasses.dataclass(frozen=True)
class Training:
    """One line of the table.

    Args:
        study: name of the study.
        family: label of the tuned family; "" for a fixed arm.
        trial: number of the search trial; None in the confirmation.
        seed: seed of initialiser and batches.
        recipe: what to train, with the epochs that were trained.
        initializer: as plain data.
        val_accuracy, test_accuracy: the study's own figures, to compare with.
    """

    study: str
    family: str
    trial: int | None
    seed: int
    recipe: Recipe
    initializer: dict[str, Any]
    val_accuracy: float
    test_accuracy: float | None


def _value(text: str) -> Any:
    """A cell as a number or tuple where it is one, else as it stands."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_trainings(table: Path) -> list[Training]:
    """The trainings of a table `runs.csv`, each once: the search's by family, then the rest."""
    with table.open(newline="") as file:
        rows = list({row["key"]: row for row in csv.DictReader(file)}.values())
    fields = [field.name for field in dataclasses.fields(Recipe)]
    trainings = []
    for row in rows:
        options = {
            name.removeprefix("initializer."): _value(text)
            for name, text in row.items()
            if name.startswith("initializer.") and text
        }
        trainings.append(
            Training(
                row["study"],
                row["family"],
                int(row["trial"]) if row["stage"] == "search" else None,
                int(row["seed"]),
                Recipe(**{name: _value(row[name]) for name in fields if row.get(name)}),
                {"name": row["initializer"], **options},
                float(row["val_accuracy"]),
                float(row["test_accuracy"]) if row["test_accuracy"] else None,
            )
        )
    search = [training for training in trainings if training.trial is not None]
    search.sort(key=lambda training: (training.family, training.trial, training.seed))
    return search + [training for training in trainings if training.trial is None]


class UsualStudy:
    """Does trainings and keeps count.

    Args:
        folder: for the SQLite files.
        max_fan_in: the network's largest fan_in, which bounds a density from below.
        data_root: folder of the data files.
    """

    def __init__(self, folder: Path, max_fan_in: int, data_root: str | None) -> None:
        self.folder, self.max_fan_in, self.data_root = folder, max_fan_in, data_root
        self.ends: list[float] = []
        self.steps: list[int] = []
        self.differences: list[float] = []

    def train(self, training: Training) -> float:
        """Do one training; returns its validation accuracy."""
        initializer = get_initializer(training.initializer)
        result = train_usual(
            training.recipe,
            functools.partial(initializer, seed=training.seed),
            training.seed,
            tracking_uri=f"sqlite:///{self.folder / 'mlflow.db'}",
            data_root=self.data_root,
            test=training.trial is None,
        )
        self.ends.append(time.perf_counter() - STARTED)
        self.steps.append(steps_in(training.recipe, self.data_root))
        if result.test_accuracy is not None and training.test_accuracy is not None:
            self.differences.append(result.test_accuracy - training.test_accuracy)
        else:
            self.differences.append(result.val_accuracy - training.val_accuracy)
        return result.val_accuracy

    def search(self, family: str, trainings: list[Training]) -> None:
        """The search of one family in an Optuna study of its own."""
        module = importlib.import_module(f"studies.{trainings[0].study}")
        space = next(each.space for each in module.STUDY.families if each.label == family)
        trials: dict[Any, list[Training]] = {}
        for training in trainings:
            trials.setdefault(training.trial, []).append(training)
        plan = list(trials.values())
        study = optuna.create_study(
            study_name=family,
            storage=f"sqlite:///{self.folder / 'optuna.db'}",
            sampler=optuna.samplers.TPESampler(seed=0),
            direction="maximize",
        )
        for runs in plan:
            study.enqueue_trial({each.name: runs[0].initializer[each.name] for each in space})

        def objective(trial: optuna.Trial) -> float:
            for each in space:
                trial.suggest_float(each.name, *each.bounds(self.max_fan_in), log=True)
            accuracies = []
            for step, training in enumerate(plan[trial.number]):
                accuracies.append(self.train(training))
                trial.report(accuracies[-1], step)
            return statistics.fmean(accuracies)

        study.optimize(objective, n_trials=len(plan))


def main() -> None:
    """Do the trainings of the table and print what they took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="runs.csv of a finished study")
    parser.add_argument("--limit", type=int, help="do only the first so many trainings (2 or more)")
    parser.add_argument("--data-root", help="folder of the data files")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 2:
        parser.error("--limit must be 2 or more: the first training also creates the stores")
    torch.set_num_threads(1)
    quiet()
    everything = read_trainings(options.table)
    facts = json.loads(options.table.with_name("results.json").read_text())["facts"]
    chosen = everything[: options.limit]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        usual = UsualStudy(Path(folder), facts["max_fan_in"], options.data_root)
        search = [training for training in chosen if training.trial is not None]
        for family in dict.fromkeys(training.family for training in search):
            usual.search(family, [each for each in search if each.family == family])
        for training in chosen:
            if training.trial is None:
                usual.train(training)
        seconds = time.perf_counter() - STARTED
    report(everything, usual, seconds)


def report(everything: list[Training], usual: UsualStudy, seconds: float) -> None:
    """Print the figures; those of the whole plan are extrapolated if it was cut short."""
    done, steps = len(usual.ends), sum(usual.steps)
    total_steps = sum(steps_in(each.recipe, usual.data_root) for each in everything)
    first = usual.ends[0]
    rate = (steps - usual.steps[0]) / (seconds - first)
    difference = 100 * statistics.fmean(usual.differences)
    print(f"{done} of {len(everything)} trainings, {steps} of {total_steps} steps: {seconds:.1f} s")
    print(f"{first:.1f} s until the end of the first training, then {rate:.0f} steps/s")
    print(f"accuracy minus the study's own, mean: {difference:+.2f} percentage points")
    if done < len(everything):
        seconds = first + (total_steps - usual.steps[0]) / rate
        print(f"EXTRAPOLATED from {done} trainings to all {len(everything)}:")
    print(
        f"total {seconds:.1f} s, {len(everything)} trainings, {total_steps} steps, "
        f"{total_steps / seconds:.0f} steps/s"
    )


if __name__ == "__main__":
    main()
