"""The activation functions a network specification can name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lightning_modules.networks.messages import nearest

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "hardtanh": nn.Hardtanh,
    "linear": nn.Identity,
    "identity": nn.Identity,
}
"""Name to module class; every class is built with torch's default constants (leaky slope 0.01)."""


def make_activation(name: str) -> nn.Module:
    """Return a new activation module, an elementwise map that keeps shape and dtype.

    Args:
        name: a key of `ACTIVATIONS`.

    Raises:
        ValueError: the name is unknown; the message lists the nearest names.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: {nearest(name, ACTIVATIONS)}.")
    return ACTIVATIONS[name]()
