"""GradInit: one factor per weight, moved as the derivative of its aim says."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from initializers import GradInit, HeNormal, InitRecord
from initializers.testing_modules import batch, labels, network, state_of

WEIGHTS = ("0.weight", "2.weight", "4.weight")


def mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5)
    )


def data(count: int = 96) -> tuple[Tensor, Tensor]:
    """Five Gaussian clouds."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 5
    centres = 2.0 * torch.randn(5, 12, generator=generator)
    return centres[y] + torch.randn(count, 12, generator=generator), y


def factors(initializer: GradInit) -> list[float]:
    """The factor of every weight; each weight is the base's times one number."""
    start, module = mlp(), mlp()
    initializer.base(start, seed=0)
    initializer(module, seed=0, batch=data())
    found = []
    for name in WEIGHTS:
        ratio = state_of(module)[name] / state_of(start)[name]
        assert float(ratio.std()) < 1e-5 * float(ratio.mean())
        found.append(float(ratio.mean()))
    return found


def gradient_norm(module: nn.Module, order: float) -> float:
    x, y = data()
    loss = cross_entropy(module(x), y)
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    return float(torch.cat([g.flatten() for g in gradients]).norm(order))


@pytest.mark.parametrize(("optimizer", "order"), [("sgd", 2.0), ("adam", 1.0)])
def test_a_first_step_of_adam_goes_down_the_norm_of_too_large_a_gradient(
    optimizer: str, order: float
) -> None:
    """Adam's first step is lr in size; finite differences tell its direction."""
    found = factors(GradInit(HeNormal(3.0), steps=1, lr=0.05, optimizer=optimizer, limit=1e-3))
    for name, factor in zip(WEIGHTS, found, strict=True):
        norms = []
        for shift in (-1e-2, 1e-2):
            module = mlp()
            HeNormal(3.0)(module, seed=0)
            module.get_parameter(name).data.mul_(1.0 + shift)
            norms.append(gradient_norm(module, order))
        assert factor == pytest.approx(0.95 if norms[1] > norms[0] else 1.05, rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_within_the_limit_it_lowers_the_loss_after_a_step(optimizer: str) -> None:
    def loss_after_step(module: nn.Module) -> float:
        x, y = data()
        parameters = list(module.parameters())
        gradients = torch.autograd.grad(cross_entropy(module(x), y), parameters)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p.sub_(eta * (g.sign() if optimizer == "adam" else g / norm))
            return float(cross_entropy(module(x), y))

    eta = 0.1 if optimizer == "sgd" else 0.01
    start, module = mlp(), mlp()
    HeNormal()(start, seed=0)
    chosen = GradInit(steps=60, lr=0.03, optimizer=optimizer, eta=eta, limit=1e3)
    record = chosen(module, seed=0, batch=data())
    assert loss_after_step(module) < 0.8 * loss_after_step(start)
    assert all("scaled by" in layer.note for layer in record.layers)


def test_a_factor_stays_above_the_floor() -> None:
    found = factors(GradInit(HeNormal(3.0), steps=1, lr=5.0, limit=1e-3, floor=0.02))
    assert all(min(abs(f - 0.02), abs(f - 6.0)) < 1e-3 for f in found)
    assert min(found) == pytest.approx(0.02, rel=1e-4)


def test_norm_layers_and_biases_stay_as_they_were() -> None:
    module = network()
    record: InitRecord = GradInit(steps=3)(module, seed=0, batch=(batch(), labels()))
    state = state_of(module)
    assert state["1.weight"].eq(1.0).all()
    assert state["1.running_var"].eq(1.0).all()
    assert all(not state[name].any() for name in record.biases)
