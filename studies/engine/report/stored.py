"""A finished study as its output folder holds it: everything a report needs, without training."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.engine.compare import Comparisons, Outcome
from studies.engine.errors import UserError
from studies.engine.report.files import CURVES_FILE, RESULTS_FILE, RUNS_FILE

_NEEDED = ("study", "question", "answer", "recipe", "seeds", "arms", "comparisons", "margin")
_COLUMNS = ("stage", "arm", "family", "trial", "seed", "status", "val_accuracy", "test_accuracy")
_PARAMETERS = ("initializer.", "method.")
DIAGNOSTICS = "diagnostics."
PLACES = "at."


@dataclasses.dataclass(frozen=True)
class Trial:
    """A proposal of the search.

    Args:
        family: label of its family.
        number: position within the family, from 0.
        values: the hyperparameters that the family's search varied.
        accuracy: mean validation accuracy over its seeds, a fraction; 0.0 if it diverged.
        seeds: number of seeds trained.
        state: "complete", "pruned" (given up before its last seed) or "diverged".
    """

    family: str
    number: int
    values: Mapping[str, float]
    accuracy: float
    seeds: int
    state: str


@dataclasses.dataclass(frozen=True)
class StoredStudy:
    """A study read back from its output folder.

    Args:
        folder: the output folder.
        results: results.json.
        rows: runs.csv, a mapping of texts per training.
        comparisons: arms, comparisons and verdicts.
    """

    folder: Path
    results: Mapping[str, Any]
    rows: tuple[Mapping[str, str], ...]
    comparisons: Comparisons

    @property
    def title(self) -> str:
        """Name of the study for people."""
        return str(self.results.get("title") or self.results["study"]).replace("_", " ")

    @property
    def place(self) -> str:
        """Data set and network, in words."""
        recipe = self.results["recipe"]
        return f"{recipe['data']}, {recipe['network']}"

    @functools.cached_property
    def accuracies(self) -> Mapping[str, Mapping[int, float]]:
        """The outcome by arm and seed: test accuracy as a fraction, if no other."""
        found: dict[str, dict[int, float]] = {s.arm: {} for s in self.comparisons.arms}
        for row in self.confirmation:
            if row["arm"] in found:
                found[row["arm"]][int(row["seed"])] = float(row[self.comparisons.outcome.name])
        return found

    @property
    def confirmation(self) -> tuple[Mapping[str, str], ...]:
        """The trainings of the confirmation."""
        return tuple(row for row in self.rows if row["stage"] == "confirm")

    @functools.cached_property
    def trials(self) -> tuple[Trial, ...]:
        """The search's trials in the order of family and number."""
        groups: dict[tuple[str, int], list[Mapping[str, str]]] = {}
        for row in self.rows:
            if row["stage"] == "search":
                groups.setdefault((row["family"], int(row["trial"])), []).append(row)
        most = len(self.results.get("search_seeds", ())) or max(
            map(len, groups.values()), default=0
        )
        varied = {family: self._varied(family) for family, _ in groups}
        trials = []
        for (family, number), rows in groups.items():
            values = {_short(name): float(rows[0][name]) for name in varied[family]}
            accuracies = [float(row["val_accuracy"]) for row in rows]
            diverged = any(row["status"] == "diverged" for row in rows)
            accuracy = 0.0 if diverged else sum(accuracies) / len(accuracies)
            state = "diverged" if diverged else "pruned" if len(rows) < most else "complete"
            trials.append(Trial(family, number, values, accuracy, len(rows), state))
        order = list(dict.fromkeys(family for family, _ in groups))
        return tuple(sorted(trials, key=lambda t: (order.index(t.family), t.number)))

    @functools.cached_property
    def families(self) -> Mapping[str, tuple[Trial, ...]]:
        """The trials by family."""
        labels = dict.fromkeys(trial.family for trial in self.trials)
        return {label: tuple(t for t in self.trials if t.family == label) for label in labels}

    @functools.cached_property
    def curves(self) -> Mapping[str, tuple[Mapping[str, str], ...]]:
        """curves.csv: per run key its epochs; empty where a study left none.

        Raises:
            UserError: the file cannot be read as such a table.
        """
        path = self.folder / CURVES_FILE
        if not path.exists():
            return {}
        histories: dict[str, list[Mapping[str, str]]] = {}
        for row in _table(path, ("key", "epoch")):
            histories.setdefault(row["key"], []).append(row)
        return {key: tuple(rows) for key, rows in histories.items()}

    @functools.cached_property
    def also(self) -> tuple[Outcome, ...]:
        """Outcomes that are shown beside the one that is compared."""
        return tuple(Outcome.from_dict(each) for each in self.results.get("also", ()))

    def values(self, arm: str, column: str) -> list[float]:
        """A column of an arm's confirmation runs, where they have it."""
        return [
            float(row[column])
            for row in self.confirmation
            if row["arm"] == arm and row.get(column, "") != ""
        ]

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Columns of measurements at initialisation or in training; may be empty."""
        return tuple(name for name in self.rows[0] if name.startswith(DIAGNOSTICS))

    def _varied(self, family: str) -> list[str]:
        rows = [row for row in self.rows if row["stage"] == "search" and row["family"] == family]
        return [
            name
            for name in rows[0]
            if (name.startswith(_PARAMETERS) or name == "lr")
            and len({row[name] for row in rows}) > 1
            and all(_positive(row[name]) for row in rows)
        ]


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The trial that became the tuned arm: the best complete one, the earliest among equals."""
    complete = [trial for trial in trials if trial.state != "pruned"]
    return max(complete, key=lambda t: (t.accuracy, -t.number), default=None)


