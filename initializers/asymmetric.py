"""Kernels with unequal numbers of positive and negative weights.

The fixed weights of Ivan & Florian, "Training highly effective connectivities within neural
networks with randomly initialized, fixed weights" (arXiv 2006.16627): sign asymmetry with one
magnitude. The log-normal magnitudes are our own addition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.fans import MODES
from initializers.gains import check_gain, gain_value


@dataclass(frozen=True)
class AsymmetricBinary(Initializer):
    """Weights +1 with probability ``positive``, else -1, for every layer (``binary`` of the paper).

    The signal grows by ``sqrt(fan_in / 2)`` per ReLU layer; the method that trains the connections
    of such a network scales its kernels or its input (see ``lightning_modules.methods``).

    Formula:
        w in {-1, +1},  P(w = +1) = positive

    Args:
        positive: Probability of +1, in [0, 1]; the paper's default is 1/2.

    Raises:
        TypeError: If positive is no number.
        ValueError: If it is outside its range.
    """

    family: ClassVar[str] = "trained connectivity"
    citation: ClassVar[str] = "Ivan, Florian 2020"

    positive: float = 0.5

    def __post_init__(self) -> None:
        validate.number(self, "positive", "[0, 1]")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the signs; see ``Initializer.fill``."""
        fill_signs(weight, self.positive, context.generator)
        weight.mul_(self.nominal_std(context))

    def nominal_std(self, context: LayerContext) -> float:
        """Return the magnitude 1."""
        return 1.0


@dataclass(frozen=True)
class AsymmetricConstant(AsymmetricBinary):
    """``+-gain / sqrt(fan)``, positive with probability ``positive`` (``heconstant`` of the paper).

    Formula:
        w in {-s, +s},  P(w = +s) = positive,  s = scale * gain / sqrt(fan)

    Args:
        positive: Probability of a positive weight, in [0, 1].
        scale: Multiplier of the magnitude, in (0, inf).
        gain: Positive number or the name of a nonlinearity (see ``gain_value``).
        mode: ``fan_in``, ``fan_out``, ``fan_avg`` or ``fan_geo``.
        convention: ``torch`` or ``moment`` gains.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    scale: float = 1.0
    gain: float | str = "relu"
    mode: str = "fan_in"
    convention: str = "torch"

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "scale", "(0, inf)")
        validate.choice(self, "mode", MODES)
        check_gain(self)

    def nominal_std(self, context: LayerContext) -> float:
        """Return the root mean square ``scale * gain / sqrt(fan)``."""
        fan, gain = self.reference(context)
        return self.scale * gain / math.sqrt(fan)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan of the mode, and the gain."""
        return context.fans.of(self.mode), gain_value(self.gain, self.convention)


@dataclass(frozen=True)
class AsymmetricLogNormal(AsymmetricConstant):
    """Log-normal magnitudes with signs as in ``AsymmetricConstant``; our own addition.

    The magnitude is ``std * exp(sigma Z - sigma^2)`` with Z ~ N(0, 1): its root mean square is
    ``std = scale * gain / sqrt(fan)`` for every sigma, and sigma = 0 is ``AsymmetricConstant``.

    Formula:
        |w| = s exp(sigma z - sigma^2),  z ~ N(0, 1),  P(w > 0) = positive

    Args:
        positive, scale, gain, mode, convention: See ``AsymmetricConstant``.
        sigma: Standard deviation of the magnitude's logarithm, in [0, inf).

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    citation: ClassVar[str] = "our own addition to Ivan, Florian 2020"

    sigma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "sigma", "[0, inf)")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw signs and magnitudes; see ``Initializer.fill``."""
        super().fill(weight, context)
        magnitude = torch.empty_like(weight)
        draws.fill_normal(magnitude, self.sigma, context.generator)
        weight.mul_(magnitude.sub_(self.sigma**2).exp_())


def fill_signs(weight: Tensor, positive: float, generator: torch.Generator) -> None:
    """Fill with +1 with probability ``positive``, else -1, independently.

    Args:
        weight: Contiguous float32 or float64 CPU tensor.
        positive: Probability of +1.
        generator: CPU generator.
    """
    for block in torch.split(weight.view(-1), draws.BLOCK):
        below = torch.rand(len(block), generator=generator) < positive
        block.copy_(below).mul_(2.0).sub_(1.0)
