"""Optimiser, schedule, smoothing and clipping against closed forms."""

import math

import pytest
import torch
from torch import nn

from lightning_modules import OPTIMIZERS, Optimization
from lightning_modules.optimization import can_fuse


def test_cosine_with_warmup_follows_the_closed_form() -> None:
    recipe = Optimization(schedule="cosine", warmup_epochs=0.5)
    factors = [recipe.factor(step, steps_per_epoch=10, total_steps=30) for step in range(30)]
    assert factors[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert factors[5] == 1.0
    for step in range(5, 30):
        assert factors[step] == pytest.approx(0.5 * (1 + math.cos(math.pi * (step - 5) / 25)))


def test_steps_multiplies_by_gamma_at_each_milestone() -> None:
    recipe = Optimization(schedule="steps", milestones=(2, 4), gamma=0.1)
    factors = [
        recipe.factor(step, steps_per_epoch=5, total_steps=30) for step in (0, 9, 10, 19, 20, 29)
    ]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_fused_or_not_is_one_rule_and_other_devices_do_without() -> None:
    steps = []
    for fused in (True, False):
        weight = nn.Parameter(torch.linspace(-1, 1, 33, dtype=torch.float64))
        optimizer = Optimization(weight_decay=0.1).build_optimizer([weight], fused=fused)
        assert optimizer.defaults["fused"] is fused
        for step in range(4):
            weight.grad = torch.cos(step + weight.detach())
            optimizer.step()
        steps.append(weight.detach())
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-13, atol=1e-14)
    assert can_fuse(["cpu", "cuda"])
    assert not can_fuse(["cpu", "xla"])


def test_scheduler_sets_the_rate_step_by_step() -> None:
    recipe = Optimization(schedule="cosine", lr=0.2)
    optimizer = recipe.build_optimizer(nn.Linear(2, 2).parameters())
    scheduler = recipe.build_scheduler(optimizer, steps_per_epoch=2, total_steps=4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.2, 0.1 * (1 + math.cos(math.pi / 4)), 0.1,
                                   0.1 * (1 + math.cos(3 * math.pi / 4))])  # fmt: skip
    assert Optimization().is_constant
    assert not recipe.is_constant
    assert not Optimization(warmup_epochs=1).is_constant


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_step_equals_the_textbook_update(name: str) -> None:
    weight = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    recipe = Optimization(optimizer=name, lr=0.1, momentum=0.9, weight_decay=0.01)
    optimizer = recipe.build_optimizer([weight])
    gradient = torch.tensor([0.5, 0.25], dtype=torch.float64)
    before = weight.detach().clone()
    weight.grad = gradient.clone()
    optimizer.step()
    decayed = gradient + 0.01 * before
    expected = {
        "sgd": before - 0.1 * decayed,
        # The first Adam step is lr * g / (|g| + eps) after bias correction.
        "adam": before - 0.1 * decayed / (decayed.abs() + 1e-8),
        "adamw": before * (1 - 0.1 * 0.01) - 0.1 * gradient / (gradient.abs() + 1e-8),
        # The averages start at 0 and are not corrected: a tenth or a twentieth of the square.
        "rmsprop": before - 0.1 * decayed / ((0.1 * decayed**2).sqrt() + 1e-7),
        "adadelta": before - 0.1 * decayed * (1e-7 / (0.05 * decayed**2 + 1e-7)) ** 0.5,
    }[name]
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=0)


def test_label_smoothing_is_the_mixture_of_both_losses() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64)
    target = torch.tensor([0])
    logp = torch.log_softmax(logits, dim=1)[0]
    expected = -(0.9 * logp[0] + 0.1 * logp.mean())
    assert Optimization(label_smoothing=0.1).loss(logits, target).item() == pytest.approx(
        expected.item(), rel=1e-12
    )


def test_clip_scales_the_joint_norm() -> None:
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    Optimization(gradient_clip=1.0).clip([a, b])
    assert (a.grad.item(), b.grad.item()) == pytest.approx((0.6, 0.8), rel=1e-5)
    Optimization().clip([a, b])
    assert a.grad.item() == pytest.approx(0.6, rel=1e-5)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (
            {"optimizer": "adm"},
            "optimizer must be one of sgd, adam, adamw, rmsprop, adadelta, got 'adm'",
        ),
        ({"lr": 0.0}, r"lr must be a number in \(0, inf\), got 0.0"),
        ({"lr": math.nan}, "lr must be a number"),
        ({"lr": True}, "lr must be a number"),
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\), got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
        ({"label_smoothing": 1.0}, "label_smoothing must be"),
        ({"gradient_clip": -0.5}, "gradient_clip must be"),
        ({"schedule": "steps"}, "belong together"),
        ({"milestones": (3,)}, "belong together"),
        ({"schedule": "steps", "milestones": (3, 3)}, "increasing epochs"),
        ({"schedule": "steps", "milestones": (0,)}, "increasing epochs"),
    ],
)
def test_values_outside_their_range_are_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Optimization(**values)  # type: ignore[arg-type]


def test_plain_data_round_trip() -> None:
    recipe = Optimization(schedule="steps", milestones=(2, 5), lr=0.3)
    assert Optimization(**recipe.to_dict()) == recipe
