"""Means of stochastic binary weights, for ``lightning_modules.methods.BinarySurrogate``.

A weight is +1 or -1; its mean M in (-1, 1) is what is set here. Stamatescu et al. 2020, "Critical
initialisation in continuous approximations of binary neural networks" (arXiv 1902.00177): what
decides whether deep networks train is ``sigma_m^2 = E M^2``, and the means should start close to
+-1. In the 1/sqrt(N) parametrisation of that method no fan enters here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from initializers import draws, validate
from initializers.asymmetric import fill_signs
from initializers.base import Initializer
from initializers.context import LayerContext

_SIX = 6.0  # depth scales to which a network is trainable (Schoenholz et al. 2017)


@dataclass(frozen=True)
class TwoPointMeans(Initializer):
    """Means ``+-sqrt(variance)`` with random signs: E M^2 is met exactly.

    Formula:
        M = +-sqrt(variance), each with probability 1/2

    Args:
        variance: sigma_m^2 in (0, 1].
        bias_variance: sigma_b^2 in [0, inf): biases are N(0, sigma_b^2); 0 sets them to 0.

    Raises:
        TypeError: If a value is no number.
        ValueError: If a value is outside its range.
    """

    family: ClassVar[str] = "binary means"
    citation: ClassVar[str] = "Stamatescu et al. 2020"

    variance: float = 0.99
    bias_variance: float = 0.0

    def __post_init__(self) -> None:
        validate.number(self, "variance", "(0, 1]")
        validate.number(self, "bias_variance", "[0, inf)")

    @classmethod
    def critical(cls, slope: float = 1.0, depth: int | None = None) -> Self:
        """Return the means at the critical point of neurons with the given slope at 0.

        Without biases chi = sigma_m^2 slope^2, which is 1 at sigma_m^2 = 1/slope^2 (derived; see
        ``theory.binary_surrogate``). At slope 1 that is |M| = 1, where the
        gradient of M = tanh(theta) vanishes; with a depth the means stay as far from +-1 as that
        depth allows: six depth scales xi = -1/ln(chi) cover it, sigma_m^2 = exp(-6/depth)/slope^2.

        Formula:
            M = +-exp(-3 / depth) / slope

        Args:
            slope: phi'(0), at least 1; sign neurons (0.798) have no critical point.
            depth: Number of layers, at least 1; None takes the critical point itself.

        Raises:
            ValueError: If the slope is below 1 or the depth below 1.
        """
        if not (isinstance(slope, int | float) and 1.0 <= slope < math.inf):
            raise ValueError(
                f"critical_means: slope must be a number in [1, inf), got {slope!r}: neurons of a "
                "smaller slope have no critical point."
            )
        if depth is not None and not (isinstance(depth, int) and depth >= 1):
            raise ValueError(f"critical_means: depth must be an integer >= 1, got {depth!r}.")
        return cls(variance=(1.0 if depth is None else math.exp(-_SIX / depth)) / slope**2)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the signs; see ``Initializer.fill``."""
        fill_signs(weight, 0.5, context.generator)
        weight.mul_(math.sqrt(self.variance))

    def fill_bias(self, bias: Tensor, context: LayerContext) -> None:
        """Draw the bias; see ``Initializer.fill_bias``."""
        if self.bias_variance == 0.0:
            bias.zero_()
            return
        draws.fill_normal(bias, math.sqrt(self.bias_variance), context.generator)

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``sqrt(variance)``."""
        return math.sqrt(self.variance)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return fan 1 and gain 1: the effective gain is the root mean square of the means."""
        return 1.0, 1.0


@dataclass(frozen=True)
class BetaMeans(TwoPointMeans):
    """Means ``M = 2 Beta(a, a) - 1`` with ``a = (1/variance - 1) / 2``, so that E M^2 = variance.

    A small ``a`` puts the means near +-1; variance 1/3 is the uniform law on (-1, 1).

    Formula:
        M = 2 B - 1,  B ~ Beta(a, a),  a = (1 / variance - 1) / 2

    Args:
        variance: sigma_m^2 in (0, 1).
        bias_variance: sigma_b^2 in [0, inf).

    Raises:
        TypeError: If a value is no number.
        ValueError: If a value is outside its range.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "variance", "(0, 1)")

    @classmethod
    def uniform(cls) -> Self:
        """Return the uniform law on (-1, 1), sigma_m^2 = 1/3.

        Formula:
            M ~ U(-1, 1)
        """
        return cls(variance=1.0 / 3.0)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the means; see ``Initializer.fill``."""
        shape = (1.0 / self.variance - 1.0) / 2.0
        # NumPy's sampler works with logarithms where a is so small that gamma variates underflow.
        seed = int(torch.randint(2**62, (), generator=context.generator))
        generator = np.random.default_rng(seed)
        for block in torch.split(weight.view(-1), draws.BLOCK):
            drawn = torch.from_numpy(generator.beta(shape, shape, len(block)))
            block.copy_(drawn.mul_(2.0).sub_(1.0).float())
