"""Which cheap quantity at initialisation predicts the outcome? Asked of the runs of a study."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies.engine.errors import UserError

Floats = NDArray[np.float64]
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


def spearman(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation, equal values with mean ranks; NaN for a constant."""
    return float(_correlations(x, y, np.ones((1, len(x))))[0])


def _interval(groups: Sequence[Floats], confidence: float, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    count = len(groups)
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES)
    weights = np.repeat(drawn, [len(group) for group in groups], axis=1).astype(float)
    pairs = np.concatenate(groups)
    values = _correlations(pairs[:, 0], pairs[:, 1], weights)
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def _correlations(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Rank correlations (b,) of resamples that hold each pair as often as its weight (b, n)."""
    middle = (weights.sum(1, keepdims=True) + 1.0) / 2.0
    one, two = _ranks(x, weights) - middle, _ranks(y, weights) - middle
    with np.errstate(invalid="ignore"):  # 0 / 0 of a constant is NaN
        scale = np.sqrt((weights * one**2).sum(1) * (weights * two**2).sum(1))
        found: Floats = (weights * one * two).sum(1) / scale
    return found


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Mean ranks (b, n) of values (n,) that occur as often as their weights (b, n)."""
    unique, inverse = np.unique(values, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(len(unique)))
    mass = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Floats = (np.cumsum(mass, axis=1) - mass + (mass + 1.0) / 2.0)[:, inverse]
    return ranks


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
