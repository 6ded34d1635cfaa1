"""Maps of the differentiable surrogates of networks with stochastic binary weights.

Stamatescu, Gerace, Lucibello, Fuss and White 2020, "Critical initialisation in continuous
approximations of binary neural networks" (arXiv 1902.00177). Of the paper abstract and introduction
could be read; the maps are derived, and agree with its claims (our reading). Weights are +-1 with
independent means M, E M = 0 and E M^2 = sigma_m^2 <= 1, inputs are scaled by 1/sqrt(N), biases are
N(0, sigma_b^2).

>>> maps = binary_surrogate(logistic(), sigma_m2=0.99)
>>> round(maps.correlation_depth(), 1)  # means near +-1 carry a signal through 6 * 99.5 layers
99.5
"""

from __future__ import annotations

from initializers.theory.activations import activation, logistic
from initializers.theory.maps import Maps, check_variances
from initializers.theory.moments import ActivationLike

__all__ = ["binary_surrogate", "logistic", "lrt_surrogate"]


def binary_surrogate(phi: ActivationLike, sigma_m2: float, sigma_b2: float = 0.0) -> Maps:
    """Return the maps of the deterministic surrogate, with binary neurons (D).

    A neuron hands on its mean phi(u), u being its mean input in units of the standard deviation
    that the random weights and neurons before it leave. In terms of q = E u^2::

        q' = (sigma_m^2 V + sigma_b^2) / (1 - sigma_m^2 V)
        c' = (sigma_m^2 P + sigma_b^2) / (sigma_m^2 V + sigma_b^2)
        chi = sigma_m^2 R / (1 - sigma_m^2 V)

    At q* chi is ``sigma_m^2 (1 + q*) / (1 + sigma_b^2) R``. Sign neurons have chi <= 2/pi: there is
    no critical point. With ``logistic(1.0)`` it is (sigma_m^2, sigma_b^2) = (1, 0); with slope
    k > 1 and no biases sigma_m^2 = 1/k^2.

    Args:
        phi: Mean output between -1 and 1: ``"sign"``, ``logistic(slope)`` or another.
        sigma_m2: Second moment of the weights' means, in [0, 1].
        sigma_b2: Variance of the biases, >= 0.

    Raises:
        ValueError: If a value is outside its range or the activation unknown.
    """
    _check("binary_surrogate", sigma_m2, sigma_b2)
    return Maps(activation(phi), sigma_m2, sigma_m2, sigma_m2, sigma_b2)


def lrt_surrogate(phi: ActivationLike, sigma_m2: float, sigma_b2: float = 0.0) -> Maps:
    """Return the maps of the surrogate by local reparameterisation, LRT (L).

    Pre-activations are sampled, their noise anew for every input, and handed on as phi(h)::

        q' = V + sigma_b^2                        (whatever sigma_m^2)
        c' = (sigma_m^2 P + sigma_b^2) / q'

    Below sigma_m^2 = 1 even two equal inputs lose their correlation.

    Args:
        phi: Activation of the continuous neurons.
        sigma_m2: Second moment of the weights' means, in [0, 1].
        sigma_b2: Variance of the biases, >= 0.

    Raises:
        ValueError: If a value is outside its range or the activation unknown.
    """
    _check("lrt_surrogate", sigma_m2, sigma_b2)
    return Maps(activation(phi), 1.0, sigma_m2, 0.0, sigma_b2)


def _check(owner: str, sigma_m2: float, sigma_b2: float) -> None:
    check_variances(owner, sigma_m2=sigma_m2, sigma_b2=sigma_b2)
    if sigma_m2 > 1.0:
        raise ValueError(
            f"{owner}: sigma_m2 must be in [0, 1], since means of +-1 are, got {sigma_m2!r}."
        )
