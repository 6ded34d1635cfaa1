"""Maps of ordinary layers: tables, closed forms, and random networks."""

import math

import pytest
import torch
from torch import Tensor, nn

from initializers.theory import (
    TRAINABLE_DEPTH,
    Maps,
    depth_scale,
    edge_of_chaos,
    gain,
    mean_field,
    second_moment,
)

EDGE = {  # tanh: q*, sigma_w^2, sigma_b^2
    0.01: (1.01971, 1e-6),
    0.05: (1.09363, 0.000128),
    0.1: (1.17757, 0.000832),
    0.2: (1.32641, 0.004776),
    0.5: (1.68798, 0.038041),
    1.0: (2.15330, 0.150965),
    1.5: (2.53248, 0.314069),
    2.0: (2.86116, 0.512265),
}
RELU_CORRELATIONS = {1: 0.318, 2: 0.494, 5: 0.736, 10: 0.872, 20: 0.948, 50: 0.988}


def relu_correlation(c: float) -> float:
    return (math.sqrt(max(0.0, 1 - c * c)) + c * (math.pi - math.acos(c))) / math.pi


def test_edge_of_chaos_of_tanh() -> None:
    q = torch.tensor(list(EDGE), dtype=torch.float64)
    edge = edge_of_chaos("tanh", q)
    expected = torch.tensor(list(EDGE.values()), dtype=torch.float64)
    torch.testing.assert_close(edge.sigma_w2, expected[:, 0], rtol=0, atol=5.1e-6)
    torch.testing.assert_close(edge.sigma_b2, expected[:, 1], rtol=0, atol=5.1e-7)
    for fixed, w, b in zip(*(part.tolist() for part in edge), strict=True):
        maps = mean_field("tanh", w, b)
        assert maps.chi(fixed) == pytest.approx(1.0, abs=1e-12)
        assert maps.fixed_variance() == pytest.approx(fixed, rel=1e-9)
        assert maps.fixed_variance(1e-3) == pytest.approx(fixed, rel=1e-9)
        assert maps.fixed_correlation(fixed) == pytest.approx(1.0, abs=1e-6)


def test_edge_of_chaos_of_others() -> None:
    q = torch.tensor([[0.1, 1.0], [3.0, 40.0]], dtype=torch.float64)
    relu = edge_of_chaos("relu", q)
    torch.testing.assert_close(relu.sigma_w2, torch.full_like(q, 2.0))
    assert relu.sigma_b2.eq(0).all()
    # softplus of a small signal is its mean, log 2: a bias variance could only be negative
    assert edge_of_chaos("softplus", q).sigma_b2.isnan().all()


@pytest.mark.parametrize(("w", "b"), [(1.5, 0.0), (2.0, 0.3), (0.4, 1.0)])
def test_relu_maps(w: float, b: float) -> None:
    maps = mean_field("relu", w, b)
    for q in (0.1, 1.0, 30.0):
        assert maps.variance(q) == pytest.approx(w * q / 2 + b, rel=1e-13)
        assert maps.chi(q) == pytest.approx(w / 2, rel=1e-13)
        assert maps.variance_slope(q) == pytest.approx(w / 2, rel=1e-13)
        for c in (-1.0, 0.0, 0.6):
            total = w * q / 2 + b
            expected = (w * q / 2 * relu_correlation(c) + b) / total
            assert maps.correlation(c, q) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    if w < 2:
        assert maps.fixed_variance() == pytest.approx(b / (1 - w / 2), rel=1e-11, abs=1e-300)
        assert maps.correlation_depth() == pytest.approx(-1 / math.log(w / 2), rel=1e-10)
    else:
        assert maps.fixed_variance() == math.inf
        assert math.isnan(maps.correlation_depth())
        assert math.isnan(maps.variance_depth())


@pytest.mark.parametrize("w", [0.3, 0.7, 1.1, 1.3, 1.7, 1.9])
@pytest.mark.parametrize("q", [1 / 16, 1 / 4, 1.0, 4.0, 64.0])
def test_fixed_points_that_the_search_steps_on(w: float, q: float) -> None:
    """The bracketing goes by factors of 4 from 1; there the map's change is rounding."""
    assert mean_field("relu", w, q * (1 - w / 2)).fixed_variance() == pytest.approx(q, rel=1e-12)


