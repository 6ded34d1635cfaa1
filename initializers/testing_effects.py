"""Checks of what a call does to a module, and of what its record says of that."""

from __future__ import annotations

import json

import torch
from torch import nn

from initializers.base import Initializer
from initializers.layers import plan_module
from initializers.reparametrised import plain_name
from initializers.testing_modules import (
    Zoo,
    apply,
    apply_or_refuse,
    assert_refused,
    network_for,
    state_of,
)


def check_accounts_for_every_parameter(initializer: Initializer) -> None:
    """Each parameter is set and recorded, or listed as skipped with a reason and unchanged."""
    zoo = Zoo()
    before = state_of(zoo)
    record = apply_or_refuse(initializer, zoo)
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
    record = apply_or_refuse(initializer, zoo)
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
    apply(initializer, module, 0)
    after = [(id(p), p.data_ptr(), p.requires_grad, p.is_leaf) for p in module.parameters()]
    assert before == after, f"{initializer}: replaces parameters or changes requires_grad"
    assert not torch.equal(state["0.weight"], state_of(module)["0.weight"]), (
        f"{initializer}: leaves a frozen parameter unset"
    )
    assert last.grad is gradient, f"{initializer}: replaces a gradient"
    assert bool(gradient.eq(1.0).all()), f"{initializer}: changes a gradient"
    assert not any(m.training for m in module.modules()), f"{initializer}: leaves training mode on"


def check_refuses_before_changing(initializer: Initializer) -> None:
    """A module it cannot handle raises ValueError and stays as it was."""
    lazy = nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2))
    meta = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, device="meta"))
    for module in (lazy, meta):
        assert_refused(initializer, module, {"seed": 0})


def check_record(initializer: Initializer) -> None:
    """The record is plain data, and its numbers are those of the weights."""
    module = network_for(initializer)
    record = apply(initializer, module, 4)
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
