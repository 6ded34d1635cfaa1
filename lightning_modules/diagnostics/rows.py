"""What a measurement leaves: one long table, and a list of what could not be measured."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        layer: qualified name of the layer (``fc1``, its second call ``fc1#2``, a function called
            by a module ``block.relu()``, a parameter ``fc1.weight``); empty for a number that
            belongs to the whole network.
        kind: ``weight``, ``norm``, ``activation``, ``other`` (see `Site`), ``block``,
            ``parameter`` or ``network``.
        position: place in the order of execution (of registration for parameters), from 0.
        statistic: what was measured, such as ``second_moment``.
        value: the number, possibly not finite.
        index: number within one layer and statistic, for lists such as singular values.
        step: optimiser steps or epochs taken before, as the caller counts.
        seed: seed of the weights.
    """

    layer: str
    kind: str
    position: int
    statistic: str
    value: float
    index: int = 0
    step: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Gap:
    """Something that could not be measured: the layer (or empty), the statistic and why."""

    layer: str
    statistic: str
    reason: str

    def __str__(self) -> str:
        """Return one sentence."""
        where = f" of {self.layer}" if self.layer else ""
        return f"{self.statistic}{where} is not measured: {self.reason}."


@dataclass(frozen=True)
class Diagnosis:
    """Rows and gaps of one or more measurements.

    Attributes:
        rows: the numbers.
        gaps: what could not be measured.
    """

    rows: tuple[Row, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def __add__(self, other: Diagnosis) -> Diagnosis:
        """Both together, gaps without repetition."""
        gaps = tuple(dict.fromkeys((*self.gaps, *other.gaps)))
        return Diagnosis((*self.rows, *other.rows), gaps)

    def at(self, *, step: int = 0, seed: int = 0) -> Diagnosis:
        """The same rows with another step and seed."""
        rows = tuple(dataclasses.replace(row, step=step, seed=seed) for row in self.rows)
        return Diagnosis(rows, self.gaps)

    def values(self, statistic: str, kind: str | None = None) -> dict[str, float]:
        """Numbers of one statistic by layer, in the order of the rows; of a list the first."""
        found: dict[str, float] = {}
        for row in self.rows:
            if row.statistic == statistic and (kind is None or row.kind == kind):
                found.setdefault(row.layer, row.value)
        return found

    def only(self, statistic: str) -> float:
        """The value of a statistic that was measured once.

        Raises:
            KeyError: it was not measured, or more than once.
        """
        found = [row.value for row in self.rows if row.statistic == statistic]
        if len(found) != 1:
            raise KeyError(f"{statistic!r} was measured {len(found)} times.")
        return found[0]


def write_csv(
    path: str | Path, tables: Iterable[tuple[str, Iterable[Row]]], label: str = "initializer"
) -> None:
    """Write rows as CSV, one number a line, numbers to all their digits.

    Args:
        path: the file; an existing one is replaced.
        tables: pairs of a label (the initialiser) and rows.
        label: name of the first column.
    """
    names = [field.name for field in dataclasses.fields(Row)]
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([label, *names])
        for text, rows in tables:
            for row in rows:
                writer.writerow([text, *(getattr(row, name) for name in names)])


def finite(value: float) -> float | None:
    """The number, or None for one that JSON cannot hold."""
    return value if math.isfinite(value) else None
