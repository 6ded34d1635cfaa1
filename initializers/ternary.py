"""Ternary initialisation: every weight is -s, 0 or +s.

This is our reading of George, Rodriguez Ortega, Beltran, Dorji, Tshering, Lucio, Aguirre and
Ceberio, "Binary Weight Initialization Scheme with Normalized Outputs", UTEP technical report,
April 2023. Only its abstract was available to us: weights take the values 1, 0 and -1 in a
proportion such that each layer's output is normalised. All formulas below are derived from that
sentence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from initializers import ternary_sampling as sampler
from initializers import validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.fans import MODES
from initializers.gains import check_gain, gain_value

SAMPLINGS: tuple[str, ...] = ("exact", "bernoulli", "exact_row", "exact_rowcol")
DEFAULT_ZERO_PROPORTION = 2.0 / 3.0
SMALL_OUTPUT = 0.1


class Pattern(NamedTuple):
    """How one weight is filled.

    Attributes:
        sampling: The sampling in force, after the special layers are considered.
        density: Intended proportion of non-zero weights.
        nonzeros: Non-zero weights in all (``exact``) or per row (``exact_row``, ``exact_rowcol``).
        value: The magnitude s.
    """

    sampling: str
    density: float
    nonzeros: int
    value: float


@dataclass(frozen=True)
class Ternary(Initializer):
    """Weights -s, 0 and +s: a proportion of zeros, and a magnitude that preserves the variance.

    Our reading of George et al. 2023 (abstract only) and its generalisation (derived):

    * scaled (default): a proportion p0 of zeros is given and
      ``s = scale * gain / sqrt(fan * (1 - p0))``, so that ``Var w = (scale * gain)^2 / fan``
      whatever p0. With exact counts s follows from the *realised* density, so the identity
      ``sum(w^2) = n * (scale * gain)^2 / fan`` holds to rounding.
    * unscaled (the paper's): s = 1 and the density follows from the fan,
      ``1 - p0 = min(1, (scale * gain)^2 / fan)``; see ``glorot_twin``, ``he_twin``, ``lecun_twin``.

    Give at most one of zero_proportion, density and degree; with none of them and
    ``unscaled=False`` the zero proportion is 2/3: the three values are equally frequent and the
    kurtosis ``1 / (1 - p0)`` is the Gaussian's 3.

    Formula:
        w in {-s, 0, +s},  P(w = 0) = p0,  s = scale * gain / sqrt(fan * (1 - p0))

    Args:
        zero_proportion: p0, in [0, 1).
        density: 1 - p0, in (0, 1].
        degree: Mean number of non-zero inputs per output value, in (0, inf): density
            ``degree / fan_in``, at most 1, layer by layer.
        scale: Multiplier m, in (0, inf).
        unscaled: Values 1, 0, -1, with the density given by the fan.
        gain: Positive number or the name of the nonlinearity (see ``gain_value``).
        mode: ``fan_in``, ``fan_out``, ``fan_avg`` or ``fan_geo``.
        sampling: ``exact`` (round(density * n) non-zero weights in all, at least 1),
            ``bernoulli`` (independent weights), ``exact_row`` (the same number in every output
            unit, at least 1: no dead unit) or ``exact_rowcol`` (the columns are balanced, too).
            Depthwise convolutions always use ``exact_row``: an empty filter would cut a channel.
        signs: ``balanced`` (half of the non-zero weights positive, an odd one by coin) or
            ``random`` (independent coins).
        on_clip: Where unscaled weights cannot reach the variance because the fan is below
            (scale * gain)^2: ``accept`` dense weights +-1 or ``scale`` them up. Either is noted.
        last: The output layer: ``same`` rule, ``zero``, or ``small`` (a tenth of the magnitude;
            not with unscaled weights).
        embedding: ``fan`` (fan_in 1: entries of variance ``(scale * gain)^2``) or ``unit_norm``
            (every row has ``round(density * d)`` non-zero entries and norm ``scale``).
        convention: ``torch`` or ``moment`` gains.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range or two values exclude each other.
    """

    zero_proportion: float | None = None
    density: float | None = None
    degree: float | None = None
    scale: float = 1.0
    unscaled: bool = False
    gain: float | str = "relu"
    mode: str = "fan_in"
    sampling: str = "exact"
    signs: str = "balanced"
    on_clip: str = "accept"
    last: str = "same"
    embedding: str = "fan"
    convention: str = "torch"

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "ternary"
    citation: ClassVar[str] = (
        "George et al. 2023, Binary weight initialization scheme (abstract only)"
    )

    def __post_init__(self) -> None:
        validate.number(self, "zero_proportion", "[0, 1)", optional=True)
        validate.number(self, "density", "(0, 1]", optional=True)
        validate.number(self, "degree", "(0, inf)", optional=True)
        validate.number(self, "scale", "(0, inf)")
        validate.flag(self, "unscaled")
        validate.choice(self, "mode", MODES)
        validate.choice(self, "sampling", SAMPLINGS)
        validate.choice(self, "signs", sampler.SIGNS)
        validate.choice(self, "on_clip", ("accept", "scale"))
        validate.choice(self, "last", ("same", "zero", "small"))
        validate.choice(self, "embedding", ("fan", "unit_norm"))
        check_gain(self)
        given = [
            name
            for name in ("zero_proportion", "density", "degree")
            if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise ValueError(
                "Ternary: give at most one of zero_proportion, density and degree, got "
                f"{' and '.join(given)}."
            )
        if self.unscaled and given:
            raise ValueError(
                f"Ternary: unscaled=True derives the density from the fan; drop {given[0]}."
            )
        if self.unscaled and self.last == "small":
            raise ValueError(
                "Ternary: last='small' rescales the output layer, which unscaled=True excludes; "
                "use last='same' or last='zero'."
            )

    @classmethod
    def glorot_twin(cls, **options: Any) -> Ternary:
        """Return unscaled ternary weights of Glorot's variance, 2 / (fan_in + fan_out).

        Formula:
            w in {-1, 0, +1},  P(w != 0) = min(1, 2 / (fan_in + fan_out))
        """
        return cls(**{"unscaled": True, "gain": "linear", "mode": "fan_avg", **options})

    @classmethod
    def he_twin(cls, **options: Any) -> Ternary:
        """Return unscaled ternary weights of He's variance, 2 / fan_in.

        Formula:
            w in {-1, 0, +1},  P(w != 0) = min(1, 2 / fan_in)
        """
        return cls(**{"unscaled": True, "gain": "relu", "mode": "fan_in", **options})

    @classmethod
    def lecun_twin(cls, **options: Any) -> Ternary:
        """Return unscaled ternary weights of LeCun's variance, 1 / fan_in.

        Formula:
            w in {-1, 0, +1},  P(w != 0) = min(1, 1 / fan_in)
        """
        return cls(**{"unscaled": True, "gain": "linear", "mode": "fan_in", **options})

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        if context.is_last and self.last == "zero":
            weight.zero_()
            context.note("output layer set to 0")
            return
        pattern = self.pattern(context)
        self._note(pattern, context)
        generator = context.generator
        matrix = weight.flatten(1)
        if pattern.sampling == "exact_row":
            sampler.fill_rows(matrix, pattern.nonzeros, self.signs, pattern.value, generator)
        elif pattern.sampling == "exact_rowcol":
            sampler.fill_rows_and_columns(
                matrix, pattern.nonzeros, context.groups, self.signs, pattern.value, generator
            )
        else:
            count = pattern.nonzeros
            if pattern.sampling == "bernoulli":
                count = sampler.draw_count(weight.numel(), pattern.density, generator)
            positives = sampler.count_positive(count, self.signs, generator)
            sampler.fill_exact(weight, count, positives, pattern.value, generator)

    def pattern(self, context: LayerContext) -> Pattern:
        """Return sampling, density, count and magnitude for one weight; draws nothing."""
        fan, gain = self.reference(context)
        sampling = self.sampling
        if context.depthwise or self._unit_norm(context):
            sampling = "exact_row"
        density = self._density(context)
        per = (
            context.columns if sampling.startswith("exact_row") else context.rows * context.columns
        )
        count = min(per, max(1, sampler.round_half_up(density * per)))
        realised = density if sampling == "bernoulli" else count / per
        if self.unscaled and not (self._clipped(context) and self.on_clip == "scale"):
            return Pattern(sampling, density, count, 1.0)
        return Pattern(
            sampling, density, count, self._scale(context) * gain / math.sqrt(fan * realised)
        )

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``scale * gain / sqrt(fan)``, or 0 for an output layer set to 0."""
        if context.is_last and self.last == "zero":
            return 0.0
        fan, gain = self.reference(context)
        return self._scale(context) * gain / math.sqrt(fan)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan of the mode, and the gain; row length and 1 for unit-norm embeddings."""
        if self._unit_norm(context):
            return float(context.columns), 1.0
        return context.fans.of(self.mode), gain_value(self.gain, self.convention)

    def _unit_norm(self, context: LayerContext) -> bool:
        return context.kind == "embedding" and self.embedding == "unit_norm"

    def _scale(self, context: LayerContext) -> float:
        small = context.is_last and self.last == "small"
        return self.scale * SMALL_OUTPUT if small else self.scale

    def _density(self, context: LayerContext) -> float:
        if self.unscaled:
            fan, gain = self.reference(context)
            return min(1.0, (self.scale * gain) ** 2 / fan)
        if self.degree is not None:
            return min(1.0, self.degree / context.fan_in)
        if self.density is not None:
            return self.density
        return 1.0 - (
            DEFAULT_ZERO_PROPORTION if self.zero_proportion is None else self.zero_proportion
        )

    def _clipped(self, context: LayerContext) -> bool:
        fan, gain = self.reference(context)
        return self.unscaled and (self.scale * gain) ** 2 > fan * (1.0 + 1e-9)

    def _note(self, pattern: Pattern, context: LayerContext) -> None:
        """Tell the record what was clipped, forced or rounded."""
        fan, gain = self.reference(context)
        if pattern.sampling != self.sampling:
            why = "depthwise" if context.depthwise else "unit-norm rows"
            context.note(f"sampling exact_row ({why})")
        if self._clipped(context):
            target = f"density clipped to 1: fan {fan:g} is below {(self.scale * gain) ** 2:g}"
            context.note(
                f"{target}; weights scaled to {pattern.value:.4g}"
                if self.on_clip == "scale"
                else f"{target}; effective gain {math.sqrt(fan) / gain:.4g}"
            )
        elif self.degree is not None and self.degree > context.fan_in:
            context.note(f"degree {self.degree:g} clipped to fan_in {context.fan_in:g}")
        elif pattern.sampling != "bernoulli":
            per_row = pattern.sampling != "exact"
            size = context.columns if per_row else context.rows * context.columns
            if abs(pattern.nonzeros / (pattern.density * size) - 1.0) > 0.05:
                unit = " per unit" if per_row else ""
                context.note(
                    f"density {pattern.density:.4g} rounded to {pattern.nonzeros} non-zero of "
                    f"{size}{unit}"
                )
