"""MetaInit: the gradient quotient in closed form, and its descent along norms alone."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from initializers import GlorotNormal, HeNormal, MetaInit
from initializers.quotient import gradient_quotient
from initializers.testing_modules import labels, state_of


@pytest.mark.parametrize("curvature", [0.0, 0.25, 1.0, 3.0])
def test_the_quotient_of_a_parabola_is_its_curvature(curvature: float) -> None:
    """g = c w and Hg = c^2 w, hence ``|(c - c^2) / c - 1| = c`` for eps to 0; 0 without g."""
    w = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    unused = torch.ones(3, dtype=torch.float64, requires_grad=True)
    loss = curvature * w.square().sum() / 2
    assert float(gradient_quotient(loss, [w], eps=1e-12)) == pytest.approx(
        curvature or 1.0, rel=1e-9
    )
    # a parameter without gradient counts |0 / eps - 1| = 1
    mixed = float(gradient_quotient(loss, [w, unused], eps=1e-12))
    assert mixed == pytest.approx(((curvature or 1.0) + 1.0) / 2, rel=1e-9)


def test_the_regularisation_has_the_sign_of_the_gradient() -> None:
    """A linear loss has H = 0: the quotient is ``|g / (g + eps sgn g) - 1|``."""
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    loss = (w * torch.tensor([0.5, -0.5], dtype=torch.float64)).sum()
    assert float(gradient_quotient(loss, [w], eps=0.1)) == pytest.approx(1 / 6, rel=1e-12)


def tanh_network() -> nn.Sequential:
    widths = (20, 32, 32, 32, 5)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def quotient_of(module: nn.Module) -> float:
    """Mean over 8 batches of Gaussian inputs and random classes."""
    generator = torch.Generator().manual_seed(9)
    values = []
    for _ in range(8):
        x = torch.randn(64, 20, generator=generator)
        y = torch.randint(5, (64,), generator=generator)
        values.append(
            float(gradient_quotient(cross_entropy(module(x), y), list(module.parameters())))
        )
    return sum(values) / len(values)


def test_it_lowers_the_quotient_of_a_bad_start_and_keeps_directions() -> None:
    bad, module = tanh_network(), tanh_network()
    base = GlorotNormal(scale=3.0)
    base(bad, seed=0)
    record = MetaInit(base, steps=200)(module, seed=0, batch=torch.empty(64, 20))
    before, after = quotient_of(bad), quotient_of(module)
    assert after < 0.5 * before
    assert "gradient quotient" in record.layers[0].note
    for name, weight in state_of(module).items():
        start = state_of(bad)[name]
        if name.endswith("weight"):
            assert float(weight.norm()) < float(start.norm())
            torch.testing.assert_close(
                weight / weight.norm(), start / start.norm(), rtol=0, atol=1e-6
            )
        else:
            assert not weight.any()


def test_steps_have_the_stated_lengths() -> None:
    """The first step changes every norm by lr, the second by at most (1 + momentum) lr."""
    start, module = tanh_network(), tanh_network()
    HeNormal()(start, seed=0)
    norms = [float(p.norm()) for p in start.parameters() if p.dim() == 2]
    for steps, allowed in ((1, {0.05}), (2, {0.05 + 0.095, 0.005})):
        MetaInit(steps=steps, lr=0.05)(module, seed=0, batch=torch.empty(16, 20))
        after = [float(p.norm()) for p in module.parameters() if p.dim() == 2]
        for one, two in zip(norms, after, strict=True):
            assert min(abs(abs(two - one) - step) for step in allowed) < 1e-5


def test_no_norm_crosses_zero() -> None:
    """A step larger than the norm leaves a tenth of it, and the signs as they were."""
    start, module = tanh_network(), tanh_network()
    base = HeNormal(scale=0.01)
    base(start, seed=0)
    MetaInit(base, steps=1, lr=50.0)(module, seed=0, batch=torch.empty(16, 20))
    ratios = [
        float((state_of(module)[name] / value).median())
        for name, value in state_of(start).items()
        if name.endswith("weight")
    ]
    assert all(ratio == pytest.approx(0.1, rel=1e-5) or ratio > 1.0 for ratio in ratios)


def test_the_batch_itself_can_be_used() -> None:
    module, other = tanh_network(), tanh_network()
    x = torch.randn(32, 20, generator=torch.Generator().manual_seed(0))
    MetaInit(steps=3, data="batch")(module, seed=0, batch=(x, labels()))
    MetaInit(steps=3, data="batch")(other, seed=0, batch=(100 * x, labels()))
    assert not torch.equal(module[0].weight, other[0].weight)
    with pytest.raises(ValueError, match="needs labelled data"):
        MetaInit(data="batch")(module, seed=0, batch=x)


def test_inputs_that_are_no_numbers_are_refused() -> None:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 5))
    with pytest.raises(ValueError, match="draws Gaussian inputs, which this network does not take"):
        MetaInit(steps=1)(module, seed=0, batch=torch.ones(8, 3, dtype=torch.int64))


def test_attention_has_second_derivatives() -> None:
    module = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(40, 3)
    )
    MetaInit(steps=2)(module, seed=0, batch=torch.empty(4, 5, 8))
