"""Initialisers without a scaling rule: zeros, a constant, a fixed std, sparse rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.ternary_sampling import fill_rows


@dataclass(frozen=True)
class Zeros(Initializer):
    """All weights 0: nothing but the output bias of a ReLU network can learn.

    Formula:
        w = 0
    """

    stochastic: ClassVar[bool] = False
    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "simple"

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Set the weight to 0; see ``Initializer.fill``."""
        weight.zero_()

    def nominal_std(self, context: LayerContext) -> float:
        """Return 0."""
        return 0.0


@dataclass(frozen=True)
class Constant(Initializer):
    """All weights equal: the units of a layer stay identical for ever.

    Formula:
        w = value

    Args:
        value: The weight, any finite number.

    Raises:
        TypeError: If value is no number.
        ValueError: If it is not finite.
    """

    value: float = 0.1

    stochastic: ClassVar[bool] = False
    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "simple"

    def __post_init__(self) -> None:
        validate.number(self, "value", "(-inf, inf)")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Set the weight to the value; see ``Initializer.fill``."""
        weight.fill_(self.value)

    def nominal_std(self, context: LayerContext) -> float:
        """Return the root mean square ``|value|``."""
        return abs(self.value)


@dataclass(frozen=True)
class Random(Initializer):
    """N(0, std^2) for every layer, whatever its fans.

    Formula:
        w ~ N(0, std^2)

    Args:
        std: Standard deviation, in (0, inf).

    Raises:
        TypeError: If std is no number.
        ValueError: If it is outside its range.
    """

    std: float = 0.01

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "simple"

    def __post_init__(self) -> None:
        validate.number(self, "std", "(0, inf)")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        draws.fill_normal(weight, self.std, context.generator)

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``std``."""
        return self.std


@dataclass(frozen=True)
class SparseNormal(Initializer):
    """Exactly ``degree`` Gaussian incoming weights per unit, the others 0 (Martens 2010).

    ``torch.nn.init.sparse_`` zeroes a share of every *column*, so that units get unequal numbers
    of inputs; here every unit gets the same number.

    Formula:
        min(degree, inputs) weights of each unit ~ N(0, std^2), the others 0

    Args:
        degree: Non-zero incoming weights per unit, at least 1; all of them where a unit has fewer.
        std: Standard deviation of the non-zero weights, in (0, inf).

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    degree: int = 15
    std: float = 1.0

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "sparse"
    citation: ClassVar[str] = "Martens 2010, Deep learning via Hessian-free optimization"

    def __post_init__(self) -> None:
        validate.integer(self, "degree", "[1, inf)")
        validate.number(self, "std", "(0, inf)")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        if self.degree > context.columns:
            context.note(f"degree {self.degree} clipped to {context.columns} weights per unit")
        fill_rows(
            weight.flatten(1), min(self.degree, context.columns), "random", 1.0, context.generator
        )
        normal = torch.empty(draws.BLOCK, dtype=weight.dtype)
        for block in torch.split(weight.view(-1), draws.BLOCK):
            draws.fill_normal(normal, self.std, context.generator)
            block.mul_(normal[: len(block)])

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``std * sqrt(density)``."""
        return self.std * math.sqrt(min(1.0, self.degree / context.columns))
