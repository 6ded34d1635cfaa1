"""Networks of stochastic binary weights, trained by a surrogate in the weights' means.

Stamatescu, Gerace, Lucibello, Fuss & White 2020, "Critical initialisation in continuous
approximations of binary neural networks" (arXiv 1902.00177). Only abstract and introduction could
be read: surrogates and mean-field maps (``initializers.theory.binary``) are derived and agree with
their claims; what is our reading is said below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from initializers import validate
from initializers.layers import Weight
from initializers.theory import Activation, activation, logistic
from lightning_modules.methods.base import Applied, TrainingMethod
from lightning_modules.methods.binary_layers import VIEWS, BinaryLayer, Neurons, View
from lightning_modules.methods.layers import layer_name, trainable_weights
from lightning_modules.methods.sampling import Sampler
from lightning_modules.networks import ACTIVATIONS

SURROGATES = ("deterministic", "lrt")
NEURONS = ("sign", "logistic")
_ACTIVATIONS: Any = tuple(kind for kind in ACTIVATIONS.values() if kind is not nn.Identity)
_NEUTRAL = (nn.Identity, nn.Flatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


@dataclass(frozen=True)
class BinarySurrogate(TrainingMethod):
    """Weights are +1 or -1 at random; their means M = tanh(theta) are trained.

    The injected initialiser's weights are taken as the means, clipped to +-(1 - 1e-6):
    ``two_point_means`` and ``critical_means`` start close to +-1, from where deep networks train;
    ``uniform_means``, ``glorot_normal`` and the like are the bad controls. Pre-activations are
    divided by sqrt(N), N the fan-in; biases are trained. Inputs should be standardised.

    "deterministic": neurons are binary as well, and the surrogate passes on their means,
    phi(mean / deviation) of the Gaussian pre-activation. The network must be a chain
    (``nn.Sequential``), of which every activation becomes such neurons; the logits are the mean
    pre-activations of the last layer, and max-pooling takes the largest mean (both our reading).
    "lrt", local reparameterisation: neurons are the network's own, and every pre-activation is
    drawn from its Gaussian, the logits too. The noise goes by an example's place in its batch and
    process: in law, but not in bits, several processes train as one does.

    Evaluation in three ways, of which ``evaluate`` names the one behind val_accuracy and
    test_accuracy; the others come as val_accuracy_NAME and test_accuracy_NAME: "surrogate",
    "sampled" (one binary network, drawn from the means; its neurons are sign(h)) and "sign" (the
    likelier sign of every weight).

    Args:
        surrogate: "deterministic" or "lrt".
        neuron: Of the deterministic surrogate: "sign", phi(u) = erf(u / sqrt 2), which has no
            critical point (chi <= 2/pi); or "logistic", phi(u) = tanh(slope u), which is critical
            at E M^2 = 1 / slope^2 without biases.
        slope: phi'(0) of logistic neurons, in (0, inf).
        evaluate: "surrogate", "sampled" or "sign".

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    surrogate: str = "deterministic"
    neuron: str = "logistic"
    slope: float = 1.0
    evaluate: str = "surrogate"

    def __post_init__(self) -> None:
        validate.choice(self, "surrogate", SURROGATES)
        validate.choice(self, "neuron", NEURONS)
        validate.number(self, "slope", "(0, inf)")
        validate.choice(self, "evaluate", VIEWS)

    def mean_output(self) -> Activation:
        """Return phi of the deterministic surrogate."""
        return activation("sign") if self.neuron == "sign" else logistic(self.slope)

    def apply(self, network: nn.Module, *, seed: int) -> AppliedBinary:
        """Put binary layers in the place of the network's; see ``TrainingMethod.apply``."""
        owner = type(self).__name__
        sampler = Sampler(owner, seed)
        weights = trainable_weights(network, owner, ("linear", "conv"))
        _check_layers(network, weights, owner)
        deterministic = self.surrogate == "deterministic"
        if deterministic:
            _check_chain(network, owner)
        view, new = View(self.evaluate), dict[nn.Module, nn.Module]()
        for index, weight in enumerate(weights):
            role = "noisy"
            if deterministic:
                ends = {0: "first", len(weights) - 1: "last"}
                role = ends.get(index, "hidden")
            new[weight.module] = BinaryLayer(
                weight.module, weight.fans.fan_in, role, weight.name, sampler, view
            )
        if deterministic:
            neuron = self.mean_output()
            found = (module for module in network.modules() if isinstance(module, _ACTIVATIONS))
            new |= {module: Neurons(neuron, view) for module in found}
        names = [layer_name(weight) for weight in weights]
        return AppliedBinary(network, sampler, names, new, view)


