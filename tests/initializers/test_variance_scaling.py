import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeConstant,
    HeNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
    Orthogonal,
    Random,
    SparseNormal,
    VarianceScaling,
    draws,
)

TRUNCATED_KURTOSIS = 2.3655367171296486  # of N(0, 1) cut off at two sigmas, by integration
LAYERS = [nn.Linear(300, 200), nn.Conv2d(16, 32, 3), nn.Conv2d(32, 64, 3, groups=4)]


def drawn(initializer: Initializer, module: nn.Module, seed: int = 0) -> Tensor:
    initializer(module, seed=seed)
    return module.weight.detach().double().clone()


@pytest.mark.parametrize("module", LAYERS, ids=["linear", "conv", "grouped"])
@pytest.mark.parametrize(
    ("initializer", "variance", "kurtosis"),
    [
        (GlorotNormal(), lambda i, o: 2 / (i + o), 3.0),
        (GlorotUniform(), lambda i, o: 2 / (i + o), 1.8),
        (HeNormal(), lambda i, o: 2 / i, 3.0),
        (HeUniform(), lambda i, o: 2 / i, 1.8),
        (HeNormal(mode="fan_out"), lambda i, o: 2 / o, 3.0),
        (HeNormal(gain="tanh", scale=2.0), lambda i, o: 4 * 25 / 9 / i, 3.0),
        (HeConstant(), lambda i, o: 2 / i, 1.0),
        (LeCunNormal(), lambda i, o: 1 / i, 3.0),
        (LeCunUniform(scale=0.5), lambda i, o: 0.25 / i, 1.8),
        (VarianceScaling(mode="fan_geo"), lambda i, o: 1 / math.sqrt(i * o), 3.0),
        (
            VarianceScaling(distribution="truncated_normal", gain=3.0),
            lambda i, o: 9 / i,
            TRUNCATED_KURTOSIS,
        ),
        (VarianceScaling(distribution="constant_sign", scale=3), lambda i, o: 9 / i, 1.0),
        (Random(0.02), lambda i, o: 4e-4, 3.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, Initializer) else "",
)
def test_moments(
    initializer: Initializer, variance: object, kurtosis: float, module: nn.Module
) -> None:
    if isinstance(module, nn.Linear):
        fan_in, fan_out = 300, 200
    else:
        fan_in = module.in_channels // module.groups * 9
        fan_out = module.out_channels // module.groups * 9
    expected = variance(fan_in, fan_out)  # type: ignore[operator]
    weight = drawn(initializer, module)
    n = weight.numel()
    second = float(weight.square().mean())
    allowed = 3 * math.sqrt((kurtosis - 1) / n) + 1e-6
    assert second / expected == pytest.approx(1.0, abs=allowed)
    assert abs(float(weight.mean())) <= 4 * math.sqrt(expected / n)
    measured = float(weight.pow(4).mean()) / second**2
    assert measured == pytest.approx(kurtosis, abs=4 * math.sqrt(96 / n) + 1e-6)
    record = initializer(module, seed=0).layers[0]
    assert record.nominal_std == pytest.approx(math.sqrt(expected), rel=1e-12)
    assert record.kurtosis == pytest.approx(measured, rel=1e-9)
    assert record.std == pytest.approx(math.sqrt(second), rel=1e-9)


@pytest.mark.parametrize(
    ("initializer", "law"),
    [
        (LeCunNormal(), stats.norm(scale=0.05)),
        (LeCunUniform(), stats.uniform(-0.05 * 3**0.5, 0.1 * 3**0.5)),
        (
            VarianceScaling(distribution="truncated_normal"),
            stats.truncnorm(-2, 2, scale=0.05 / 0.8796256610342398),
        ),
    ],
    ids=["lecun_normal", "lecun_uniform", "truncated_normal"],
)
def test_laws_by_kolmogorov_and_smirnov(initializer: Initializer, law: object) -> None:
    weight = drawn(initializer, nn.Linear(400, 100)).flatten().numpy()
    assert stats.kstest(weight, law.cdf).pvalue > 1e-3  # type: ignore[attr-defined]


def test_bounds_are_respected_and_nearly_reached() -> None:
    for initializer, bound in (
        (GlorotUniform(), math.sqrt(6 / 500)),
        (HeUniform(), math.sqrt(6 / 300)),
        (LeCunUniform(), math.sqrt(3 / 300)),
        (VarianceScaling(distribution="truncated_normal"), 2 / math.sqrt(300) / 0.8796256610342398),
    ):
        largest = float(drawn(initializer, nn.Linear(300, 200)).abs().max())
        assert 0.999 * bound < largest <= bound


def test_uniform_draws_lie_symmetrically_and_never_on_the_bound() -> None:
    """In units of 2**-24 of the bound every draw is an odd integer."""
    weight = torch.empty(500, 400, dtype=torch.float64)
    draws.fill_uniform(weight, 1 / math.sqrt(3), torch.Generator().manual_seed(0))
    steps = (weight * 2**24).round().long()
    assert torch.allclose(weight * 2**24, steps.double(), rtol=0.0, atol=1e-6)
    assert bool((steps % 2 == 1).all())
    assert int(steps.abs().max()) < 2**24


def test_double_precision_weights_carry_the_same_draws() -> None:
    single, double = nn.Linear(30, 20), nn.Linear(30, 20).double()
    HeNormal()(single, seed=0)
    HeNormal()(double, seed=0)
    assert torch.allclose(single.weight.double(), double.weight, rtol=3e-7, atol=0.0)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
@pytest.mark.parametrize("gain", [1.0, "relu"])
def test_orthogonal(shape: tuple[int, int], gain: float | str) -> None:
    module = nn.Linear(shape[1], shape[0])
    initializer = Orthogonal(gain=gain, scale=0.5)
    weight = drawn(initializer, module)
    square = (0.5 if gain == 1.0 else 0.5 * 2**0.5) ** 2
    gram = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    assert torch.allclose(gram, square * torch.eye(min(shape)).double(), atol=1e-5)
    record = initializer(module, seed=0).layers[0]
    assert record.std == pytest.approx(record.nominal_std, rel=1e-6)
    assert record.effective_gain == pytest.approx(0.5, rel=1e-6)


def test_orthogonal_kernels_group_by_group_and_uniform_signs() -> None:
    module = nn.Conv2d(8, 12, 3, groups=2)
    for group in drawn(Orthogonal(), module).flatten(1).chunk(2):
        assert torch.allclose(group @ group.T, torch.eye(6).double(), atol=1e-5)
    # without the correction of signs, QR makes R's diagonal, hence the mean of Q's, one-sided
    positive = sum(
        float(drawn(Orthogonal(), nn.Linear(2, 2), seed)[0, 0]) > 0 for seed in range(400)
    )
    assert abs(positive - 200) <= 4 * 10


def test_sparse_rows() -> None:
    module = nn.Linear(400, 300)
    initializer = SparseNormal(std=0.5)
    weight = drawn(initializer, module)
    assert weight.count_nonzero(1).tolist() == [15] * 300
    values = weight[weight != 0]
    assert stats.kstest(values.numpy(), stats.norm(scale=0.5).cdf).pvalue > 1e-3
    record = initializer(module, seed=0).layers[0]
    assert record.nominal_std == pytest.approx(0.5 * math.sqrt(15 / 400), rel=1e-12)
    assert record.zero_fraction == pytest.approx(1 - 15 / 400, abs=1e-12)
    clipped = initializer(nn.Linear(6, 4), seed=0).layers[0]
    assert clipped.zero_fraction == 0.0
    assert clipped.note == "degree 15 clipped to 6 weights per unit"


def test_constant_keeps_hidden_units_identical_while_training() -> None:
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    x, y = torch.randn(32, 6, generator=generator), torch.arange(32) % 3
    for initializer, identical in ((Constant(), True), (Random(0.1), False)):
        initializer(module, seed=0)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
        hidden = module[0].weight.detach()
        assert (float((hidden - hidden[0]).abs().max()) < 1e-6) is identical
