"""Which cheap quantity at initialisation predicts the outcome? Asked of the runs of a study."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from studies.engine.errors import UserError

PREFIX = "diagnostics."
RESAMPLES = 2000
_FEWEST_ARMS = 3


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one diagnostic goes with accuracy.

    Attributes:
        name: the diagnostic.
        correlation: Spearman's rank correlation over runs.
        low: lower end of its interval.
        high: upper end.
        runs: number of runs.
        arms: number of different arms or trials among them.
        values: the diagnostic, by run.
        accuracies: validation accuracies, by run.
    """

    name: str
    correlation: float
    low: float
    high: float
    runs: int
    arms: int
    values: tuple[float, ...]
    accuracies: tuple[float, ...]


def read_runs(path: str | Path) -> list[dict[str, str]]:
    """Rows of a study's runs.csv.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        UserError: there is none, or it holds no diagnostics.
    """
    file = Path(path) / "runs.csv" if Path(path).is_dir() else Path(path)
    try:
        with file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--runs {file} cannot be read ({reason}).") from error
    names = rows[0] if rows else {}
    if "val_accuracy" not in names or not any(name.startswith(PREFIX) for name in names):
        raise UserError(
            f"{file} has no columns val_accuracy and {PREFIX}*: it must be the runs.csv of a study "
            "that was not run with --diagnostics off."
        )
    return rows


def outcomes(
    rows: Sequence[Mapping[str, str]], *, confidence: float = 0.95, seed: int = 0
) -> list[Outcome]:
    """Rank correlations of every diagnostic with the validation accuracy, the strongest first.

    Runs of one arm or trial differ in their seed only, so they are no independent evidence: the
    interval is a percentile bootstrap that draws whole arms (Spearman 1904; cluster bootstrap as in
    Davison and Hinkley 1997, section 3.8). Validation accuracy, because every run has it. Runs
    without the diagnostic are left out; a diagnostic that is constant, or that fewer than three
    arms have, is not listed.

    Args:
        rows: lines of runs.csv.
        confidence: of the intervals.
        seed: seed of the bootstrap.
    """
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(PREFIX))
    found = []
    for name in names:
        arms: dict[tuple[str, ...], list[tuple[float, float]]] = {}
        for row in rows:
            value, accuracy = _number(row.get(name)), _number(row.get("val_accuracy"))
            if value is not None and accuracy is not None:
                arm = tuple(row.get(key) or "" for key in ("stage", "arm", "trial"))
                arms.setdefault(arm, []).append((value, accuracy))
        groups = [np.array(pairs) for pairs in arms.values()]
        if len(groups) < _FEWEST_ARMS:
            continue
        pairs = np.concatenate(groups)
        correlation = spearman(pairs[:, 0], pairs[:, 1])
        if math.isnan(correlation):
            continue
        low, high = _interval(groups, confidence, seed)
        found.append(
            Outcome(
                name.removeprefix(PREFIX), correlation, low, high, len(pairs), len(groups),
                tuple(pairs[:, 0].tolist()), tuple(pairs[:, 1].tolist()),
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: -abs(one.correlation))


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, equal values with mean ranks; NaN for a constant."""
    ranks = rankdata(x) - (len(x) + 1) / 2, rankdata(y) - (len(y) + 1) / 2
    norm = math.sqrt(float(ranks[0] @ ranks[0]) * float(ranks[1] @ ranks[1]))
    return float(ranks[0] @ ranks[1]) / norm if norm > 0.0 else math.nan


def _interval(
    groups: Sequence[NDArray[np.float64]], confidence: float, seed: int
) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    values = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        drawn = rng.integers(len(groups), size=len(groups))
        pairs = np.concatenate([groups[each] for each in drawn])
        values[index] = spearman(pairs[:, 0], pairs[:, 1])
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
