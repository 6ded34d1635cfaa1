"""The tests that the method's description asks for, and its special layers."""

import math

import pytest
import torch
from torch import Tensor, nn

from initializers import Fans, HeConstant, Ternary


def lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach() for name, p in module.named_parameters() if name.endswith("weight")]


def drawn(initializer: Ternary, module: nn.Module, seed: int = 0) -> Tensor:
    initializer(module, seed=seed)
    return module.weight.detach().double().clone()


@pytest.mark.parametrize("sampling", ["exact", "bernoulli", "exact_row", "exact_rowcol"])
@pytest.mark.parametrize("p0", [0.0, 0.3, 0.9, 0.999])
def test_values_and_counts(p0: float, sampling: str) -> None:
    """Three values; with exact counts the stated number of them, and balanced signs."""
    module = nn.Linear(97, 53)
    weight = drawn(Ternary(p0, sampling=sampling, scale=1.3), module)
    magnitudes = weight.abs().unique()
    assert len(magnitudes[magnitudes > 0]) <= 1
    filled = int(weight.count_nonzero())
    if sampling == "exact":
        assert filled == max(1, math.floor((1 - p0) * weight.numel() + 0.5))
    elif sampling == "bernoulli":
        expected = (1 - p0) * weight.numel()
        assert abs(filled - expected) <= 4 * math.sqrt(p0 * expected) + 1e-9
    else:
        assert set(weight.count_nonzero(1).tolist()) == {max(1, round((1 - p0) * 97))}
    assert abs(float(weight.sign().sum())) <= 1


