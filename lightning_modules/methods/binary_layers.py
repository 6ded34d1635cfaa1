"""Layers with stochastic weights +-1, of which the means are trained.

A weight is +1 with probability (1 + M) / 2. ``N`` is the number of inputs of a unit; the
pre-activation is ``h = N^-1/2 sum_j W_j x_j + b``. For uncertain inputs with mean x_j and second
moment r_j (1 for a binary neuron, x_j^2 for a known input) the central limit theorem gives, over
weights and neurons, a Gaussian with

    mean N^-1/2 sum_j M_j x_j + b     and     variance N^-1 sum_j (r_j - M_j^2 x_j^2)

(Stamatescu et al. 2020, arXiv 1902.00177; equations derived).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from initializers.theory import Activation
from lightning_modules.methods.sampling import Sampler

LARGEST_MEAN = 1.0 - 1e-6
_TINY = 1e-9  # keeps the deviation's root and quotient finite where nothing is uncertain
VIEWS = ("surrogate", "sampled", "sign")


class View:
    """How the layers of one network work at the moment.

    Args:
        evaluated: What evaluation looks at: "surrogate" (means and variances), "sampled" (weights
            drawn from their means) or "sign" (the likelier sign of every weight). Training always
            works with the surrogate.

    Attributes:
        forced: Takes the place of ``evaluated`` where it is not None.
    """

    def __init__(self, evaluated: str = "surrogate") -> None:
        self.evaluated = evaluated
        self.forced: str | None = None

    def kind(self, training: bool) -> str:
        """Return what a layer in training or evaluation mode works as."""
        return "surrogate" if training else self.forced or self.evaluated


class BinaryLayer(nn.Module):
    """A Linear or convolution layer with binary weights.

    Args:
        layer: The layer that it stands for; its weight holds the means M, which are clipped to
            +-(1 - 1e-6), and its bias is taken over.
        fan_in: N.
        role: "noisy": the surrogate's output is drawn from the Gaussian (LRT). The others belong
            to networks of binary neurons and give mean / deviation, the input of `Neurons`:
            "first" has known inputs, "hidden" binary neurons; "last" gives the mean alone, the
            logits.
        name: Names the layer's random streams.
        sampler: The network's random streams.
        view: Shared by the network's layers.

    Attributes:
        theta: The trained parameter, M = tanh(theta).
    """

    def __init__(
        self, layer: nn.Module, fan_in: float, role: str, name: str, sampler: Sampler, view: View
    ) -> None:
        super().__init__()
        weight = layer.get_parameter("weight").detach()
        means = weight.double().clamp(-LARGEST_MEAN, LARGEST_MEAN)
        self.theta = nn.Parameter(torch.atanh(means).to(weight.dtype))
        self.bias = cast("nn.Parameter | None", layer.bias)
        self.role = role
        self.name = name
        self.fan_in = fan_in
        self._operation = _operation(layer)
        self._sampler = sampler
        self._view = view

    def means(self) -> Tensor:
        """Return M, in the weight's shape."""
        return torch.tanh(self.theta)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer's role and the view ask for, in the parameters' precision."""
        # The variance is a difference of nearly equal sums: never in half precision.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.theta.dtype)
            means = self.means()
            if self._view.kind(self.training) != "surrogate":
                return self._linear(x, self.weights(means))
            center = self._linear(x, means)
            if self.role == "last":
                return center
            deviation = (self._variance(x, means).clamp_min(0.0) + _TINY).sqrt()
            if self.role != "noisy":
                return center / deviation
            noise = self._sampler.normal(f"{self.name}#noise", center, self.training)
            return center + deviation * noise

    def weights(self, means: Tensor) -> Tensor:
        """Return weights +-1: drawn from the means, or their likelier signs."""
        if self._view.kind(self.training) == "sign":
            return torch.where(means < 0, -1.0, 1.0).to(means)
        drawn = self._sampler.uniform(self.name, means, self.training)
        return torch.where(2.0 * drawn - 1.0 < means, 1.0, -1.0).to(means)

    def _linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return ``N^-1/2 sum_j w_j x_j + b``."""
        total = self._operation(x, weight) / math.sqrt(self.fan_in)
        if self.bias is None:
            return total
        return total + self.bias.view(-1, *[1] * (weight.dim() - 2))

    def _variance(self, x: Tensor, means: Tensor) -> Tensor:
        """Return ``N^-1 sum_j (r_j - M_j^2 x_j^2)``."""
        if self.role != "hidden":
            return self._operation(x**2, 1.0 - means**2) / self.fan_in
        # Inputs of a unit: fewer than N where a convolution's window leaves the image.
        inputs = self._operation(torch.ones_like(x[:1]), torch.ones_like(means))
        return (inputs - self._operation(x**2, means**2)) / self.fan_in


class Neurons(nn.Module):
    """Binary neurons +-1: their mean phi(u) in the surrogate, sign(h) in the binary network.

    Args:
        neuron: phi.
        view: Shared by the network's layers.
    """

    def __init__(self, neuron: Activation, view: View) -> None:
        super().__init__()
        self._neuron = neuron
        self._view = view

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean output, or the output itself (+1 at 0)."""
        if self._view.kind(self.training) == "surrogate":
            return self._neuron(x)
        return torch.where(x < 0, -1.0, 1.0).to(x)


def _operation(layer: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the layer's sum over inputs as a function of input and weight, without bias."""
    if not isinstance(layer, _ConvNd):
        return functional.linear
    convolve: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[
        layer.weight.dim() - 3
    ]
    names = ("stride", "padding", "dilation", "groups")
    return functools.partial(convolve, **{name: getattr(layer, name) for name in names})
