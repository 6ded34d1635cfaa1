"""Derivatives in forward mode, with types."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad


@contextmanager
def dual_level() -> Iterator[None]:
    """Inside, `torch.autograd.forward_ad` works, and autograd keeps no graph."""
    _load_rules()
    with torch.no_grad(), forward_ad.dual_level():
        yield


def dual(primal: Tensor, tangent: Tensor) -> Tensor:
    """A tensor that carries a tangent; inside of `dual_level`."""
    made: Tensor = forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]
    return made


def undual(tensor: Tensor) -> tuple[Tensor, Tensor | None]:
    """A tensor and the tangent that it carries."""
    primal, tangent = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    return primal, tangent


@functools.cache
def _load_rules() -> None:
    """Have torch load its rules, which it scripts in a way that it deprecates itself."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        dual(torch.zeros(()), torch.zeros(()))
