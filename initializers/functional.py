"""Per-tensor functions in the style of ``torch.nn.init``.

Each fills ``tensor`` in place without recording gradients and returns it. The tensor is taken as
``(output units, inputs...)``, the layout of Linear and Conv weights, on any device and of any
floating-point dtype. ``generator`` is a CPU generator; without one torch's global CPU generator is
used, as ``torch.nn.init`` does. ``groups`` is a convolution's number of groups. ``fan_in`` and
``fan_out`` override the fans where the layout does not tell them, for instance for
``nn.ConvTranspose2d``: ``fans(module)`` knows them.

All raise TypeError or ValueError, before anything is changed, if the tensor has fewer than two
axes, no values, or no floating-point numbers, or if a hyperparameter is refused by the class of
the same name.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from initializers.base import Initializer
from initializers.classical import (
    GlorotNormal,
    GlorotUniform,
    HeConstant,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
)
from initializers.context import LayerContext
from initializers.fans import Fans
from initializers.job import draw_buffer
from initializers.layers import is_fillable
from initializers.orthogonal import Orthogonal
from initializers.simple import SparseNormal
from initializers.ternary import Ternary
from initializers.variance_scaling import VarianceScaling


def initialize_(
    tensor: Tensor,
    initializer: Initializer,
    *,
    generator: torch.Generator | None = None,
    groups: int = 1,
    fan_in: float | None = None,
    fan_out: float | None = None,
) -> Tensor:
    """Fill one tensor with any initialiser; see the module's description for the arguments."""
    shape = _check(tensor, groups)
    taps = math.prod(shape[2:])
    fans = Fans(
        float(shape[1] * taps) if fan_in is None else fan_in,
        float(shape[0] // groups * taps) if fan_out is None else fan_out,
    )
    context = LayerContext(
        name="tensor",
        shape=shape,
        fans=fans,
        generator=torch.default_generator if generator is None else generator,
        kind="linear" if len(shape) == 2 else "conv",
        groups=groups,
        depthwise=groups > 1 and shape[1] == 1,
    )
    with torch.no_grad():
        if initializer.fills_in_place and is_fillable(tensor):
            initializer.fill(tensor.detach(), context)
            return tensor
        values = draw_buffer(shape, tensor)
        initializer.fill(values, context)
        return tensor.copy_(values)


def ternary_(
    tensor: Tensor,
    zero_proportion: float | None = None,
    *,
    density: float | None = None,
    degree: float | None = None,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
    groups: int = 1,
    fan_in: float | None = None,
    fan_out: float | None = None,
    **options: Any,
) -> Tensor:
    """Fill with -s, 0 and +s; hyperparameters and further options are those of ``Ternary``."""
    initializer = Ternary(zero_proportion, density, degree, scale, **options)
    return initialize_(
        tensor, initializer, generator=generator, groups=groups, fan_in=fan_in, fan_out=fan_out
    )


def variance_scaling_(
    tensor: Tensor,
    scale: float = 1.0,
    gain: float | str = "linear",
    mode: str = "fan_in",
    distribution: str = "normal",
    *,
    generator: torch.Generator | None = None,
    groups: int = 1,
    fan_in: float | None = None,
    fan_out: float | None = None,
) -> Tensor:
    """Fill as ``VarianceScaling``, with standard deviation ``scale * gain / sqrt(fan)``."""
    initializer = VarianceScaling(scale, gain, mode, distribution)
    return initialize_(
        tensor, initializer, generator=generator, groups=groups, fan_in=fan_in, fan_out=fan_out
    )


def glorot_normal_(tensor: Tensor, scale: float = 1.0, **options: Any) -> Tensor:
    """Fill as ``GlorotNormal``; options: generator, groups, fan_in, fan_out."""
    return initialize_(tensor, GlorotNormal(scale), **options)


def glorot_uniform_(tensor: Tensor, scale: float = 1.0, **options: Any) -> Tensor:
    """Fill as ``GlorotUniform``; options: generator, groups, fan_in, fan_out."""
    return initialize_(tensor, GlorotUniform(scale), **options)


def lecun_normal_(tensor: Tensor, scale: float = 1.0, **options: Any) -> Tensor:
    """Fill as ``LeCunNormal``; options: generator, groups, fan_in, fan_out."""
    return initialize_(tensor, LeCunNormal(scale), **options)


def lecun_uniform_(tensor: Tensor, scale: float = 1.0, **options: Any) -> Tensor:
    """Fill as ``LeCunUniform``; options: generator, groups, fan_in, fan_out."""
    return initialize_(tensor, LeCunUniform(scale), **options)


def he_normal_(
    tensor: Tensor, gain: float | str = "relu", mode: str = "fan_in", **options: Any
) -> Tensor:
    """Fill as ``HeNormal``; options: generator, groups, fan_in, fan_out."""
    return initialize_(tensor, HeNormal(gain=gain, mode=mode), **options)


def he_uniform_(
    tensor: Tensor, gain: float | str = "relu", mode: str = "fan_in", **options: Any
) -> Tensor:
    """Fill as ``HeUniform``; options: generator, groups, fan_in, fan_out."""
    return initialize_(tensor, HeUniform(gain=gain, mode=mode), **options)


def he_constant_(
    tensor: Tensor, gain: float | str = "relu", mode: str = "fan_in", **options: Any
) -> Tensor:
    """Fill as ``HeConstant``; options: generator, groups, fan_in, fan_out."""
    return initialize_(tensor, HeConstant(gain=gain, mode=mode), **options)


def orthogonal_(tensor: Tensor, gain: float | str = "linear", **options: Any) -> Tensor:
    """Fill as ``Orthogonal``; options: generator, groups."""
    return initialize_(tensor, Orthogonal(gain=gain), **options)


def sparse_normal_(tensor: Tensor, degree: int = 15, std: float = 1.0, **options: Any) -> Tensor:
    """Fill as ``SparseNormal``; options: generator."""
    return initialize_(tensor, SparseNormal(degree, std), **options)


def _check(tensor: Tensor, groups: int) -> tuple[int, ...]:
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"tensor must be a floating-point torch.Tensor, got {kind}.")
    shape = tuple(tensor.shape)
    if len(shape) < 2 or tensor.numel() == 0:
        raise ValueError(
            f"tensor must have at least two axes (units, inputs) and hold values, got {shape}."
        )
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or shape[0] % groups:
        raise ValueError(
            f"groups must be an integer >= 1 that divides the {shape[0]} units, got {groups!r}."
        )
    return shape