def test_relu_is_critical_at_one_point() -> None:
    maps = mean_field("relu", 2.0)
    assert maps.fixed_variance(0.37) == 0.37  # every q is fixed
    assert maps.correlation_depth() == math.inf
    assert maps.variance_depth() == math.inf
    assert mean_field("relu", 2.2).fixed_variance() == math.inf
    leaky = mean_field(nn.LeakyReLU(0.2), 1.3)
    assert leaky.chi(5.0) == pytest.approx(1.3 * (1 + 0.2**2) / 2, rel=1e-13)


def test_relu_correlations_by_depth() -> None:
    q, c = mean_field("relu", 2.0).trajectory(1.0, 0.0, 50)
    torch.testing.assert_close(q, torch.ones(51, dtype=torch.float64))
    for layer, value in RELU_CORRELATIONS.items():
        assert float(c[layer]) == pytest.approx(value, abs=5.1e-4)


def test_relu_correlation_approaches_1_as_the_square_of_depth() -> None:
    """1 - c_l ~ (9 pi^2 / 2) / l^2; the map itself is compared next to 1 as well."""
    c = 0.0
    for _ in range(10_000):
        c = relu_correlation(c)
    assert (1 - c) * 1e8 == pytest.approx(4.5 * math.pi**2, rel=0.01)
    maps = mean_field("relu", 2.0)
    gap = 1 - c
    exact = gap - 2 * math.sqrt(2) / (3 * math.pi) * gap**1.5  # leading orders of the closed form
    assert 1 - maps.correlation(c, 1.0) == pytest.approx(exact, rel=1e-8)


def test_tanh_phases() -> None:
    ordered = mean_field("tanh", 0.9)
    assert ordered.fixed_variance() == 0.0
    assert ordered.chi(0.0) == pytest.approx(0.9, rel=1e-11)
    assert ordered.correlation_depth() == pytest.approx(-1 / math.log(0.9), rel=1e-9)
    assert ordered.variance_depth() == pytest.approx(-1 / math.log(0.9), rel=1e-9)
    assert mean_field("tanh", 1.0).fixed_variance() == 0.0
    assert mean_field("tanh", 1.0).correlation_depth() == math.inf
    chaotic = mean_field("tanh", 2.0, 0.05)
    q = chaotic.fixed_variance()
    assert chaotic.variance(q) == pytest.approx(q, rel=1e-12)
    assert chaotic.chi(q) > 1.0
    c = chaotic.fixed_correlation(q)
    assert 0.0 < c < 0.9
    assert chaotic.correlation(c, q) == pytest.approx(c, abs=1e-12)
    unbiased = mean_field("tanh", 2.0)  # odd: opposite and equal signals are both unstable
    assert unbiased.fixed_correlation(unbiased.fixed_variance()) == 0.0


@pytest.mark.parametrize("maps", [mean_field("tanh", 1.3, 0.2), mean_field("tanh", 3.0, 0.5)])
def test_depth_scales_are_those_of_the_iteration(maps: Maps) -> None:
    """In the ordered and in the chaotic phase: deviations shrink e-fold in xi layers."""
    q = maps.fixed_variance()
    c = maps.fixed_correlation(q)
    deviation = maps.correlation(maps.correlation(c - 1e-4, q), q) - c
    assert deviation / -1e-4 == pytest.approx(math.exp(-2 / maps.correlation_depth()), rel=1e-3)
    deviation = maps.variance(maps.variance(q + 1e-4)) - q
    assert deviation / 1e-4 == pytest.approx(math.exp(-2 / maps.variance_depth()), rel=1e-3)
    assert maps.correlation_slope(1.0, q) == pytest.approx(maps.chi(q), rel=1e-12)


