"""Signs and magnitudes taken apart: which of the two makes an initialisation work?

Transforms of any initialiser, after Zhou, Lan, Liu and Yosinski 2019, "Deconstructing Lottery
Tickets: Zeros, Signs, and the Supermask". They nest: the paper's control without sign information,
``rand_signed_constant``, is ``WeightPermutation(SignConstant(base))``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from initializers import rearrange, validate
from initializers.context import LayerContext
from initializers.transform import Transform

ALPHAS: tuple[str, ...] = ("std", "gain")


@dataclass(frozen=True)
class SignConstant(Transform):
    """The signs of the base's weights times one constant per layer ("signed constant").

    Zeros stay zeros. With ``alpha="std"`` the constant is what the paper takes: the standard
    deviation of the layer's weights as they were drawn (after truncation, zeros included). A layer
    whose weights are all equal has none and becomes 0, which the record notes.

    Formula:
        w = alpha * sign(w_base),  alpha = std of the layer's w_base

    Args:
        base: The initialiser that gives the signs; object, name, spec or dict.
        alpha: ``std``, or ``gain`` for ``gain / sqrt(fan)`` with the base's own gain and fan, which
            for weights without zeros is the constant that preserves variance.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If base or alpha is unknown.
    """

    family: ClassVar[str] = "signs and masks"
    citation: ClassVar[str] = "Zhou, Lan, Liu, Yosinski 2019, Deconstructing Lottery Tickets"

    alpha: str = "std"

    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice(self, "alpha", ALPHAS)

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Set the magnitudes; see ``Transform.rewrite``."""
        if self.alpha == "gain":
            fan, gain = self.reference(context)
            constant = gain / math.sqrt(fan)
        else:
            constant = rearrange.spread(weight)
            if constant == 0.0 and bool(weight.any()):
                context.note("all weights were equal: their standard deviation 0 made them 0")
        rearrange.set_magnitude(weight, constant)

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return the base's with ``std``, else None: it depends on the share of zeros."""
        return self.base.nominal_std(context) if self.alpha == "std" else None


@dataclass(frozen=True)
class SignPermutation(Transform):
    """The magnitudes of the base's weights in their places, the signs dealt anew.

    Within each layer, the signs of the non-zero weights are permuted uniformly: as many weights
    are positive as before. This destroys what the signs say and keeps everything else.

    Formula:
        w_i = |w_base,i| * sign(w_base,p(i)),  p a random permutation

    Args:
        base: The initialiser that gives the weights; object, name, spec or dict.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If base is unknown.
    """

    family: ClassVar[str] = "signs and masks"
    citation: ClassVar[str] = "Zhou, Lan, Liu, Yosinski 2019, Deconstructing Lottery Tickets"

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Permute the signs; see ``Transform.rewrite``."""
        rearrange.permute_signs(weight, context.generator)


@dataclass(frozen=True)
class MagnitudePermutation(Transform):
    """The signs of the base's weights in their places, the magnitudes dealt anew.

    Within each layer, the magnitudes of the non-zero weights are permuted uniformly (the paper's
    ``signed_reinit``). This destroys what the magnitudes say and keeps signs and zeros.

    Formula:
        w_i = sign(w_base,i) * |w_base,p(i)|,  p a random permutation

    Args:
        base: The initialiser that gives the weights; object, name, spec or dict.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If base is unknown.
    """

    family: ClassVar[str] = "signs and masks"
    citation: ClassVar[str] = "Zhou, Lan, Liu, Yosinski 2019, Deconstructing Lottery Tickets"

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Permute the magnitudes; see ``Transform.rewrite``."""
        rearrange.permute_magnitudes(weight, context.generator)


@dataclass(frozen=True)
class WeightPermutation(Transform):
    """The base's weights of each layer in a uniformly random order (the paper's ``random_reinit``).

    Zeros move, too: only the layer's distribution is kept.

    Formula:
        w_i = w_base,p(i),  p a random permutation

    Args:
        base: The initialiser that gives the weights; object, name, spec or dict.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If base is unknown.
    """

    family: ClassVar[str] = "signs and masks"
    citation: ClassVar[str] = "Zhou, Lan, Liu, Yosinski 2019, Deconstructing Lottery Tickets"

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Permute the weights; see ``Transform.rewrite``."""
        rearrange.permute(weight, context.generator)