class AppliedBinary(Applied):
    """A network of binary layers.

    Args:
        network: Changed in place.
        sampler: Its random streams.
        names: Names of its layers with weights.
        new: What takes the place of a module, by module; the layers with weights come first.
        view: Shared by all layers.
    """

    def __init__(
        self,
        network: nn.Module,
        sampler: Sampler,
        names: list[str],
        new: dict[nn.Module, nn.Module],
        view: View,
    ) -> None:
        super().__init__(network, sampler)
        self.views = tuple(name for name in VIEWS if name != view.evaluated)
        self._view = view
        self._old = {fresh: old for old, fresh in new.items()}
        layers = [fresh for fresh in new.values() if isinstance(fresh, BinaryLayer)]
        self.layers = dict(zip(names, layers, strict=True))
        _replace(network, new)

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """Return the mean square of the means, sigma_m^2; 1 is a network without uncertainty."""
        squares = [layer.means().double().square() for layer in self.layers.values()]
        return {"mean_square": torch.cat([square.flatten() for square in squares]).mean().item()}

    @torch.no_grad()
    def report(self) -> dict[str, Any]:
        """Return sigma_m^2 per layer."""
        return {
            "layers": {
                name: {"mean_square": layer.means().double().square().mean().item()}
                for name, layer in self.layers.items()
            }
        }

    @contextmanager
    def viewed_as(self, view: str) -> Iterator[None]:
        """Evaluate the network as "surrogate", "sampled" or "sign" within the block."""
        if view not in VIEWS:
            raise ValueError(f"BinarySurrogate: view must be one of {VIEWS}, got {view!r}.")
        before, self._view.forced = self._view.forced, view
        try:
            yield
        finally:
            self._view.forced = before

    @torch.no_grad()
    def release(self) -> None:
        """Give the network its own layers back, with weights M / sqrt(N)."""
        for layer in self.layers.values():
            weight = self._old[layer].get_parameter("weight")
            weight.data = layer.means() / layer.fan_in**0.5
        _replace(self.network, self._old)


def _replace(network: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    """Put modules in the place of others, under every name that they have."""
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                setattr(parent, name, new[child])


def _check_layers(network: nn.Module, weights: list[Weight], owner: str) -> None:
    for weight in weights:
        if weight.module is network:
            raise ValueError(
                f"{owner}: the network is a single {type(network).__name__}; wrap it in "
                "torch.nn.Sequential so that its layer can be replaced."
            )
        if isinstance(weight.module, _ConvNd) and weight.module.padding_mode != "zeros":
            raise ValueError(
                f"{owner}: {layer_name(weight)} pads with {weight.module.padding_mode!r}; "
                "this method handles zero padding only."
            )


def _check_chain(network: nn.Module, owner: str) -> None:
    """Refuse networks in which it is not certain which layers have binary neurons as inputs.

    Raises:
        ValueError: A module is no part of a plain chain, or two layers have no activation between.
    """
    before = "an activation"
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            continue
        if isinstance(module, (nn.Linear, _ConvNd)):
            if before != "an activation":
                raise ValueError(
                    f"{owner}: there is no activation between {before} and {name}, so that the "
                    "inputs of the latter are no binary neurons; use surrogate=lrt."
                )
            before = name
        elif isinstance(module, _ACTIVATIONS):
            before = "an activation"
        elif not isinstance(module, _NEUTRAL):
            raise ValueError(
                f"{owner}: {name or 'the network'} is a {type(module).__name__}; the deterministic "
                "surrogate takes chains (nn.Sequential) of Linear, convolution, activation, "
                "max-pooling and flattening; use surrogate=lrt."
            )
