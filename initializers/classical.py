"""The classical baselines: thin presets over variance scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from initializers import validate
from initializers.context import LayerContext
from initializers.fans import MODES
from initializers.gains import check_gain, gain_value
from initializers.ternary_sampling import SIGNS, count_positive, fill_exact
from initializers.variance_scaling import Rule, ScaledInitializer


@dataclass(frozen=True)
class _Preset(ScaledInitializer):
    """A preset whose only hyperparameter is the multiplier of the standard deviation."""

    scale: float = 1.0
    _preset: ClassVar[tuple[str, str]] = ("fan_avg", "normal")

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")

    def rule(self) -> Rule:
        """Return the numbers of this method."""
        return Rule(self.scale, 1.0, *self._preset)


@dataclass(frozen=True)
class GlorotNormal(_Preset):
    """N(0, 2 / (fan_in + fan_out)), times ``scale`` (Glorot and Bengio 2010).

    Formula:
        w ~ N(0, scale^2 * 2 / (fan_in + fan_out))

    Args:
        scale: Multiplier of the standard deviation, in (0, inf).

    Raises:
        TypeError: If scale is no number.
        ValueError: If it is outside its range.
    """

    citation: ClassVar[str] = "Glorot, Bengio 2010, Understanding the difficulty of training"
    _preset: ClassVar[tuple[str, str]] = ("fan_avg", "normal")


@dataclass(frozen=True)
class GlorotUniform(_Preset):
    """U(+-sqrt(6 / (fan_in + fan_out))), times ``scale`` (Glorot and Bengio 2010).

    Formula:
        w ~ U(-h, h),  h = scale * sqrt(6 / (fan_in + fan_out))

    Args:
        scale: Multiplier of the standard deviation, in (0, inf).

    Raises:
        TypeError: If scale is no number.
        ValueError: If it is outside its range.
    """

    citation: ClassVar[str] = "Glorot, Bengio 2010, Understanding the difficulty of training"
    _preset: ClassVar[tuple[str, str]] = ("fan_avg", "uniform")


@dataclass(frozen=True)
class LeCunNormal(_Preset):
    """N(0, 1 / fan_in), times ``scale`` (LeCun et al. 1998).

    Formula:
        w ~ N(0, scale^2 / fan_in)

    Args:
        scale: Multiplier of the standard deviation, in (0, inf).

    Raises:
        TypeError: If scale is no number.
        ValueError: If it is outside its range.
    """

    citation: ClassVar[str] = "LeCun et al. 1998, Efficient backprop"
    _preset: ClassVar[tuple[str, str]] = ("fan_in", "normal")


@dataclass(frozen=True)
class LeCunUniform(_Preset):
    """U(+-sqrt(3 / fan_in)), times ``scale`` (LeCun et al. 1998).

    Formula:
        w ~ U(-h, h),  h = scale * sqrt(3 / fan_in)

    Args:
        scale: Multiplier of the standard deviation, in (0, inf).

    Raises:
        TypeError: If scale is no number.
        ValueError: If it is outside its range.
    """

    citation: ClassVar[str] = "LeCun et al. 1998, Efficient backprop"
    _preset: ClassVar[tuple[str, str]] = ("fan_in", "uniform")


@dataclass(frozen=True)
class _He(ScaledInitializer):
    """He initialisation with any gain and fan."""

    scale: float = 1.0
    gain: float | str = "relu"
    mode: str = "fan_in"
    convention: str = "torch"
    _distribution: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")
        validate.choice(self, "mode", MODES)
        check_gain(self)

    def rule(self) -> Rule:
        """Return the numbers of this method."""
        return Rule(
            self.scale, gain_value(self.gain, self.convention), self.mode, self._distribution
        )


@dataclass(frozen=True)
class HeNormal(_He):
    """N(0, gain^2 / fan), times ``scale`` (He et al. 2015).

    Formula:
        w ~ N(0, (scale * gain)^2 / fan)

    Args:
        scale: Multiplier of the standard deviation, in (0, inf).
        gain: Positive number or the name of a nonlinearity (see ``gain_value``).
        mode: ``fan_in``, ``fan_out``, ``fan_avg`` or ``fan_geo``.
        convention: ``torch`` or ``moment`` gains.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    citation: ClassVar[str] = "He et al. 2015, Delving deep into rectifiers"
    _distribution: ClassVar[str] = "normal"


@dataclass(frozen=True)
class HeUniform(_He):
    """U(+-gain * sqrt(3 / fan)), times ``scale`` (He et al. 2015); arguments as ``HeNormal``.

    Formula:
        w ~ U(-h, h),  h = scale * gain * sqrt(3 / fan)

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    citation: ClassVar[str] = "He et al. 2015, Delving deep into rectifiers"
    _distribution: ClassVar[str] = "uniform"


@dataclass(frozen=True)
class HeConstant(_He):
    """Signed constant +-gain / sqrt(fan), times ``scale``: ``Ternary`` without zeros.

    The "signed Kaiming constant" of Ramanujan et al. 2020. Arguments as ``HeNormal``, and

    Formula:
        w = +-scale * gain / sqrt(fan)

    Args:
        signs: ``balanced`` (half of them positive, an odd one by coin) or ``random`` (coins).

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    signs: str = "balanced"
    citation: ClassVar[str] = "Ramanujan et al. 2020, What's hidden in a random network?"
    _distribution: ClassVar[str] = "constant_sign"
    fills_in_place: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice(self, "signs", SIGNS)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the signs; see ``Initializer.fill``."""
        count = weight.numel()
        positives = count_positive(count, self.signs, context.generator)
        fill_exact(weight, count, positives, self.nominal_std(context), context.generator)
