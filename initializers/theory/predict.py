"""What the theory predicts for a concrete network and initialiser, layer by layer.

>>> from torch import nn
>>> from initializers import Ternary
>>> network = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
>>> for row in predict(network, Ternary(0.9)):
...     if row.quantity == "second_moment":
...         print(row.layer, round(row.predicted, 6))
0 2.0
1 1.0
2 2.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from initializers.base import Initializer
from initializers.job import Job
from initializers.lookup import get_initializer
from initializers.theory.activations import Activation, activation
from initializers.theory.chain import OWNER, Chain, Link, read_chain
from initializers.theory.laws import Law, law_of
from initializers.theory.maps import mean_field
from initializers.theory.moments import (
    kurtosis,
    overlap,
    response,
    second_moment,
)
from initializers.theory.sparse import GAUSSIAN, preactivation_kurtosis

QUANTITIES: tuple[str, ...] = (
    "second_moment",
    "correlation",
    "chi",
    "gradient_growth",
    "kurtosis",
    "second_moment_spread",
    "empty_rows",
)
"""What `predict` says of a layer."""


_LINEAR = activation("linear")


@dataclass(frozen=True)
class Prediction:
    """One predicted number: a row of the table that stands beside the measurements.

    Attributes:
        layer: Qualified name of the layer, or of the module of an activation.
        quantity: One of ``QUANTITIES``; see ``predict``.
        predicted: The number.
    """

    layer: str
    quantity: str
    predicted: float


@dataclass(frozen=True)
class _State:
    """Pre-activations of one layer, over draws of the weights.

    Attributes:
        q: Second moment.
        c: Correlation for two inputs; NaN where there is no signal.
        kappa: Kurtosis.
        spread: Relative variance of the second moment, due to the layers before.
    """

    q: float
    c: float
    kappa: float | None
    spread: float | None


def predict(
    network: nn.Module,
    initializer: Initializer | str,
    q0: float = 1.0,
    *,
    c0: float = 0.0,
    kurtosis0: float = GAUSSIAN,
    partial: bool = False,
) -> list[Prediction]:
    """Predict what an initialiser makes of a chain of Linear layers and convolutions.

    The network is neither run nor changed. For the output z of every layer, in order:

    * ``second_moment``: q = E z^2, beginning with q0 = E x^2 of the input.
    * ``correlation``: c, the cosine of the outputs for two inputs of cosine c0.
    * ``chi``: mean squared singular value per output of the Jacobian from the layer before's
      output, or from the input, to this one's: ``sigma_w^2 E phi'^2``.
    * ``gradient_growth``: squared norm of the loss's gradient with regard to z, relative to that of
      the last layer: the product of the chi of all later layers.
    * ``kurtosis``: of z over draws of the weights, for one input; see ``theory.sparse``.
    * ``second_moment_spread``: relative standard deviation, over draws of the weights, of the mean
      of z^2 over the layer's units for one input.
    * ``empty_rows``: expected share of units without any non-zero weight.

    Outputs of activation modules have ``second_moment`` and ``correlation``. A quantity that is
    not defined (the correlation of nothing but zeros) or not known (the kurtosis of dependent
    weights, the spread behind convolutions, whose places are not independent) has no row.
    Convolutions count as if there were no zero padding: at the border of small images the measured
    second moment lies below. Dropout is off.

    Args:
        network: A chain; see ``initializers.theory.chain.read_chain``.
        initializer: Draws random weights layer by layer: an object, name or spec.
        q0: Mean square of the input's values, > 0; 1 for standardised data.
        c0: Cosine of two inputs, in [-1, 1].
        kurtosis0: ``mean(x^4) / mean(x^2)^2`` of an input.
        partial: Predict the first layers of a network that goes on as no chain.

    Returns:
        The rows, layer by layer in order of execution.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the network is no chain, the initialiser does not draw its weights
            independently, or a value is out of range.
    """
    if not 0.0 < q0 < math.inf or not -1.0 <= c0 <= 1.0 or not kurtosis0 >= 1.0:
        raise ValueError(
            f"{OWNER}: q0 must be in (0, inf), c0 in [-1, 1] and kurtosis0 >= 1, got {q0!r}, "
            f"{c0!r} and {kurtosis0!r}."
        )
    chosen = get_initializer(initializer)
    chain = read_chain(Job.of(OWNER, network, 0, None, None))
    end = chain.end or ("" if chain.links else "it has no layers")
    if end and not (partial and chain.links):
        hint = "; partial=True predicts the layers before" if chain.links else ""
        raise ValueError(f"{OWNER}: {type(network).__name__} is no chain of layers: {end}{hint}.")
    laws = [law_of(chosen, link.layer.context) for link in chain.links]
    return _rows(chain, laws, _State(q0, c0, kurtosis0, 0.0))


def _rows(chain: Chain, laws: list[Law], state: _State) -> list[Prediction]:
    states: list[_State] = []
    chis: list[float] = []
    phi, units = _LINEAR, 0  # of the input, which is fixed
    for link, law in zip(chain.links, laws, strict=True):
        context = link.layer.context
        chis.append(_strength(link, law) * response(phi, state.q))
        state = _step(link, law, phi, state, units)
        states.append(state)
        phi, units = link.activation or _LINEAR, context.rows
    rows: list[Prediction] = []
    for number, (link, law, state) in enumerate(zip(chain.links, laws, states, strict=True)):
        growth = math.prod(chis[number + 1 :], start=1.0)
        rows += _layer_rows(link, law, state, chis[number], growth)
        if link.activation is not None and link.activation_name:
            rows += _activation_rows(link.activation_name, link.activation, state)
    return rows


def _strength(link: Link, law: Law) -> float:
    """Return sigma_w^2."""
    return law.variance * link.layer.context.fan_in


def _step(link: Link, law: Law, phi: Activation, before: _State, units: int) -> _State:
    """Return the state behind a layer.

    Args:
        link: The layer.
        law: Its law.
        phi: Activation before it.
        before: State before that activation; of the input to begin with.
        units: Random units before the layer; 0 for the input.
    """
    maps = mean_field(phi, _strength(link, law), law.bias_variance)
    q = maps.variance(before.q)
    if not q > 0.0:
        return _State(0.0, math.nan, None, None)
    if not before.q > 0.0:  # nothing but biases, the same for all inputs
        return _State(q, 1.0, None, None)
    c = min(1.0, maps.correlation(before.c, before.q))
    if before.kappa is None:
        return _State(q, c, None, None)
    inputs = before.kappa * kurtosis(phi, before.q) / GAUSSIAN  # kurtosis of the layer's inputs
    share = 1.0 - law.bias_variance / q  # of the weights; biases count as Gaussian
    kappa = spread = None
    if law.kurtosis is not None:
        excess = preactivation_kurtosis(law.kurtosis, link.layer.context.fan_in, inputs) - GAUSSIAN
        kappa = GAUSSIAN + share**2 * excess
    if before.spread is not None and link.layer.context.kind == "linear":
        slope = before.q * maps.variance_slope(before.q) / q
        fresh = share**2 * (inputs - 1.0) / units if units else 0.0
        spread = slope**2 * before.spread + fresh
    return _State(q, c, kappa, spread)


def _layer_rows(link: Link, law: Law, state: _State, chi: float, growth: float) -> list[Prediction]:
    spread = None
    if state.spread is not None and state.kappa is not None:
        own = (state.kappa - 1.0) / link.layer.context.rows
        spread = math.sqrt(math.expm1(state.spread + own))
    values = (state.q, state.c, chi, growth, state.kappa, spread, law.empty_rows)
    return [
        Prediction(link.name, quantity, value)
        for quantity, value in zip(QUANTITIES, values, strict=True)
        if value is not None and not math.isnan(value)
    ]


def _activation_rows(name: str, phi: Activation, state: _State) -> list[Prediction]:
    signal = second_moment(phi, state.q)
    rows = [Prediction(name, "second_moment", signal)]
    if signal > 0.0 and not math.isnan(state.c):
        cosine = min(1.0, overlap(phi, state.q, state.c) / signal)
        rows.append(Prediction(name, "correlation", cosine))
    return rows
