"""The contract that every initialiser keeps, as checks to run over your own.

>>> from initializers import Ternary
>>> check_initializer(Ternary(density=0.1))

In a pytest suite, one test per check::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyInitializer(scale=2.0))

Every check takes an initialiser and raises AssertionError with a sentence that says what is broken.
A class with ``stochastic = False`` may give the same weights for two seeds; one that overrides
``run`` may let layers depend on one another; one that overrides ``fill_bias`` may set biases. An
initialiser may refuse a module with ValueError, as long as it does so before it changes anything.
One that needs a topology is tried on a network with residual blocks and self-attention.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import initializers
from initializers.base import Initializer
from initializers.layers import plan_module
from initializers.record import InitRecord
from initializers.reparametrised import plain_name
from initializers.testing_modules import Zoo, batch, equal, labels, network_for, same, state_of
from initializers.testing_modules import network as network

Check = Callable[[Initializer], None]


def check_initializer(initializer: Initializer) -> None:
    """Run every check of ``CHECKS``.

    Raises:
        AssertionError: If one fails, with its reason.
    """
    for check in CHECKS:
        check(initializer)


def check_same_seed_same_weights(initializer: Initializer) -> None:
    """Equal seeds give bitwise equal weights, whatever the weights were before."""
    first, second = network_for(initializer), network_for(initializer)
    left = {skip.name for skip in _apply(initializer, first, 3).skipped}
    for name, parameter in second.named_parameters():
        if name not in left:
            parameter.data.fill_(torch.nan)
    _apply(initializer, second, 3)
    assert equal(first, second), f"{initializer}: equal seeds give different weights"


def check_seeds_differ(initializer: Initializer) -> None:
    """Different seeds give different weights, unless the class says ``stochastic = False``."""
    first, second = network_for(initializer), network_for(initializer)
    _apply(initializer, first, 0)
    _apply(initializer, second, 1)
    assert equal(first, second) is not initializer.stochastic, (
        f"{initializer}: stochastic is {initializer.stochastic}, yet seeds 0 and 1 say otherwise"
    )


def check_seed_or_generator(initializer: Initializer) -> None:
    """Exactly one of seed and generator is accepted, and nothing changes otherwise."""
    generator = torch.Generator().manual_seed(0)
    both: dict[str, Any] = {"seed": 0, "generator": generator}
    for wrong in ({}, both, {"seed": -1}, {"seed": True}):
        _assert_refused(initializer, network_for(initializer), wrong)


def check_generator(initializer: Initializer) -> None:
    """A generator in equal state gives equal weights, and moves on by one call."""
    generator = torch.Generator().manual_seed(5)
    weights = [_apply_with(initializer, generator) for _ in range(2)]
    again = _apply_with(initializer, torch.Generator().manual_seed(5))
    assert same(weights[0], again), f"{initializer}: equal generators give different weights"
    assert same(*weights) is not initializer.stochastic, (
        f"{initializer}: the second call with one generator repeats the first"
    )


def check_global_generators_untouched(initializer: Initializer) -> None:
    """The global generators of torch, NumPy and Python are neither used nor moved."""
    module = network_for(initializer)
    before = _global_states()
    _apply(initializer, module, 0)
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
    _apply(initializer, one, 7)
    _apply(initializer, two, 7)
    state = two.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, state[name]), f"{initializer}: an added layer changes {name}"


def check_accounts_for_every_parameter(initializer: Initializer) -> None:
    """Each parameter is set and recorded, or listed as skipped with a reason and unchanged."""
    zoo = Zoo()
    before = state_of(zoo)
    record = _apply_or_refuse(initializer, zoo)
    if record is None:
        return
    told = [layer.name.partition("[")[0] for layer in record.layers]
    told += [*record.biases, *record.norms, *(skip.name for skip in record.skipped)]
    names = [name for name, _ in zoo.named_parameters()]
    missing = {name for name in names if not {name, plain_name(name)} & set(told)}
    assert not missing, f"{initializer}: the record says nothing about {sorted(missing)}"
    for skip in record.skipped:
        kept = torch.equal(before[skip.name], state_of(zoo)[skip.name])
        assert kept, f"{initializer}: {skip.name} is skipped, yet changed"
        assert skip.reason, f"{initializer}: {skip.name} is skipped without a reason"
    for name, value in state_of(zoo).items():
        assert bool(torch.isfinite(value).all()), f"{initializer}: {name} is not finite"


def check_biases_and_norms(initializer: Initializer) -> None:
    """Biases are 0, norm layers the identity, padding rows 0."""
    zoo = Zoo()
    for parameter in zoo.parameters():
        parameter.data.fill_(3.0)
    zoo.batch_norm_variance().fill_(9.0)
    record = _apply_or_refuse(initializer, zoo)
    if record is None:
        return
    state = state_of(zoo)
    for name in record.norms:
        identity = float(name.endswith("weight"))
        assert bool(state[name].eq(identity).all()), f"{initializer}: {name} is not {identity}"
    assert bool(zoo.batch_norm_variance().eq(1.0).all()), f"{initializer}: running_var is not 1"
    assert not state["embedding.weight"][2].any(), f"{initializer}: the padding row is not 0"
    if type(initializer).fill_bias is Initializer.fill_bias:
        for name in record.biases:
            assert not state[name].any(), f"{initializer}: bias {name} is not 0"


def check_module_is_left_alone(initializer: Initializer) -> None:
    """Parameters stay the same objects in the same memory; flags, gradients and mode are kept."""
    module = network_for(initializer).eval()
    first, *_, last, _ = module.parameters()
    first.requires_grad_(False)
    last.grad = gradient = torch.ones_like(last)
    before = [(id(p), p.data_ptr(), p.requires_grad, p.is_leaf) for p in module.parameters()]
    state = state_of(module)
    _apply(initializer, module, 0)
    after = [(id(p), p.data_ptr(), p.requires_grad, p.is_leaf) for p in module.parameters()]
    assert before == after, f"{initializer}: replaces parameters or changes requires_grad"
    assert not torch.equal(state["0.weight"], state_of(module)["0.weight"]), (
        f"{initializer}: leaves a frozen parameter unset"
    )
    assert last.grad is gradient, f"{initializer}: replaces a gradient"
    assert bool(gradient.eq(1.0).all()), f"{initializer}: changes a gradient"
    assert not any(m.training for m in module.modules()), f"{initializer}: leaves training mode on"


def check_dtypes(initializer: Initializer) -> None:
    """One seed gives the same weights, to rounding, in every floating-point dtype."""
    reference = network_for(initializer).double()
    _apply(initializer, reference, 2)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        module = network_for(initializer).to(dtype)
        _apply(initializer, module, 2)
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
    _apply(initializer, plain, 0)
    _apply(initializer, last, 0)
    assert equal(plain, last), f"{initializer}: channels_last gives other weights"


def check_refuses_before_changing(initializer: Initializer) -> None:
    """A module it cannot handle raises ValueError and stays as it was."""
    lazy = nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2))
    meta = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, device="meta"))
    for module in (lazy, meta):
        _assert_refused(initializer, module, {"seed": 0})


def check_record(initializer: Initializer) -> None:
    """The record is plain data, and its numbers are those of the weights."""
    module = network_for(initializer)
    record = _apply(initializer, module, 4)
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert json.loads(text) == record.to_dict(), f"{initializer}: the record is not plain data"
    weights = {weight.name: weight.read().double() for weight in plan_module(module).weights}
    for layer in record.layers:
        weight = weights[layer.name]
        rms = float(weight.square().mean().sqrt())
        zeros = float((weight == 0).double().mean())
        empty = int((weight.flatten(1) == 0).all(1).sum())
        assert abs(layer.std - rms) <= 1e-9 * rms, f"{initializer}: std of {layer.name} is {rms}"
        assert abs(layer.zero_fraction - zeros) < 1e-12, f"{initializer}: zeros of {layer.name}"
        assert layer.empty_rows == empty, f"{initializer}: empty rows of {layer.name}"


def check_is_a_value(initializer: Initializer) -> None:
    """It is immutable, hashable, and equal to its copies."""
    for twin in (
        copy.deepcopy(initializer),
        dataclasses.replace(initializer),
        pickle.loads(pickle.dumps(initializer)),
    ):
        assert twin == initializer, f"{initializer}: a copy is not equal to it"
        assert hash(twin) == hash(initializer), f"{initializer}: a copy has another hash"
    assert initializer != object(), f"{initializer}: equals anything"
    for field in dataclasses.fields(initializer):
        try:
            setattr(initializer, field.name, None)
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(f"{initializer}: field {field.name} can be set; use frozen=True")


def check_serialises(initializer: Initializer) -> None:
    """``repr``, ``to_dict`` and JSON lead back to an equal initialiser."""
    names = {**vars(initializers), type(initializer).__name__: type(initializer)}
    assert eval(repr(initializer), names) == initializer, f"{initializer}: repr does not rebuild it"
    data = json.loads(json.dumps(initializer.to_dict(), allow_nan=False))
    for twin in (Initializer.from_dict(data), initializers.get_initializer(data)):
        assert twin == initializer, f"{initializer}: to_dict gives {data}, which builds {twin}"


CHECKS: tuple[Check, ...] = (
    check_same_seed_same_weights,
    check_seeds_differ,
    check_seed_or_generator,
    check_generator,
    check_global_generators_untouched,
    check_added_layer_changes_no_other,
    check_accounts_for_every_parameter,
    check_biases_and_norms,
    check_module_is_left_alone,
    check_dtypes,
    check_memory_format,
    check_refuses_before_changing,
    check_record,
    check_is_a_value,
    check_serialises,
)


def _global_states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), pickle.dumps(np.random.get_state()), random.getstate()


def _apply(initializer: Initializer, module: nn.Module, seed: int) -> InitRecord:
    dtype = next(module.parameters()).dtype
    return initializer(module, seed=seed, batch=(batch().to(dtype), labels()))


def _apply_with(initializer: Initializer, generator: torch.Generator) -> dict[str, Tensor]:
    module = network_for(initializer)
    initializer(module, generator=generator, batch=(batch(), labels()))
    return state_of(module)


def _apply_or_refuse(initializer: Initializer, zoo: Zoo) -> InitRecord | None:
    before = state_of(zoo)
    try:
        return _apply(initializer, zoo, 0)
    except ValueError:
        assert same(before, state_of(zoo)), f"{initializer}: changes a module that it refuses"
        return None


def _assert_refused(initializer: Initializer, module: nn.Module, arguments: dict[str, Any]) -> None:
    before = state_of(module)
    try:
        initializer(module, batch=(batch(), labels()), **arguments)
    except (TypeError, ValueError):
        assert same(before, state_of(module)), f"{initializer}: changes a module before it refuses"
        return
    raise AssertionError(f"{initializer}: accepts {arguments or 'neither seed nor generator'}")
