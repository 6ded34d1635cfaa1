"""How deep a network can be: decay of gradients and of differences, measured and predicted."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import torch

from initializers import Initializer, get_initializer
from initializers.theory import TRAINABLE_DEPTH, Maps, depth_scale, mean_field, predict
from lightning_modules.diagnostics import measure_correlation, measure_signals
from lightning_modules.networks import MLP

SCALES = (0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.3)
"""Multipliers of an initialiser's scale, beside 1, at which the trainable depth is measured."""
CURVE = tuple(0.68 + 0.005 * k for k in range(129))
"""Multipliers at which it is predicted."""
_EXAMPLES = 16
START = 0.6
"""Correlation of the two inputs: 0 would be a fixed point of odd activations."""
_DEEP_ENOUGH = 100  # layers that tell a slope away from criticality
_SKIPPED = 5  # layers at each end that have not settled, or feel the output


@dataclasses.dataclass(frozen=True)
class Decay:
    """One initialiser at its own scale: numbers by depth, counted in layers from the input.

    Attributes:
        label: the initialiser.
        gradients: squared gradient norm at each layer over that at the last one, mean over seeds
            of the logarithm; index 0 is the first layer.
        correlations: at each layer, of two inputs that start at `START`; mean over seeds.
        predicted_gradients: the theory's, or empty.
        predicted_correlations: the theory's, or empty.
    """

    label: str
    gradients: tuple[float, ...]
    correlations: tuple[float, ...]
    predicted_gradients: tuple[float, ...]
    predicted_correlations: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class TrainableDepth:
    """Six e-fold depths of one initialiser, over multiples of its scale.

    Attributes:
        label: the initialiser.
        measured: pairs of a multiplier and six times the layers in which the squared gradient
            changes e-fold, one for each multiplier and seed.
        predicted: pairs of a multiplier and ``6 |xi|``, xi = -1 / ln chi; infinite at criticality.
    """

    label: str
    measured: tuple[tuple[float, float], ...]
    predicted: tuple[tuple[float, float], ...]


def measure_depths(
    specs: Sequence[str], depth: int, width: int, activation: str, seeds: int
) -> tuple[list[Decay], list[TrainableDepth]]:
    """Measure fully connected networks of `depth` layers, in float64, on Gaussian inputs.

    The gradient is that of a random projection of the output. Where an initialiser has a ``scale``,
    it is also measured at its multiples (`SCALES`), one seed each. Six e-fold depths are a rule of
    thumb for what can be trained (Schoenholz et al. 2017, recalled).

    Args:
        specs: initialisers that need no data.
        depth: layers.
        width: of every layer, input and output included.
        activation: a name of `lightning_modules.networks.ACTIVATIONS`.
        seeds: seeds of the weights.

    Raises:
        ValueError, TypeError: an unknown initialiser or activation, or one that needs data.
    """
    decays, depths = [], []
    for spec in specs:
        initializer = get_initializer(spec)
        if "data" in initializer.requirements():
            raise ValueError(f"--depths measures without data, which {spec} needs.")
        own = [_one(initializer, depth, width, activation, seed) for seed in range(seeds)]
        maps = _maps(initializer, width, activation)
        decays.append(_decay(spec, own, maps, activation))
        points = [(1.0, _trainable(gradients)) for gradients, _ in own]
        for scale, scaled in _scaled(initializer):
            short = min(depth, _DEEP_ENOUGH)
            gradients, _ = _one(scaled, short, width, activation, 0, correlate=False)
            points.append((scale, _trainable(gradients)))
        scales = CURVE if len(points) > seeds else (1.0,)
        curve = [(m, _predicted(maps, m)) for m in scales] if maps is not None else []
        depths.append(TrainableDepth(spec, tuple(points), tuple(curve)))
    return decays, depths


