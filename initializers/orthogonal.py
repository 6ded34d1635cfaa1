"""Orthogonal initialisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.gains import check_gain, gain_value


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """Semi-orthogonal matrices, uniformly distributed (Saxe et al. 2013).

    The weight as a matrix (units, inputs of a unit) has orthogonal rows if it is wide and
    orthogonal columns if it is tall, each of norm ``scale * gain``. A kernel is flattened to
    (C_out, C_in * taps); the groups of a convolution are orthogonalised one by one. Computed in
    float64 as the QR factor of a Gaussian matrix with the signs of R's diagonal moved into Q.

    Formula:
        G = Q R,  G_ij ~ N(0, 1);  W = scale * gain * Q * sign(diag R)

    Args:
        scale: Multiplier, in (0, inf).
        gain: Positive number or the name of a nonlinearity (see ``gain_value``).
        convention: ``torch`` or ``moment`` gains.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    scale: float = 1.0
    gain: float | str = "linear"
    convention: str = "torch"

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "orthogonal"
    citation: ClassVar[str] = (
        "Saxe et al. 2013, Exact solutions to the nonlinear dynamics of learning"
    )

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")
        check_gain(self)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        factor = self.scale * gain_value(self.gain, self.convention)
        for group in weight.flatten(1).chunk(context.groups):
            group.copy_(_orthogonal(len(group), context.columns, context.generator).mul_(factor))

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``scale * gain / sqrt(max(rows, columns))``, met exactly."""
        fan, gain = self.reference(context)
        return self.scale * gain / math.sqrt(fan)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the longer side of the (group's) matrix, and the gain."""
        rows = context.rows // context.groups
        return float(max(rows, context.columns)), gain_value(self.gain, self.convention)


def _orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    tall = torch.empty(max(rows, columns), min(rows, columns), dtype=torch.float64)
    draws.fill_normal(tall, 1.0, generator)
    factors = torch.linalg.qr(tall)
    signs = torch.where(factors.R.diagonal() < 0, -1.0, 1.0)
    q: Tensor = factors.Q * signs  # with these signs the law is uniform (Haar)
    return q if rows >= columns else q.T
