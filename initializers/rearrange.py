"""Rearranging the values of a weight: signs, magnitudes, whole values.

Each function works in place on a contiguous float32 or float64 CPU tensor of any shape. Zeros stay
where they are wherever signs and magnitudes are told apart, because a zero has no sign to keep.
Source: the treatments of Zhou, Lan, Liu and Yosinski 2019, "Deconstructing Lottery Tickets", which
call a permutation of a layer's own values a "reinitialisation".
"""

from __future__ import annotations

import torch
from torch import Tensor


def permute(values: Tensor, generator: torch.Generator) -> None:
    """Put all values, zeros included, into a uniformly random order."""
    flat = values.view(-1)
    flat.copy_(flat[torch.randperm(len(flat), generator=generator)])


def permute_among(values: Tensor, chosen: Tensor, generator: torch.Generator) -> None:
    """Put the values at the places where ``chosen`` is True into a uniformly random order."""
    picked = values[chosen]
    permute(picked, generator)
    values[chosen] = picked


def permute_signs(values: Tensor, generator: torch.Generator, chosen: Tensor | None = None) -> None:
    """Deal the signs of the non-zero values anew: each keeps its magnitude and its place.

    Args:
        values: See the module.
        generator: CPU generator.
        chosen: Bool tensor; only places where it is True take part. None means all.
    """
    nonzero = values != 0 if chosen is None else (values != 0) & chosen
    picked = values[nonzero]
    signs = picked.sign()
    permute(signs, generator)
    values[nonzero] = picked.abs_().mul_(signs)


def permute_magnitudes(
    values: Tensor, generator: torch.Generator, chosen: Tensor | None = None
) -> None:
    """Deal the magnitudes of the non-zero values anew: each place keeps its sign.

    Args:
        values: See the module.
        generator: CPU generator.
        chosen: Bool tensor; only places where it is True take part. None means all.
    """
    nonzero = values != 0 if chosen is None else (values != 0) & chosen
    picked = values[nonzero]
    magnitudes = picked.abs()
    permute(magnitudes, generator)
    values[nonzero] = magnitudes.mul_(picked.sign_())


def set_magnitude(values: Tensor, magnitude: float) -> None:
    """Give every non-zero value the same magnitude; it keeps its sign."""
    values.sign_().mul_(magnitude)


def spread(values: Tensor) -> float:
    """Return the standard deviation of all values about their mean (divided by n, not n - 1)."""
    return float(values.double().std(correction=0))
