"""How deep a network can be: decay of gradients and of differences, measured and predicted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from initializers import Initializer, get_initializer
from initializers.theory import TRAINABLE_DEPTH, Prediction, depth_scale, predict
from lightning_modules.diagnostics import measure_correlation, measure_signals
from lightning_modules.networks import MLP

SCALES = (0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3)
"""Multipliers of an initialiser's scale at which the trainable depth is measured."""
_EXAMPLES = 16
_SKIPPED = 5  # layers at each end that have not settled, or feel the output


@dataclasses.dataclass(frozen=True)
class Decay:
    """One initialiser at its own scale: numbers by depth, counted in layers from the input.

    Attributes:
        label: the initialiser.
        gradients: squared gradient norm at each layer over that at the last one, mean over seeds
            of the logarithm; index 0 is the first layer.
        correlations: correlation of two unrelated inputs at each layer, mean over seeds.
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
    """One initialiser at one scale.

    Attributes:
        label: the initialiser.
        scale: multiplier of its scale.
        measured: for each seed six times the layers in which the gradient changes e-fold.
        predicted: ``6 |xi|``, xi = -1 / ln chi; infinite at criticality, None without theory.
    """

    label: str
    scale: float
    measured: tuple[float, ...]
    predicted: float | None


def measure_depths(
    specs: Sequence[str], depth: int, width: int, activation: str, seeds: int
) -> tuple[list[Decay], list[TrainableDepth]]:
    """Measure fully connected networks of `depth` layers, in float64, on Gaussian inputs.

    The gradient is that of a random projection of the output. Where an initialiser has a ``scale``,
    it is also measured at its multiples (`SCALES`). Six e-fold depths are a rule of thumb for what
    can be trained (Schoenholz et al. 2017, recalled).

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
        for scale, scaled in _scaled(initializer):
            own = scale == 1.0
            found = [
                _one(scaled, depth, width, activation, seed, both=own)
                for seed in range(seeds if own else min(seeds, 2))
            ]
            theory = _theory(scaled, depth, width, activation)
            if own:
                decays.append(_decay(spec, found, theory))
            slopes = tuple(_trainable(gradients) for gradients, _ in found)
            chi = [row.predicted for row in theory if row.quantity == "chi"]
            predicted = TRAINABLE_DEPTH * abs(depth_scale(chi[-2])) if chi else None
            depths.append(TrainableDepth(spec, scale, slopes, predicted))
    return decays, depths


def _scaled(initializer: Initializer) -> list[tuple[float, Initializer]]:
    own = getattr(initializer, "scale", None)
    if not isinstance(own, float):
        return [(1.0, initializer)]
    return [(m, dataclasses.replace(initializer, scale=own * m)) for m in SCALES]  # type: ignore[call-arg]


def _network(depth: int, width: int, activation: str) -> MLP:
    return MLP((width,), width, (width,) * (depth - 1), activation).double()


def _one(
    initializer: Initializer, depth: int, width: int, activation: str, seed: int, *, both: bool
) -> tuple[list[float], list[float]]:
    """ln of the gradient's square relative to the last layer's, and correlations, by layer."""
    network = _network(depth, width, activation)
    initializer(network, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((_EXAMPLES, width), generator=generator, dtype=torch.float64)
    signals = measure_signals(network, [(x, None)])
    squares = list(signals.values("gradient_square", "weight").values())
    gradients = [_log(value / squares[-1]) for value in squares]
    if not both:
        return gradients, []
    found = measure_correlation(network, x, seed=seed).values("correlation", "weight")
    return gradients, list(found.values())


def _log(value: float) -> float:
    return math.log(value) if 0.0 < value < math.inf else math.nan


def _theory(initializer: Initializer, depth: int, width: int, activation: str) -> list[Prediction]:
    try:
        return predict(_network(depth, width, activation), initializer)
    except ValueError:
        return []  # no independent draws; the caller's table says so


def _decay(
    label: str, found: Sequence[tuple[list[float], list[float]]], theory: Sequence[Prediction]
) -> Decay:
    gradients = np.nanmean([each for each, _ in found], axis=0)
    correlations = np.nanmean([each for _, each in found], axis=0)
    growth = [_log(row.predicted) for row in theory if row.quantity == "gradient_growth"]
    names = {row.layer for row in theory if row.quantity == "chi"}
    draws = [r.predicted for r in theory if r.quantity == "correlation" and r.layer in names]
    return Decay(
        label,
        tuple(gradients.tolist()),
        tuple(correlations.tolist()),
        tuple(growth),
        tuple(draws),
    )


def _trainable(gradients: Sequence[float]) -> float:
    """Six times the layers in which the squared gradient changes e-fold, from a straight line."""
    skipped = _SKIPPED if len(gradients) > 3 * _SKIPPED else 0
    values = np.array(gradients[skipped : len(gradients) - skipped])
    layers = np.arange(len(values))[np.isfinite(values)]
    if len(layers) < 2:
        return 0.0
    slope = float(np.polyfit(layers, values[np.isfinite(values)], 1)[0])
    return math.inf if slope == 0.0 else TRAINABLE_DEPTH / abs(slope)
