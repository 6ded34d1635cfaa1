"""The presets of Patel et al. 2019 and of the blog, and what their texts say of them."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from initializers import Constant, HeNormal, LeCunNormal, Random, Zeros, get_initializer


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("patel_random", lambda i, o: 0.01),
        ("patel_xavier", lambda i, o: math.sqrt(1 / i)),
        ("patel_he", lambda i, o: math.sqrt(2 / i)),
        ("blog_random", lambda i, o: 1.0),
        ("blog_random:std=0.5", lambda i, o: 0.5),
        ("blog_xavier", lambda i, o: math.sqrt(1 / i)),
        ("blog_xavier_both", lambda i, o: math.sqrt(2 / (i + o))),
        ("blog_he", lambda i, o: math.sqrt(2 / i)),
    ],
)
@pytest.mark.parametrize("layer", [nn.Linear(400, 200), nn.Conv2d(16, 32, 5)])
def test_deviations_within_three_standard_errors(name: str, std: object, layer: nn.Module) -> None:
    get_initializer(name)(layer, seed=0)
    weight = layer.weight.detach().double()  # type: ignore[union-attr, operator]
    taps = math.prod(weight.shape[2:])
    expected = std(weight.shape[1] * taps, weight.shape[0] * taps)  # type: ignore[operator]
    measured = float(weight.square().mean().sqrt())
    assert measured == pytest.approx(expected, rel=3 / math.sqrt(2 * weight.numel()))


def test_presets_are_the_catalogues_own_values() -> None:
    """So runs of a preset and of what it stands for have one key."""
    assert get_initializer("patel_zero") == Zeros() == get_initializer("blog_zero")
    assert get_initializer("patel_random") == Random(0.01)
    assert get_initializer("patel_xavier").to_dict() == {"name": "lecun_normal"}
    assert get_initializer("patel_he") == HeNormal() == get_initializer("blog_he")
    assert get_initializer("blog_xavier") == LeCunNormal()


def mlp(initializer: object) -> nn.Sequential:
    module = nn.Sequential(
        nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)
    )
    get_initializer(initializer)(module, seed=0)  # type: ignore[arg-type]
    return module


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 12, generator=generator)
    return x, torch.randint(4, (40,), generator=generator)


def train(module: nn.Sequential, steps: int = 20) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    x, y = data()
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(module(x), y).backward()
        optimizer.step()


def test_a_zero_network_trains_its_output_bias_alone() -> None:
    module = mlp("patel_zero")
    x, y = data()
    logits = module(x)
    assert logits.unique(dim=0).shape[0] == 1
    cross_entropy(logits, y).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.any()) is (name == "4.bias")
    train(module)
    for name, parameter in module.named_parameters():
        assert bool(parameter.any()) is (name == "4.bias")
    assert module(x).unique(dim=0).shape[0] == 1


def test_equal_weights_stay_equal_and_random_ones_differ() -> None:
    spreads = []
    for initializer in (Constant(0.1), Random(0.1)):
        module = mlp(initializer)
        before = module[0].weight.detach().clone()
        train(module)
        weight = module[0].weight.detach()
        assert not torch.equal(weight, before)
        spreads.append(float((weight - weight[0]).abs().max()))
    assert spreads[0] < 1e-6
    assert spreads[1] > 0.1
