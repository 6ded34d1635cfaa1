"""Variance scaling: a law with standard deviation ``scale * gain / sqrt(fan)``.

The one core of Glorot, He and LeCun initialisation (Glorot and Bengio 2010; He et al. 2015; LeCun
et al. 1998); the presets are in ``initializers.classical``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.fans import MODES
from initializers.gains import check_gain, gain_value
from initializers.ternary_sampling import count_positive, fill_exact

DISTRIBUTIONS: tuple[str, ...] = ("normal", "truncated_normal", "uniform", "constant_sign")


class Rule(NamedTuple):
    """The numbers behind a variance-scaling method.

    Attributes:
        scale: Multiplier of the standard deviation.
        gain: Gain as a number.
        mode: Which fan.
        distribution: Which law.
    """

    scale: float
    gain: float
    mode: str
    distribution: str


@dataclass(frozen=True)
class ScaledInitializer(Initializer):
    """Common part of all variance-scaling methods; a subclass states its ``rule``."""

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "variance scaling"

    @abstractmethod
    def rule(self) -> Rule:
        """Return the numbers of this method."""

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        fill_scaled(weight, self.rule().distribution, self.nominal_std(context), context.generator)

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``scale * gain / sqrt(fan)``."""
        rule = self.rule()
        return rule.scale * rule.gain / math.sqrt(context.fans.of(rule.mode))

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan of the mode, and the gain."""
        rule = self.rule()
        return context.fans.of(rule.mode), rule.gain


@dataclass(frozen=True)
class VarianceScaling(ScaledInitializer):
    """Any law, fan and gain: standard deviation ``scale * gain / sqrt(fan)``.

    Formula:
        E w = 0,  Var w = (scale * gain)^2 / fan

    Args:
        scale: Multiplier of the standard deviation, in (0, inf); the same meaning as in
            ``Ternary`` (Keras multiplies the variance instead).
        gain: Positive number or the name of a nonlinearity (see ``gain_value``).
        mode: ``fan_in``, ``fan_out``, ``fan_avg`` or ``fan_geo``.
        distribution: ``normal``, ``truncated_normal`` (cut off at two sigmas and rescaled, as in
            Keras), ``uniform``, or ``constant_sign`` (one magnitude; half of the signs positive).
        convention: ``torch`` or ``moment`` gains.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    scale: float = 1.0
    gain: float | str = "linear"
    mode: str = "fan_in"
    distribution: str = "normal"
    convention: str = "torch"

    citation: ClassVar[str] = "Glorot, Bengio 2010; He et al. 2015; LeCun et al. 1998"

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")
        validate.choice(self, "mode", MODES)
        validate.choice(self, "distribution", DISTRIBUTIONS)
        check_gain(self)

    def rule(self) -> Rule:
        """Return the numbers of this method."""
        return Rule(
            self.scale, gain_value(self.gain, self.convention), self.mode, self.distribution
        )


def fill_scaled(weight: Tensor, distribution: str, std: float, generator: torch.Generator) -> None:
    """Fill with a law of mean 0 and the given standard deviation.

    Args:
        weight: Contiguous float32 or float64 CPU tensor.
        distribution: One of ``DISTRIBUTIONS``.
        std: Standard deviation.
        generator: CPU generator.
    """
    if distribution == "normal":
        draws.fill_normal(weight, std, generator)
    elif distribution == "uniform":
        draws.fill_uniform(weight, std, generator)
    elif distribution == "truncated_normal":
        draws.fill_truncated_normal(weight, std, generator)
    else:
        count = weight.numel()
        fill_exact(weight, count, count_positive(count, "balanced", generator), std, generator)