def load_study(folder: Path) -> StoredStudy:
    """Read a finished study from its output folder.

    Args:
        folder: an output folder with results.json and runs.csv, and curves.csv if it has one.

    Raises:
        UserError: it is no such folder, the study is not finished, or a file cannot be read; in
            one sentence each.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"{folder} {what}; give the output folder of a study, outputs/STUDY/DATA-NETWORK."
        )
    path = folder / RESULTS_FILE
    if not path.is_file():
        raise UserError(
            f"{folder} holds no finished study ({RESULTS_FILE} is missing); give a study's output "
            "folder, and let the study come to its end."
        )
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in _NEEDED if name not in results]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; run the study's command again.")
        comparisons = Comparisons.from_dict({"alpha": 0.05, **results})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is not a study's results ({error}); run the study's command again."
        ) from error
    rows = _table(folder / RUNS_FILE, _COLUMNS)
    study = StoredStudy(folder, results, rows, comparisons)
    _check(study)
    return study


def _check(study: StoredStudy) -> None:
    path = study.folder / RUNS_FILE
    for line, row in enumerate(study.rows, start=2):
        confirmed = row["stage"] == "confirm"
        name = study.comparisons.outcome.name if confirmed else "val_accuracy"
        if not _number(row.get(name, "")) or not row["seed"].isdigit():
            raise UserError(
                f"{path}, line {line}: seed {row['seed']!r} and {name} "
                f"{row.get(name, '')!r} must be numbers; run the study's command again."
            )
        if row["stage"] == "search" and not row["trial"].isdigit():
            raise UserError(
                f"{path}, line {line}: trial {row['trial']!r} must be a number; run the study's "
                "command again."
            )
    without = [arm for arm, seeds in study.accuracies.items() if len(seeds) < 2]
    if without:
        raise UserError(
            f"{path} has fewer than two confirmation runs of {', '.join(without)}, which "
            f"{RESULTS_FILE} compares; run the study's command again."
        )


def _table(path: Path, columns: Sequence[str]) -> tuple[Mapping[str, str], ...]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            rows = tuple(reader)
            names = reader.fieldnames or ()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run the study's command again.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is no table that can be read ({error}); run the study's command again."
        ) from error
    missing = [name for name in columns if name not in names]
    if missing or not rows:
        what = f"lacks the columns {', '.join(missing)}" if missing else "has no rows"
        raise UserError(f"{path} {what}; run the study's command again.")
    return rows


def _short(column: str) -> str:
    for prefix in _PARAMETERS:
        column = column.removeprefix(prefix)
    return column


def _number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _positive(text: str) -> bool:
    return _number(text) and float(text) > 0
