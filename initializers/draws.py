"""Random draws into a tensor, in blocks.

Every draw is a float32 number, whatever the dtype of the tensor, and is scaled in the tensor's own
precision: the same seed gives the same weights, to rounding, in every dtype and on every device,
and a large matrix needs no second copy of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 2**16
TRUNCATION_STD = 0.8796256610342398  # standard deviation of N(0, 1) cut off at -2 and 2
_HALF_STEP = 2.0**-24  # uniform_ draws multiples of 2**-24 in [0, 1)


def fill_normal(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill with N(0, std^2).

    Args:
        weight: Contiguous float32 or float64 CPU tensor.
        std: Standard deviation.
        generator: CPU generator.
    """
    _fill(weight, lambda block: block.normal_(generator=generator), std)


def fill_uniform(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill with the uniform law on (-sqrt(3) std, sqrt(3) std); arguments as ``fill_normal``."""
    _fill(weight, lambda block: _symmetric(block, generator), math.sqrt(3.0) * std)


def fill_truncated_normal(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill with a Gaussian cut off at two of its sigmas, rescaled so that its final std is ``std``.

    Values stay within ``2 * std / 0.8796``. Arguments as ``fill_normal``; by inversion of the
    distribution function, one draw per weight.
    """
    inside = math.erf(math.sqrt(2.0))  # probability of the interval (-2, 2)

    def draw(block: Tensor) -> Tensor:
        uniform = _symmetric(block, generator).double().mul_(inside)
        return block.copy_(uniform.erfinv_())

    _fill(weight, draw, math.sqrt(2.0) * std / TRUNCATION_STD)


def _symmetric(block: Tensor, generator: torch.Generator) -> Tensor:
    """Draw odd multiples of 2**-24 in (-1, 1): symmetric about 0 and never on the bound."""
    return block.uniform_(generator=generator).mul_(2.0).sub_(1.0 - _HALF_STEP)


def _fill(weight: Tensor, draw: Callable[[Tensor], Tensor], factor: float) -> None:
    flat = weight.view(-1)
    for block in torch.split(flat, BLOCK):
        if block.dtype == torch.float32:
            draw(block)
        else:
            block.copy_(draw(torch.empty(len(block))))
        block.mul_(factor)
