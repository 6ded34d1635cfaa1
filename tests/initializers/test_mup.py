"""muP: the output layer and the learning rates of every width."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from initializers import Fixup, HeNormal, LeCunNormal, MuP, PerLayer
from initializers.testing_modules import state_of
from lightning_modules import Optimization, build_network


def mlp(width: int) -> nn.Sequential:
    layers = [nn.Linear(*pair) for pair in pairwise((20, width, width, 10))]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


@pytest.mark.parametrize("width", [32, 64, 256])
def test_the_output_layer_alone_is_rescaled(width: int) -> None:
    plain, module = mlp(width), mlp(width)
    LeCunNormal()(plain, seed=0)
    record = MuP(base_width=64)(module, seed=0)
    for name, value in state_of(module).items():
        factor = (64 / width) ** 0.5 if name == "4.weight" else 1.0
        torch.testing.assert_close(value, state_of(plain)[name] * factor, rtol=1e-6, atol=0)
    # Var = b / fan_in^2
    assert record.layers[-1].nominal_std == pytest.approx((64 / width**2) ** 0.5)
    MuP(base_width=64, output="zero")(module, seed=0)
    assert not module[4].weight.any()


@pytest.mark.parametrize("width", [32, 64, 256])
def test_rates(width: int) -> None:
    ratio = 64 / width
    rates = MuP(base_width=64).rates(mlp(width), "adam")
    assert rates == {"0.weight": 1.0, "2.weight": ratio, "4.weight": ratio}
    assert MuP(base_width=64).rates(mlp(width), "adamw") == rates
    assert MuP(base_width=64).rates(mlp(width), "sgd") == {
        "0.weight": 1 / ratio,
        "0.bias": 1 / ratio,
        "2.weight": 1.0,
        "2.bias": 1 / ratio,
        "4.weight": ratio,
    }


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_change_of_the_logits_in_one_step_does_not_depend_on_the_width(optimizer: str) -> None:
    """The purpose of the rates; with the textbook's, the change grows with the width."""
    x = torch.randn(64, 20, generator=torch.Generator().manual_seed(0))
    y = torch.arange(64) % 10

    def change(initializer: MuP | HeNormal, width: int) -> float:
        total = 0.0
        for seed in range(3):
            module = mlp(width)
            initializer(module, seed=seed)
            rates = initializer.rates(module, optimizer)
            factors = {module.get_parameter(name): factor for name, factor in rates.items()}
            rule = Optimization(optimizer, lr=1e-4 if optimizer == "adam" else 2e-3)
            steps = rule.build_optimizer(module.parameters(), factors)
            before = module(x).detach()
            for _ in range(2):
                steps.zero_grad()
                nn.functional.cross_entropy(module(x), y).backward()
                steps.step()
            total += float((module(x).detach() - before).square().mean().sqrt())
        return total

    ours = MuP("he_normal", 64)
    assert 0.75 < change(ours, 1600) / change(ours, 800) < 1.25
    assert change(HeNormal(), 1600) / change(HeNormal(), 800) > 1.5


def test_rates_pass_through_wrappers_and_reach_the_optimiser() -> None:
    assert HeNormal().sets_rates() is False
    assert PerLayer("he_normal", {"last": "zeros"}).sets_rates() is False
    nested = PerLayer(MuP(base_width=64), {"last": "zeros"})
    assert nested.sets_rates() is True
    module = mlp(32)
    assert nested.rates(module, "adam") == MuP(base_width=64).rates(module, "adam")
    factors = {module[2].weight: 0.25, module[4].bias: 0.25}
    steps = Optimization(lr=0.1).build_optimizer(module.parameters(), factors)
    rates = {len(group["params"]): group["lr"] for group in steps.param_groups}
    assert rates == {4: pytest.approx(0.1), 2: pytest.approx(0.025)}


def test_fixup_trains_its_scalars_with_a_tenth_of_the_rate() -> None:
    network = build_network("fixup_resnet20", input_shape=(3, 8, 8), num_classes=10)
    rates = Fixup().rates(network, "sgd")
    assert len(rates) == 5 * 9 + 2
    assert set(rates.values()) == {0.1}
    assert all(network.get_parameter(name).numel() == 1 for name in rates)
