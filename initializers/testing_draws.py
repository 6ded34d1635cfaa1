"""Checks of the random numbers: what the weights depend on, and what they do not."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import torch
from torch import nn

from initializers.base import Initializer
from initializers.testing_modules import (
    apply,
    apply_with,
    assert_refused,
    equal,
    network_for,
    same,
    state_of,
)


def check_same_seed_same_weights(initializer: Initializer) -> None:
    """Equal seeds give bitwise equal weights, whatever the weights were before."""
    first, second = network_for(initializer), network_for(initializer)
    left = {skip.name for skip in apply(initializer, first, 3).skipped}
    for name, parameter in second.named_parameters():
        if name not in left:
            parameter.data.fill_(torch.nan)
    apply(initializer, second, 3)
    assert equal(first, second), f"{initializer}: equal seeds give different weights"


def check_seeds_differ(initializer: Initializer) -> None:
    """Different seeds give different weights, unless the class says ``stochastic = False``."""
    first, second = network_for(initializer), network_for(initializer)
    apply(initializer, first, 0)
    apply(initializer, second, 1)
    assert equal(first, second) is not initializer.stochastic, (
        f"{initializer}: stochastic is {initializer.stochastic}, yet seeds 0 and 1 say otherwise"
    )


def check_seed_or_generator(initializer: Initializer) -> None:
    """Exactly one of seed and generator is accepted, and nothing changes otherwise."""
    generator = torch.Generator().manual_seed(0)
    both: dict[str, Any] = {"seed": 0, "generator": generator}
    for wrong in ({}, both, {"seed": -1}, {"seed": True}):
        assert_refused(initializer, network_for(initializer), wrong)


def check_generator(initializer: Initializer) -> None:
    """A generator in equal state gives equal weights, and moves on by one call."""
    generator = torch.Generator().manual_seed(5)
    weights = [apply_with(initializer, generator) for _ in range(2)]
    again = apply_with(initializer, torch.Generator().manual_seed(5))
    assert same(weights[0], again), f"{initializer}: equal generators give different weights"
    assert same(*weights) is not initializer.stochastic, (
        f"{initializer}: the second call with one generator repeats the first"
    )


def check_global_generators_untouched(initializer: Initializer) -> None:
    """The global generators of torch, NumPy and Python are neither used nor moved."""
    module = network_for(initializer)
    before = _global_states()
    apply(initializer, module, 0)
    assert before == _global_states(), f"{initializer}: moves a global random generator"


def check_added_layer_changes_no_other(initializer: Initializer) -> None:
    """A layer's weights depend on the seed and its own name only (unless ``run`` is overridden)."""
    if type(initializer).run is not Initializer.run:
        return
    one, two = nn.Sequential(), nn.Sequential()
    one.add_module("first", nn.Linear(6, 5))
    two.add_module("first", nn.Linear(6, 5))
    two.add_module("added", nn.Linear(5, 5))
    two.add_module("norm", nn.LayerNorm(5))
    one.add_module("last", nn.Linear(5, 4))
    two.add_module("last", nn.Linear(5, 4))
    apply(initializer, one, 7)
    apply(initializer, two, 7)
    state = two.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, state[name]), f"{initializer}: an added layer changes {name}"


def check_dtypes(initializer: Initializer) -> None:
    """One seed gives the same weights, to rounding, in every floating-point dtype."""
    reference = network_for(initializer).double()
    apply(initializer, reference, 2)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        module = network_for(initializer).to(dtype)
        apply(initializer, module, 2)
        for name, value in state_of(module).items():
            if value.is_floating_point():
                exact = state_of(reference)[name]
                worst = float((value.double() - exact).abs().max())
                allowed = tolerance * max(1e-30, float(exact.abs().max()))
                assert value.dtype == dtype, f"{initializer}: changes the dtype of {name}"
                assert worst <= allowed, f"{initializer}: {name} differs in {dtype} by {worst:g}"


def check_memory_format(initializer: Initializer) -> None:
    """The memory layout does not matter."""
    plain = network_for(initializer)
    last = network_for(initializer).to(memory_format=torch.channels_last)
    apply(initializer, plain, 0)
    apply(initializer, last, 0)
    assert equal(plain, last), f"{initializer}: channels_last gives other weights"


def _global_states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), pickle.dumps(np.random.get_state()), random.getstate()