def _scaled(initializer: Initializer) -> list[tuple[float, Initializer]]:
    """The same initialiser at multiples of its scale; none if it has no scale."""
    own = getattr(initializer, "scale", None)
    if not isinstance(own, float):
        return []
    return [(m, dataclasses.replace(initializer, scale=own * m)) for m in SCALES]  # type: ignore[call-arg]


def _network(depth: int, width: int, activation: str) -> MLP:
    return MLP((width,), width, (width,) * (depth - 1), activation).double()


def _one(
    initializer: Initializer,
    depth: int,
    width: int,
    activation: str,
    seed: int,
    *,
    correlate: bool = True,
) -> tuple[list[float], list[float]]:
    """ln of the gradient's square relative to the last layer's, and correlations, by layer."""
    network = _network(depth, width, activation)
    initializer(network, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((_EXAMPLES, width), generator=generator, dtype=torch.float64)
    signals = measure_signals(network, [(x, None)])
    squares = list(signals.values("gradient_square", "weight").values())
    gradients = [_log(value / squares[-1]) for value in squares]
    if not correlate:
        return gradients, []
    found = measure_correlation(network, x, START, seed=seed).values("correlation", "weight")
    return gradients, list(found.values())


def _log(value: float) -> float:
    return math.log(value) if 0.0 < value < math.inf else math.nan


def _maps(initializer: Initializer, width: int, activation: str) -> Maps | None:
    """The maps of a layer of this initialiser; None where the theory does not know it."""
    try:
        rows = predict(_network(2, width, activation), initializer)
    except ValueError:
        return None
    first = {row.quantity: row.predicted for row in rows if row.layer == rows[0].layer}
    # Of the input, which no activation precedes, chi is sigma_w^2, and q = sigma_w^2 + sigma_b^2.
    bias = max(0.0, first["second_moment"] - first["chi"])
    return mean_field(activation, first["chi"], bias)


def _predicted(maps: Maps, scale: float) -> float:
    """Six times the depth scale xi of chi, at a multiple of the weights' scale."""
    scaled = mean_field(maps.activation, maps.signal * scale**2, maps.bias)
    q = scaled.fixed_variance()
    if not math.isfinite(q):  # a homogeneous activation: chi is the same everywhere
        q = 1.0
    return TRAINABLE_DEPTH * abs(depth_scale(scaled.chi(q)))


def _decay(
    label: str,
    found: Sequence[tuple[list[float], list[float]]],
    maps: Maps | None,
    activation: str,
) -> Decay:
    gradients = np.mean([each for each, _ in found], axis=0)
    correlations = np.mean([each for _, each in found], axis=0)
    growth: tuple[float, ...] = ()
    draws: tuple[float, ...] = ()
    if maps is not None:
        growth, draws = _trajectory(activation, maps.signal, maps.bias, len(gradients))
    return Decay(label, tuple(gradients.tolist()), tuple(correlations.tolist()), growth, draws)


@functools.cache
def _trajectory(
    activation: str, sigma_w2: float, sigma_b2: float, layers: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """ln of the squared gradient's growth, and correlations, layer by layer from the first."""
    maps = mean_field(activation, sigma_w2, sigma_b2)
    qs, cs = maps.trajectory(maps.signal + maps.bias, START, layers - 1)
    logs = [math.log(maps.chi(q)) for q in qs.tolist()[:-1]]
    growth = np.cumsum([0.0, *logs[::-1]])[::-1]
    return tuple(growth.tolist()), tuple(cs.tolist())


def _trainable(gradients: Sequence[float]) -> float:
    """Six times the layers in which the squared gradient changes e-fold, from a straight line."""
    skipped = _SKIPPED if len(gradients) > 3 * _SKIPPED else 0
    values = np.array(gradients[skipped : len(gradients) - skipped])
    layers = np.arange(len(values))[np.isfinite(values)]
    if len(layers) < 2:
        return 0.0
    slope = float(np.polyfit(layers, values[np.isfinite(values)], 1)[0])
    return math.inf if slope == 0.0 else TRAINABLE_DEPTH / abs(slope)
