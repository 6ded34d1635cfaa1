"""The law of a layer's weights and biases under an initialiser, as far as the theory needs it."""

from __future__ import annotations

import math
from typing import NamedTuple

from initializers.base import Initializer
from initializers.bayesian import BayesKalman
from initializers.context import LayerContext
from initializers.draws import TRUNCATION_STD
from initializers.selection import PerLayer
from initializers.simple import Random, SparseNormal
from initializers.ternary import Ternary
from initializers.theory.sparse import GAUSSIAN, empty_rows, empty_rows_exact
from initializers.torch_default import TorchDefault
from initializers.variance_scaling import ScaledInitializer

UNIFORM = 1.8
#: Gaussian cut off at two sigmas: E x^4 = 3 E x^2 - 8 * (2 phi(2) / P(|x| < 2))
_CUT = 16.0 * math.exp(-2.0) / math.sqrt(2.0 * math.pi) / math.erf(math.sqrt(2.0))
TRUNCATED = (GAUSSIAN * TRUNCATION_STD**2 - _CUT) / TRUNCATION_STD**4
_KURTOSES = {
    "normal": GAUSSIAN,
    "truncated_normal": TRUNCATED,
    "uniform": UNIFORM,
    "constant_sign": 1.0,
}


class Law(NamedTuple):
    """Weights of mean 0 that are uncorrelated, and biases.

    Attributes:
        variance: E w^2.
        kurtosis: ``E w^4 / (E w^2)^2`` of independent weights; None if they are not or it is not
            known.
        empty_rows: Expected share of units without any non-zero weight.
        bias_variance: E b^2.
    """

    variance: float
    kurtosis: float | None
    empty_rows: float = 0.0
    bias_variance: float = 0.0


def law_of(initializer: Initializer, context: LayerContext) -> Law:
    """Return the law of one layer.

    Args:
        initializer: Any that draws every weight by itself, random and with mean 0.
        context: The layer's weight.

    Raises:
        ValueError: If the initialiser works otherwise, or does not state a standard deviation.
    """
    if isinstance(initializer, PerLayer):
        position = initializer.chosen(context)
        part = initializer.base if position < 0 else initializer.rules[position][1]
        return law_of(part, context)
    kind = type(initializer)
    if (
        kind.run is not Initializer.run
        or kind.check is not Initializer.check
        or not initializer.stochastic
        or isinstance(initializer, BayesKalman)  # the weights of a unit are correlated
    ):
        raise ValueError(
            f"predict: {initializer!r} does not draw the weights of each layer at random and by "
            "themselves, as the mean-field maps assume; measure it instead."
        )
    std = initializer.nominal_std(context)
    if std is None:
        raise ValueError(
            f"predict: {initializer!r} states no standard deviation for {context.name}; "
            "override nominal_std."
        )
    law = _weights(initializer, context, std)
    return law._replace(bias_variance=_bias_variance(initializer, context))


def _weights(initializer: Initializer, context: LayerContext, std: float) -> Law:
    if isinstance(initializer, Ternary):
        return _ternary(initializer, context, std)
    if isinstance(initializer, ScaledInitializer):
        return Law(std**2, _KURTOSES[initializer.rule().distribution])
    if isinstance(initializer, SparseNormal):
        return Law(std**2, GAUSSIAN * max(1.0, context.columns / initializer.degree))
    if isinstance(initializer, Random):
        return Law(std**2, GAUSSIAN)
    if isinstance(initializer, TorchDefault):
        return Law(std**2, UNIFORM)
    return Law(std**2, None)


def _ternary(initializer: Ternary, context: LayerContext, std: float) -> Law:
    if std == 0.0:  # an output layer set to 0
        return Law(0.0, None, 1.0)
    pattern = initializer.pattern(context)
    rows, columns = context.rows, context.columns
    if pattern.sampling == "bernoulli":
        density, empty = pattern.density, empty_rows(pattern.density, columns)
    elif pattern.sampling == "exact":
        density = pattern.nonzeros / (rows * columns)
        empty = empty_rows_exact(pattern.nonzeros, rows, columns)
    else:  # the same number in every row
        density, empty = pattern.nonzeros / columns, 0.0
    return Law(pattern.value**2 * density, 1.0 / density, empty)


def _bias_variance(initializer: Initializer, context: LayerContext) -> float:
    if getattr(context.module, "bias", None) is None:
        return 0.0
    kind = type(initializer)
    if kind.fill_bias is Initializer.fill_bias:
        return 0.0
    if isinstance(initializer, TorchDefault):  # biases have the law of the weights
        return initializer.nominal_std(context) ** 2
    raise ValueError(
        f"predict: {kind.__name__} draws the biases of {context.name} from a law that it does not "
        "state; measure it instead."
    )
