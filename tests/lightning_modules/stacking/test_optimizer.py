"""The stacked optimiser against PyTorch's, member by member in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules import Optimization
from lightning_modules.stacking import StackedOptimizer, clip_each_

SHAPES = ((16,), (48,), (2, 8))
RATES = (0.1, 0.1, 0.003, 0.2)


def rows(seed: int, members: int = len(RATES)) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [
        nn.Parameter(torch.randn(members, *shape, generator=generator, dtype=torch.float64))
        for shape in SHAPES
    ]


def member(parameters: list[nn.Parameter], row: int) -> list[nn.Parameter]:
    return [nn.Parameter(parameter[row].detach().clone()) for parameter in parameters]


def set_gradients(parameters: list[nn.Parameter], seed: int) -> list[Tensor]:
    gradients = [values.detach() for values in rows(seed)]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    return gradients


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


RULES: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.0},
    {"optimizer": "sgd", "weight_decay": 0.1},
    {"optimizer": "adam"},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1},
]


FUSED = pytest.mark.parametrize("fused", [True, False], ids=["fused", "by parts"])


@FUSED
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("rates", [RATES, (0.05,) * 4], ids=["own rates", "one rate"])
def test_every_member_is_updated_as_by_pytorch(
    rule: dict[str, Any], rates: tuple[float, ...], fused: bool
) -> None:
    stack = rows(0)
    lone = [member(stack, row) for row in range(len(rates))]
    optimizer = StackedOptimizer(stack, rates, Optimization(**rule), fused=fused)
    references = [
        Optimization(**rule, lr=rate).build_optimizer(parameters, fused=fused)
        for rate, parameters in zip(rates, lone, strict=True)
    ]
    for step in range(1, 6):
        factor = 1.0 / step  # as a schedule sets it
        gradients = set_gradients(stack, step)
        optimizer.param_groups[0]["lr"] = factor
        optimizer.step()
        for row, reference in enumerate(references):
            for parameter, gradient in zip(lone[row], gradients, strict=True):
                parameter.grad = gradient[row].clone()
            reference.param_groups[0]["lr"] = rates[row] * factor
            reference.step()
    for row, parameters in enumerate(lone):
        for ours, theirs in zip(stack, parameters, strict=True):
            close(ours[row], theirs)


@FUSED
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_rest_goes_on_to_the_bit_when_members_go(rule: dict[str, Any], fused: bool) -> None:
    kept = [3, 1]
    whole, part = rows(0), [nn.Parameter(p.detach()[kept]) for p in rows(0)]
    optimizers = [
        StackedOptimizer(whole, RATES, Optimization(**rule), fused=fused),
        StackedOptimizer(part, [RATES[row] for row in kept], Optimization(**rule), fused=fused),
    ]
    for step in range(4):
        if step == 2:
            optimizers[0].keep(kept)
            for parameter in whole:
                parameter.data = parameter.data[kept]
        for parameters, optimizer in zip((whole, part), optimizers, strict=True):
            for parameter, gradient in zip(parameters, rows(step + 1), strict=True):
                parameter.grad = (
                    gradient.detach().clone()
                    if len(parameter) == len(RATES)
                    else gradient.detach()[kept]
                )
            optimizer.step()
    assert optimizers[0].rates == [0.2, 0.1]
    assert all(torch.equal(a, b) for a, b in zip(whole, part, strict=True))


def test_parameters_without_gradient_or_frozen_are_left_alone() -> None:
    stack = rows(0)
    stack[1].requires_grad_(False)
    before = [parameter.detach().clone() for parameter in stack]
    optimizer = StackedOptimizer(stack, RATES, Optimization("adamw", weight_decay=0.1))
    stack[2].grad = torch.ones_like(stack[2])
    optimizer.step()
    changed = [not torch.equal(a, b) for a, b in zip(stack, before, strict=True)]
    assert changed == [False, False, True]


@FUSED
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_state_survives_saving(rule: dict[str, Any], fused: bool, tmp_path: Any) -> None:
    one, other = rows(0), rows(0)
    first = StackedOptimizer(one, RATES, Optimization(**rule), fused=fused)
    for step in (1, 2):
        set_gradients(one, step)
        first.step()
        if step == 1:
            torch.save([first.state_dict(), one], tmp_path / "state.pt")
    saved, weights = torch.load(tmp_path / "state.pt")
    second = StackedOptimizer(other, RATES, Optimization(**rule), fused=fused)
    second.load_state_dict(saved)
    for parameter, weight in zip(other, weights, strict=True):
        parameter.data.copy_(weight)
    set_gradients(other, 2)
    second.step()
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("largest", [0.5, 9.0, 1e6])
def test_each_member_is_clipped_as_by_pytorch(largest: float) -> None:
    stack = rows(0)
    lone = [member(stack, row) for row in range(len(RATES))]
    gradients = set_gradients(stack, 1)
    for row, scale in enumerate((0.01, 1.0, 3.0, 100.0)):
        for index, gradient in enumerate(gradients):
            stack[index].grad[row] *= scale  # type: ignore[index]
            lone[row][index].grad = gradient[row] * scale
    stack.append(nn.Parameter(torch.zeros(4, 16)))  # without gradient
    clip_each_(stack, largest)
    for row, parameters in enumerate(lone):
        torch.nn.utils.clip_grad_norm_(parameters, largest)
        for ours, theirs in zip(stack, parameters, strict=False):
            assert ours.grad is not None
            assert theirs.grad is not None
            close(ours.grad[row], theirs.grad)


@pytest.mark.parametrize("name", ["rmsprop", "adadelta"])
def test_other_optimisers_have_no_stacked_form(name: str) -> None:
    with pytest.raises(ValueError, match=f"the optimiser {name} has no stacked form"):
        StackedOptimizer(rows(0), RATES, Optimization(name))