def test_selu_normalises_itself() -> None:
    maps = mean_field("selu", 1.0)
    for start in (0.3, 4.0):
        assert maps.fixed_variance(start) == pytest.approx(1.0, rel=1e-9)
    assert 0.0 < maps.variance_slope(1.0) < 1.0


@pytest.mark.parametrize(
    "name", ["tanh", "sigmoid", "gelu", "silu", "softplus", "mish", "hardtanh"]
)
def test_moment_gain_fixes_unit_variance(name: str) -> None:
    assert mean_field(name, gain(name) ** 2).variance(1.0) == pytest.approx(1.0, rel=1e-13)


def test_curves_are_vectorised() -> None:
    q = torch.linspace(0.1, 4, 7, dtype=torch.float64)
    maps = mean_field("tanh", 1.7, 0.1)
    for curve in (maps.variance, maps.chi, maps.variance_slope):
        singles = torch.tensor([curve(value) for value in q.tolist()], dtype=torch.float64)
        torch.testing.assert_close(curve(q), singles, rtol=1e-14, atol=0)
    for two in (maps.correlation, maps.correlation_slope):
        singles = torch.tensor([two(value, 0.8) for value in (q / 4).tolist()], dtype=torch.float64)
        torch.testing.assert_close(two(q / 4, 0.8), singles, rtol=1e-14, atol=0)


def test_depth_scale() -> None:
    assert depth_scale(math.exp(-0.25)) == pytest.approx(4.0)
    assert depth_scale(1.0) == math.inf
    assert depth_scale(0.0) == 0.0
    assert depth_scale(math.e) == pytest.approx(-1.0)
    assert TRAINABLE_DEPTH == 6.0


def test_random_relu_network_follows_the_correlation_map() -> None:
    """Width 2048, two orthogonal inputs, ten layers: within 0.03; chi within 0.05."""
    generator = torch.Generator().manual_seed(0)
    n = 2048
    x = torch.randn(n, 2, generator=generator)
    x[:, 1] -= x[:, 0] * (x[:, 0] @ x[:, 1]) / x[:, 0].square().sum()
    for layer in range(11):
        weight = torch.randn(n, n, generator=generator) * math.sqrt((2 if layer else 1) / n)
        z = weight @ x
        x = torch.relu(z)
        if layer in RELU_CORRELATIONS:
            cosine = float(torch.cosine_similarity(z[:, 0], z[:, 1], dim=0))
            assert cosine == pytest.approx(RELU_CORRELATIONS[layer], abs=0.03)
    gates = (z[:, 0] > 0).float()
    assert float((gates[:, None] * weight).square().sum() / n) == pytest.approx(1.0, abs=0.05)


def simulated(maps_w: float, maps_b: float, layers: int) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    n = 1500
    h: Tensor = torch.ones(n)
    moments = []
    for _ in range(layers):
        weight = torch.randn(n, n, generator=generator) * math.sqrt(maps_w / n)
        z = weight @ h + math.sqrt(maps_b) * torch.randn(n, generator=generator)
        moments.append(float(z.square().mean()))
        h = torch.tanh(z)
    return moments


def test_random_tanh_network_follows_the_variance_map() -> None:
    maps = mean_field("tanh", 2.0, 0.1)
    predicted = maps.trajectory(2.1, 0.0, 4)[0].tolist()
    for value, measured in zip(predicted, simulated(2.0, 0.1, 5), strict=True):
        assert measured == pytest.approx(value, rel=5 * math.sqrt(2 / 1500))


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"mean_field: sigma_w2 must be a variance .* got -1.0"):
        mean_field("relu", -1.0)
    with pytest.raises(ValueError, match="sigma_b2 must be a variance"):
        mean_field("relu", 1.0, math.nan)
    with pytest.raises(ValueError, match=r"start must be in \(0, inf\), got 0.0"):
        mean_field("relu", 1.0).fixed_variance(0.0)
    with pytest.raises(ValueError, match="slope must be >= 0"):
        depth_scale(-0.1)
    with pytest.raises(ValueError, match="without any signal"):
        mean_field("tanh", 1.0).correlation(0.5, 0.0)
    assert second_moment("tanh", 0.0) == 0.0
