"""Derivatives in forward mode."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.autograd import forward_ad


@contextmanager
def dual_level() -> Iterator[None]:
    """Inside, `torch.autograd.forward_ad` works, and autograd keeps no graph."""
    _load_rules()
    with torch.no_grad(), forward_ad.dual_level():
        yield


@functools.cache
def _load_rules() -> None:
    """Have torch load its rules, which it scripts in a way that it deprecates itself."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))
