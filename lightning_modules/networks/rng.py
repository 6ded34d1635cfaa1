"""Construction of networks without a random start, apart from the global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from initializers.rehearsal import isolated_generator

CONSTRUCTION_SEED = 0
"""Seed of what other people's networks draw while they are constructed."""


class ZeroStart(TorchFunctionMode):
    """Inside, layers that torch would initialise by a uniform draw start at zero instead.

    Drawing would take most of the time of a small network's construction, and a forgotten
    initialiser would go unnoticed behind weights that look like any others. Constant fills, such
    as those of batch normalisation, are left alone.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the two draws of Linear and convolution layers; let the rest pass."""
        kwargs = kwargs or {}
        if func is torch.nn.init.kaiming_uniform_ or func is torch.nn.init.uniform_:
            return torch.nn.init.zeros_(kwargs["tensor"] if "tensor" in kwargs else args[0])
        return func(*args, **kwargs)


@contextmanager
def isolated_torch_rng() -> Iterator[None]:
    """Seed torch's CPU generator with a constant inside, and restore its state at the end.

    The generators of other devices are neither seeded nor read: `torch.manual_seed` would reset
    them, which is why the CPU generator is addressed alone.
    """
    with isolated_generator(CONSTRUCTION_SEED):
        yield


@contextmanager
def isolated_rng() -> Iterator[None]:
    """Do the same for torch, `random` and NumPy's global generator: for code of other people."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    random.seed(CONSTRUCTION_SEED)
    np.random.seed(CONSTRUCTION_SEED)
    try:
        with isolated_torch_rng():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