LAYERS = [
    nn.Linear(784, 300),
    nn.Conv2d(6, 8, 3),
    nn.Conv2d(8, 12, (3, 5), groups=4),
    nn.ConvTranspose2d(6, 8, 4, stride=2),
    nn.Embedding(50, 12),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("p0", [0.0, 0.5, 0.97])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo"])
@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_sum_of_squares_is_exact(layer: nn.Module, p0: float, mode: str, scale: float) -> None:
    for sampling in ("exact", "exact_row"):
        initializer = Ternary(p0, scale=scale, mode=mode, sampling=sampling)
        record = initializer(layer, seed=0).layers[0]
        weight = layer.weight.detach().double()
        fan = Fans(record.fan_in, record.fan_out).of(mode)
        expected = weight.numel() * scale**2 * 2 / fan
        assert float(weight.square().sum()) == pytest.approx(expected, rel=1e-6)
        assert record.effective_gain == pytest.approx(scale, rel=1e-6)


@pytest.mark.parametrize(
    ("twin", "counts"),
    [
        (Ternary.glorot_twin(), [434, 150, 18]),
        (Ternary.he_twin(), [600, 200, 20]),
        (Ternary.lecun_twin(), [300, 100, 10]),
    ],
)
def test_unscaled_counts_of_lenet(twin: Ternary, counts: list[int]) -> None:
    module = lenet()
    record = twin(module, seed=0)
    assert [int(weight.count_nonzero()) for weight in weights(module)] == counts
    for weight in weights(module):
        assert set(weight.unique().tolist()) == {-1.0, 0.0, 1.0}
    if counts[0] == 434:
        total = sum(weight.numel() for weight in weights(module))
        assert total == 266_200
        assert 1 - sum(counts) / total == pytest.approx(0.9977, abs=5e-5)
    assert [layer.zero_fraction for layer in record.layers] == pytest.approx(
        [1 - k / w.numel() for k, w in zip(counts, weights(module), strict=True)], abs=1e-12
    )


@pytest.mark.parametrize("p0", [0.0, 0.5, 0.9])
def test_variance_is_preserved_through_ten_relu_layers(p0: float) -> None:
    """Mean over 20 seeds of |h_L|^2 / |x|^2 within 1 +- 0.2: four standard errors of 0.22."""
    layer, generator = nn.Linear(1024, 1024), torch.Generator().manual_seed(0)
    ratios = []
    for seed in range(20):
        h = x = torch.randn(1024, generator=generator)
        for depth in range(10):
            Ternary(p0)(layer, seed=100 * seed + depth)
            h = torch.relu(layer.weight.detach() @ h)
        ratios.append(float(h.square().sum() / x.square().sum()))
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("p0", [0.0, 0.5, 2 / 3, 0.9, 0.96875])
def test_kurtosis_of_the_pre_activation(p0: float) -> None:
    """kappa_z = 3 + (1/d - 3/n_in) kappa_x for one fixed input x (independent weights)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, generator=generator).relu().double()
    kappa_x = float(x.pow(4).mean() / x.square().mean() ** 2)
    n = 60_000
    weight = drawn(Ternary(p0, sampling="bernoulli", signs="random"), nn.Linear(64, n))
    z = weight @ x
    fourth = z.pow(4)
    measured = float(fourth.mean() / z.square().mean() ** 2)
    degree = 64 * (1 - p0)
    expected = 3 + (1 / degree - 3 / 64) * kappa_x
    # standard error by the delta method from the sample itself
    influence = fourth / z.square().mean() ** 2 - 2 * measured * z.square() / z.square().mean()
    assert abs(measured - expected) <= 3 * float(influence.std()) / math.sqrt(n)


@pytest.mark.parametrize("density", [1 / 256, 2 / 256, 4 / 256])
def test_fraction_of_empty_rows(density: float) -> None:
    module = nn.Linear(256, 4000)
    record = Ternary(density=density, sampling="bernoulli")(module, seed=0).layers[0]
    p = (1 - density) ** 256
    allowed = 3 * math.sqrt(p * (1 - p) / 4000)
    assert record.empty_rows / 4000 == pytest.approx(p, abs=allowed)


@pytest.mark.parametrize(("p0", "expected"), [(0.5, 0.0039), (0.9, 0.0117)])
def test_bernoulli_norm_fluctuates_as_stated(p0: float, expected: float) -> None:
    module, squares = nn.Linear(256, 256), []
    for seed in range(200):
        record = Ternary(p0, sampling="bernoulli")(module, seed=seed).layers[0]
        squares.append(record.std**2)
    norms = torch.tensor(squares, dtype=torch.float64)
    relative = float(norms.std() / norms.mean())
    assert expected == pytest.approx(math.sqrt(p0 / ((1 - p0) * 65536)), rel=0.01)
    assert relative == pytest.approx(expected, rel=0.2)


def test_exact_rows_leave_no_unit_dead() -> None:
    module = lenet()
    for weight, record in zip(
        weights(module), Ternary.he_twin(sampling="exact_row")(module, seed=0).layers, strict=True
    ):
        assert weight.count_nonzero(1).tolist() == [2] * len(weight)
        assert record.empty_rows == 0
    Ternary.he_twin()(module, seed=0)
    empty = sum(int((weight == 0).all(1).sum()) for weight in weights(module))
    assert empty > 20  # 13.5 % of 410 are expected


@pytest.mark.parametrize("sampling", ["exact", "bernoulli", "exact_row", "exact_rowcol"])
def test_depthwise_filters_are_never_empty(sampling: str) -> None:
    module = nn.Conv2d(64, 64, 3, groups=64)
    record = Ternary.he_twin(sampling=sampling)(module, seed=0).layers[0]
    assert module.weight.flatten(1).count_nonzero(1).tolist() == [2] * 64
    assert record.fan_in == record.fan_out == 9
    assert ("sampling exact_row (depthwise)" in record.note) is (sampling != "exact_row")
    assert record.empty_rows == 0


@pytest.mark.parametrize("signs", ["balanced", "random"])
def test_without_zeros_it_is_the_signed_constant(signs: str) -> None:
    for make in (lambda: nn.Linear(784, 300), lambda: nn.Conv2d(3, 5, 3)):
        one, two = make(), make()
        Ternary(0.0, signs=signs)(one, seed=3)
        HeConstant(signs=signs)(two, seed=3)
        assert torch.equal(one.weight, two.weight)


@pytest.mark.parametrize("sampling", ["exact", "bernoulli", "exact_row", "exact_rowcol"])
@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("shape", [(784, 300), (300, 100), (100, 10)])
def test_unscaled_and_scaled_share_their_pattern(
    shape: tuple[int, int], scale: float, sampling: str
) -> None:
    one, two = nn.Linear(*shape), nn.Linear(*shape)
    rho = scale**2 * 2 / shape[0]
    unscaled = drawn(Ternary(unscaled=True, scale=scale, sampling=sampling), one, 5)
    scaled = drawn(Ternary(1 - rho, scale=scale, sampling=sampling), two, 5)
    assert torch.equal(unscaled, scaled.sign())
    if sampling == "exact":  # s differs from 1 by the rounding of the count only
        assert float(scaled.abs().max()) == pytest.approx(
            1.0, abs=1.0 / int(scaled.count_nonzero())
        )


def test_kurtosis_of_the_weights_is_one_over_density() -> None:
    module = nn.Linear(300, 100)
    for density in (1.0, 0.5, 1 / 3, 0.1, 0.01):
        record = Ternary(density=density)(module, seed=0).layers[0]
        assert record.kurtosis == pytest.approx(1 / density, rel=1e-9)
    assert Ternary()(module, seed=0).layers[0].kurtosis == pytest.approx(3.0, rel=1e-9)


def test_degree_is_the_number_of_inputs_in_every_layer() -> None:
    module = lenet()
    record = Ternary(degree=20, sampling="exact_row")(module, seed=0)
    assert [set(w.count_nonzero(1).tolist()) for w in weights(module)] == [{20}] * 3
    assert [layer.note for layer in record.layers] == [""] * 3
    clipped = Ternary(degree=200)(module, seed=0).layers[2]
    assert clipped.zero_fraction == 0.0
    assert clipped.note == "degree 200 clipped to fan_in 100"


def test_degree_counts_the_inputs_that_reach_one_output_value() -> None:
    """Of a transposed convolution's taps only one in stride^2 reaches a given output value."""
    module = nn.ConvTranspose2d(8, 6, 4, stride=2)  # 128 weights per unit, fan_in 32
    Ternary(degree=8, sampling="exact_row")(module, seed=0)
    assert module.weight.transpose(0, 1).flatten(1).count_nonzero(1).tolist() == [32] * 6


def test_clipping_is_never_silent() -> None:
    """A 1x1 convolution on one channel cannot carry a second moment of 2 in +-1."""
    module = nn.Conv2d(1, 6, 1)
    accepted = Ternary.he_twin()(module, seed=0).layers[0]
    assert module.weight.abs().unique().tolist() == [1.0]
    assert accepted.effective_gain == pytest.approx(1 / math.sqrt(2), rel=1e-6)
    assert accepted.note == "density clipped to 1: fan 1 is below 2; effective gain 0.7071"
    scaled = Ternary.he_twin(on_clip="scale")(module, seed=0).layers[0]
    assert module.weight.abs().unique().tolist() == pytest.approx([math.sqrt(2)])
    assert scaled.effective_gain == pytest.approx(1.0, rel=1e-6)
    assert scaled.note == "density clipped to 1: fan 1 is below 2; weights scaled to 1.414"
    edge = Ternary.he_twin()(nn.Linear(2, 3), seed=0).layers[0]
    assert (edge.zero_fraction, edge.note) == (0.0, "")


def test_at_least_one_weight_is_set_and_noted() -> None:
    module = nn.Linear(20, 10)
    record = Ternary(density=0.001)(module, seed=0).layers[0]
    assert int(module.weight.count_nonzero()) == 1
    assert record.note == "density 0.001 rounded to 1 non-zero of 200"
    assert record.effective_gain == pytest.approx(1.0, rel=1e-6)
    twin = Ternary(unscaled=True, scale=0.02)(module, seed=0).layers[0]
    assert twin.effective_gain == pytest.approx(math.sqrt(20 / 200 / 2), rel=1e-6)  # not 0.02
    assert "rounded to 1 non-zero" in twin.note


def test_embeddings() -> None:
    module = nn.Embedding(30, 16)
    record = Ternary.lecun_twin()(module, seed=0).layers[0]
    assert module.weight.abs().unique().tolist() == [1.0]  # fan_in is 1
    assert record.effective_gain == 1.0
    unit = Ternary(density=0.25, scale=3.0, embedding="unit_norm")
    record = unit(module, seed=0).layers[0]
    assert module.weight.count_nonzero(1).tolist() == [4] * 30
    assert torch.allclose(module.weight.norm(dim=1), torch.tensor(3.0))
    assert record.effective_gain == pytest.approx(3.0, rel=1e-6)
    assert record.note == "sampling exact_row (unit-norm rows)"


def test_output_layer() -> None:
    module = lenet()
    Ternary(density=0.5)(module, seed=0)
    plain = [weight.clone() for weight in weights(module)]
    small = Ternary(density=0.5, last="small")(module, seed=0)
    assert torch.equal(weights(module)[0], plain[0])
    assert torch.allclose(weights(module)[2], plain[2] / 10)
    assert small.layers[2].effective_gain == pytest.approx(0.1, rel=1e-6)
    Ternary(density=0.5, last="zero")(module, seed=0)
    assert torch.equal(weights(module)[1], plain[1])
    assert not weights(module)[2].any()


def test_zeros_are_ordinary_trainable_weights() -> None:
    module = nn.Linear(10, 4)
    Ternary(density=0.2)(module, seed=0)
    module(torch.ones(1, 10)).sum().backward()
    assert int(module.weight.grad.count_nonzero()) == 40


def test_large_matrices_have_exact_counts_in_every_dtype() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        module = nn.Linear(700, 500, dtype=dtype)
        record = Ternary(density=0.3)(module, seed=0).layers[0]
        assert record.zero_fraction == 1 - 105_000 / 350_000
        assert abs(float(module.weight.detach().double().sign().sum())) == 0
