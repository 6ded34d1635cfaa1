"""Activation functions as the theory needs them: the function, its derivative, its kinks.

>>> activation("tanh").kinks, activation("hardtanh").kinks
((), (-1.0, 1.0))
>>> activation(nn.LeakyReLU(0.2)).label
'LeakyReLU(negative_slope=0.2)'
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from initializers.validate import suggestion


@dataclass(frozen=True)
class Activation:
    """An elementwise function between layers.

    Any function that torch can differentiate once will do; where it has kinks, they must be named.

    Args:
        label: Its name, for messages.
        function: Elementwise on float64 tensors, differentiable by autograd.
        kinks: Arguments at which the function or one of its derivatives jumps.
    """

    label: str
    function: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()

    def __call__(self, u: Tensor) -> Tensor:
        """Return phi(u)."""
        return self.function(u)

    def derivative(self, u: Tensor) -> Tensor:
        """Return phi'(u), by autograd."""
        with torch.enable_grad():
            argument = u.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.function(argument).sum(), argument)
        return slope


_NO_KINKS: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Mish, nn.LogSigmoid,
    nn.Tanhshrink,
)  # fmt: skip
_KINK_AT_0 = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.Softsign)
_KINK_AT_3 = (nn.Hardswish, nn.Hardsigmoid)
_OWN_KINKS = (nn.Softplus, nn.Hardtanh, nn.ReLU6, nn.Hardshrink, nn.Softshrink, nn.Threshold)
#: The modules that have an entry; ``nn.functional`` has them under the same names.
ACTIVATION_MODULES: tuple[type[nn.Module], ...] = (
    *_NO_KINKS, *_KINK_AT_0, *_KINK_AT_3, *_OWN_KINKS,
)  # fmt: skip
_NAMED: dict[str, Callable[[], Activation]] = {
    "linear": lambda: of_module(nn.Identity()),
    "relu": lambda: of_module(nn.ReLU()),
    "leaky_relu": lambda: of_module(nn.LeakyReLU()),
    "tanh": lambda: of_module(nn.Tanh()),
    "sigmoid": lambda: of_module(nn.Sigmoid()),
    "gelu": lambda: of_module(nn.GELU()),
    "silu": lambda: of_module(nn.SiLU()),
    "elu": lambda: of_module(nn.ELU()),
    "selu": lambda: of_module(nn.SELU()),
    "softplus": lambda: of_module(nn.Softplus()),
    "mish": lambda: of_module(nn.Mish()),
    "hardtanh": lambda: of_module(nn.Hardtanh()),
    "erf": lambda: Activation("erf", torch.erf),
    "sign": lambda: Activation("sign", _mean_sign),
}
ACTIVATION_NAMES: tuple[str, ...] = tuple(_NAMED)
"""What `activation` knows by name."""


def activation(value: str | nn.Module | Activation) -> Activation:
    """Return an activation.

    Args:
        value: A name out of ``ACTIVATION_NAMES`` (``sign`` is the mean ``erf(u / sqrt 2)`` of a
            sign neuron whose input u has unit Gaussian noise), a module of torch's, or an
            ``Activation`` of your own.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the name is unknown or the module has no entry.
    """
    if isinstance(value, Activation):
        return value
    if isinstance(value, nn.Module):
        return of_module(value)
    if not isinstance(value, str):
        raise TypeError(f"activation must be a name, a module or an Activation, got {value!r}.")
    if value not in _NAMED:
        raise ValueError(
            f"activation must be one of {', '.join(ACTIVATION_NAMES)}, got {value!r}"
            f"{suggestion(value, ACTIVATION_NAMES)}."
        )
    return _NAMED[value]()


def logistic(slope: float = 1.0) -> Activation:
    """Return ``tanh(slope * u)``, the mean of a +-1 neuron with logistic noise.

    Args:
        slope: phi'(0) > 0.

    Raises:
        ValueError: If the slope is not positive and finite.
    """
    if not 0.0 < slope < math.inf:
        raise ValueError(f"logistic: slope must be in (0, inf), got {slope!r}.")
    return Activation(f"tanh({slope:g} u)", functools.partial(_scaled_tanh, slope))


def known(module: nn.Module) -> bool:
    """Return whether ``of_module`` has an entry for a module."""
    return _kinks(module) is not None


def of_module(module: nn.Module) -> Activation:
    """Return the function of an activation module of torch's, with its options.

    Args:
        module: An elementwise module without parameters and without randomness.

    Raises:
        ValueError: If it has no entry; wrap its function in an ``Activation``.
    """
    kinks = _kinks(module)
    if kinks is None:
        raise ValueError(
            f"activation: no entry for {type(module).__name__}; give "
            "Activation(label, function, kinks)."
        )
    # a copy of the argument, because the module may work in place
    return Activation(repr(module), lambda u: cast(Tensor, module(u.clone())), kinks)


def _kinks(module: nn.Module) -> tuple[float, ...] | None:
    """Return where a module's function has kinks; None for one that is not known."""
    if isinstance(module, nn.Hardtanh):  # ReLU6 as well
        return float(module.min_val), float(module.max_val)
    if isinstance(module, nn.Softplus):  # torch goes over to the identity there
        return (float(module.threshold) / float(module.beta),)
    if isinstance(module, nn.Hardshrink | nn.Softshrink):
        return -float(module.lambd), float(module.lambd)
    if isinstance(module, nn.Threshold):
        return (float(module.threshold),)
    if isinstance(module, _KINK_AT_3):
        return -3.0, 3.0
    if isinstance(module, _KINK_AT_0):
        return (0.0,)
    return () if isinstance(module, _NO_KINKS) else None


def _scaled_tanh(slope: float, u: Tensor) -> Tensor:  # no lambda: networks hold it, and are pickled
    return torch.tanh(slope * u)


def _mean_sign(u: Tensor) -> Tensor:
    return torch.erf(u / math.sqrt(2.0))
