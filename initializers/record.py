"""What an initialiser reports: one row per weight, and everything that it left alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from initializers.texttable import text_table

_BLOCK = 2**16  # values measured at a time: their squares in float64 stay in the cache


@dataclass(frozen=True)
class LayerRecord:
    """One weight after initialisation.

    Attributes:
        name: Qualified name of the parameter.
        type: Class name of its layer.
        shape: ``(output units, inputs of a unit...)``.
        fan_in: Weighted inputs per output value.
        fan_out: Output values per input value.
        nominal_std: Standard deviation that the method aims at; None where it has none.
        std: Realised root mean square (about 0, the mean of all our laws).
        zero_fraction: Share of weights that are exactly 0.
        empty_rows: Output units (tokens of an embedding) without any non-zero weight.
        kurtosis: ``E[w^4] / E[w^2]^2`` (3 for a Gaussian); None if all weights are 0.
        effective_gain: ``sqrt(fan * mean(w^2)) / gain`` with the method's own fan and gain; 1 is
            variance preservation, and the scale multiplier if it was met exactly.
        note: Anything out of the ordinary (clipping, forced sampling, shared parameters).
    """

    name: str
    type: str
    shape: tuple[int, ...]
    fan_in: float
    fan_out: float
    nominal_std: float | None
    std: float
    zero_fraction: float
    empty_rows: int
    kurtosis: float | None
    effective_gain: float
    note: str = ""


@dataclass(frozen=True)
class Skipped:
    """A parameter that was left alone: qualified name, shape and reason."""

    name: str
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class InitRecord:
    """What one call of an initialiser did; every parameter of the module is in one of the lists.

    Attributes:
        initializer: The initialiser as plain data; its ``repr`` under ``"name"`` where it cannot
            be serialised.
        seed: Base seed of the random streams.
        layers: The weights.
        biases: Names of the biases that were set.
        norms: Names of the affine parameters of norm layers that were set to identity.
        skipped: The parameters that were left alone.
    """

    initializer: dict[str, Any]
    seed: int
    layers: tuple[LayerRecord, ...]
    biases: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data: dicts, lists, text and numbers, fit for JSON."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain

    def rows(self) -> list[tuple[str, ...]]:
        """Return the weights as rows of text, the head first; the note is the last cell."""
        head = ("layer", "shape", "fan in", "fan out", "std", "zeros", "empty", "gain", "note")
        rows: list[tuple[str, ...]] = [head]
        rows += [
            (
                layer.name,
                "x".join(map(str, layer.shape)),
                f"{layer.fan_in:g}",
                f"{layer.fan_out:g}",
                f"{layer.std:.4g}",
                f"{layer.zero_fraction:.2%}",
                str(layer.empty_rows),
                f"{layer.effective_gain:.3f}",
                layer.note,
            )
            for layer in self.layers
        ]
        return rows

    def __str__(self) -> str:
        """Return the record as a short text table."""
        skipped = [f"skipped {skip.name}: {skip.reason}" for skip in self.skipped]
        return "\n".join([text_table(self.rows()), *skipped])


@dataclass(frozen=True)
class Measures:
    """Realised root mean square, zero count, empty rows and kurtosis of one weight."""

    std: float
    zeros: int
    empty_rows: int
    kurtosis: float | None


def measure(weight: Tensor) -> Measures:
    """Measure a weight of shape ``(units, inputs...)`` in float64, block by block.

    Args:
        weight: Floating-point tensor with at least one value.
    """
    matrix = weight.flatten(1)
    step = max(1, _BLOCK // matrix.shape[1])
    buffer = torch.empty(step, matrix.shape[1], dtype=torch.float64)
    filled = rows = 0
    second = fourth = 0.0
    for block in torch.split(matrix, step):
        squares = buffer[: len(block)].copy_(block).square_()
        second += float(squares.sum())
        fourth += float(squares.view(-1).dot(squares.view(-1)))
        counts = squares.sign_().sum(1)  # far faster than count_nonzero, which branches
        filled += int(counts.sum())
        rows += int(counts.count_nonzero())
    count = matrix.numel()
    kurtosis = count * fourth / second**2 if second**2 > 0.0 else None
    return Measures(math.sqrt(second / count), count - filled, len(matrix) - rows, kurtosis)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
