"""Maps of the surrogates of binary networks: closed forms, tables, and simulated layers."""

import math
import pickle

import pytest
import torch
from torch import Tensor

from initializers.theory import (
    Activation,
    activation,
    binary_surrogate,
    logistic,
    lrt_surrogate,
    mean_field,
)
from initializers.theory.maps import Maps

DEPTHS = {0.1: 0.43, 0.5: 1.44, 0.9: 9.5, 0.99: 99.5, 0.999: 999.5}


def test_sign_neurons_in_closed_form() -> None:
    for m, b in ((0.9, 0.1), (0.3, 0.0), (1.0, 0.5)):
        maps = binary_surrogate("sign", m, b)
        for q in (0.05, 1.0, 12.0):
            v = 2 / math.pi * math.asin(q / (1 + q))
            following = (m * v + b) / (1 - m * v)
            assert maps.variance(q) == pytest.approx(following, rel=1e-13)
            slope = 2 / math.pi / math.sqrt(1 + 2 * q)
            assert maps.chi(q) == pytest.approx(m * slope / (1 - m * v), rel=1e-12)
            for c in (-0.4, 0.0, 0.8):
                p = 2 / math.pi * math.asin(q * c / (1 + q))
                expected = (m * p + b) / ((1 - m * v) * following)
                assert maps.correlation(c, q) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_chi_at_the_fixed_point() -> None:
    """The form sigma_m^2 (1 + q*) / (1 + sigma_b^2) int Dz phi'^2, and the slope of the map."""
    maps = binary_surrogate("sign", 0.9, 0.1)
    q = maps.fixed_variance()
    assert maps.variance(q) == pytest.approx(q, rel=1e-12)
    form = 0.9 * (1 + q) / 1.1 * 2 / math.pi / math.sqrt(1 + 2 * q)
    assert maps.chi(q) == pytest.approx(form, rel=1e-11)
    slope = (1 - maps.correlation(1 - 1e-6, q)) / 1e-6
    assert maps.chi(q) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize(
    ("phi", "m", "b"),
    [
        (logistic(), 0.9, 0.1),
        ("sign", 0.8, 0.2),
        (logistic(1.5), 0.9, 0.0),
        (logistic(2), 0.5, 0.3),
    ],
)
def test_chi_is_the_slope_of_the_correlation_map(phi: Activation | str, m: float, b: float) -> None:
    maps = binary_surrogate(phi, m, b)
    q = maps.fixed_variance()
    assert maps.variance(q) == pytest.approx(q, rel=1e-12)
    assert maps.correlation(1.0, q) == pytest.approx(1.0, abs=1e-12)
    slope = (1.0 - maps.correlation(1.0 - 1e-5, q)) / 1e-5
    assert maps.chi(q) == pytest.approx(slope, rel=1e-3)


def test_slope_of_the_variance_map() -> None:
    maps = binary_surrogate("sign", 0.8, 0.4)
    for q in (0.2, 3.0):
        rise = maps.variance(q * 1.0001) - maps.variance(q * 0.9999)
        assert maps.variance_slope(q) == pytest.approx(rise / (2e-4 * q), rel=1e-6)


def test_sign_neurons_are_never_critical() -> None:
    values = [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0]
    chis = []
    for m in values:
        for b in (0.0, 1e-4, 0.01, 0.1, 0.5, 2.0):
            maps = binary_surrogate("sign", m, b)
            chis.append(maps.chi(maps.fixed_variance()))
    assert max(chis) <= 2 / math.pi + 1e-6
    assert max(chis) == pytest.approx(2 / math.pi, abs=1e-6)
    assert binary_surrogate("sign", 1.0).correlation_depth() == pytest.approx(2.21, abs=5e-3)


def test_depth_scales_of_unit_slope() -> None:
    for m, xi in DEPTHS.items():
        maps = binary_surrogate(logistic(), m)
        assert maps.fixed_variance() == 0.0
        assert maps.correlation_depth() == pytest.approx(xi, rel=2e-3, abs=5e-3)
        assert maps.correlation_depth() == pytest.approx(-1 / math.log(m), rel=1e-8)
    assert binary_surrogate(logistic(), 1.0).correlation_depth() == math.inf
    biased = [binary_surrogate(logistic(), m, 1e-3).correlation_depth() for m in (0.99, 1.0)]
    assert biased == pytest.approx([27.7, 33.3], abs=0.06)


def test_neurons_of_unit_slope_are_critical_at_one_point_alone() -> None:
    assert binary_surrogate(logistic(), 1.0).chi(0.0) == pytest.approx(1.0, abs=1e-11)
    chis = []
    for m in (0.5, 0.9, 0.99, 1.0):
        for b in (0.0, 1e-3, 0.1, 1.0):
            if (m, b) != (1.0, 0.0):
                maps = binary_surrogate(logistic(), m, b)
                chis.append(maps.chi(maps.fixed_variance()))
    assert max(chis) < 0.991


def test_neurons_can_be_pickled() -> None:
    u = torch.linspace(-2, 2, 9)
    for neuron in (logistic(1.5), activation("sign")):
        assert torch.equal(pickle.loads(pickle.dumps(neuron))(u), neuron(u))


def test_slope_moves_the_critical_point() -> None:
    for k in (1.5, 2.0):
        assert binary_surrogate(logistic(k), 1 / k**2).chi(0.0) == pytest.approx(1.0, rel=1e-10)
        assert binary_surrogate(logistic(k), 1 / k**2).correlation_depth() == math.inf
    assert binary_surrogate(logistic(0.8), 1.0).chi(0.0) == pytest.approx(0.64, rel=1e-10)


def test_sequence_from_binary_inputs() -> None:
    """sigma_m^2 = 0.9, sigma_b^2 = 0.1, inputs +-1 of cosine 0.6: q_1 = 1 / 0.1, c_1 = 0.64."""
    q, c = binary_surrogate("sign", 0.9, 0.1).trajectory(10.0, 0.64, 5)
    assert q.tolist() == pytest.approx([10, 2.18, 0.94, 0.55, 0.39, 0.31], abs=5.1e-3)
    assert c.tolist() == pytest.approx([0.64, 0.605, 0.647, 0.726, 0.810, 0.880], abs=5.1e-4)


def test_simulated_surrogate() -> None:
    """N = 2000, six layers: q within 10 %, c within 0.03 of the maps, means of three draws."""
    n, m, b = 2000, 0.9, 0.1
    q, c = binary_surrogate("sign", m, b).trajectory(10.0, 0.64, 5)
    moments, cosines = torch.zeros(3, 6), torch.zeros(3, 6)
    for draw in range(3):
        generator = torch.Generator().manual_seed(draw)
        x = torch.ones(n, 2)
        x[: n // 5, 1] = -1.0  # cosine 0.6
        for layer in range(6):
            signs = torch.randint(2, (n, n), generator=generator).float().mul_(2).sub_(1)
            bias = math.sqrt(b) * torch.randn(n, 1, generator=generator)
            noise = 1 - m * x.square().mean(0)  # means of two points: the same for all units
            u = (math.sqrt(m / n) * (signs @ x) + bias) / noise.sqrt()
            moments[draw, layer] = u.square().mean()
            cosines[draw, layer] = torch.cosine_similarity(u[:, 0], u[:, 1], dim=0)
            x = torch.erf(u / math.sqrt(2))
    torch.testing.assert_close(moments.mean(0).double(), q, rtol=0.1, atol=0)
    torch.testing.assert_close(cosines.mean(0).double(), c, rtol=0, atol=0.03)


def lrt_layers(m: float, layers: int) -> tuple[Tensor, Tensor]:
    """Second moments and cosines of two equal inputs, tanh, sigma_b^2 = 0.05, N = 1500."""
    n, b = 1500, 0.05
    generator = torch.Generator().manual_seed(2)
    x = torch.ones(n, 2)
    moments, cosines = [], []
    for _ in range(layers):
        signs = torch.randint(2, (n, n), generator=generator).float().mul_(2).sub_(1)
        noise = ((1 - m) * x.square().mean(0)).sqrt() * torch.randn(n, 2, generator=generator)
        bias = math.sqrt(b) * torch.randn(n, 1, generator=generator)
        h = math.sqrt(m) * (signs @ x) / math.sqrt(n) + bias + noise
        moments.append(h.square().mean())
        cosines.append(torch.cosine_similarity(h[:, 0], h[:, 1], dim=0))
        x = torch.tanh(h)
    return torch.stack(moments), torch.stack(cosines)


def test_simulated_lrt_surrogate() -> None:
    """The second moment does not know sigma_m^2 (4 standard errors); equal inputs decorrelate."""
    q, _ = lrt_surrogate("tanh", 1.0, 0.05).trajectory(1.05, 1.0, 4)
    for m in (0.5, 0.9):
        start = (m + 0.05) / 1.05
        _, c = lrt_surrogate("tanh", m, 0.05).trajectory(1.05, start, 4)
        moments, cosines = lrt_layers(m, 5)
        for predicted, measured in zip(q.tolist(), moments.tolist(), strict=True):
            assert measured == pytest.approx(predicted, rel=4 * math.sqrt(2 / 1500))
        torch.testing.assert_close(cosines.double(), c, rtol=0, atol=0.08)


@pytest.mark.parametrize(("m", "expected"), [(1.0, 1.0), (0.9, 0.770), (0.5, 0.408)])
def test_lrt_correlation_settles_below_1(m: float, expected: float) -> None:
    maps = lrt_surrogate("tanh", m, 0.05)
    q = maps.fixed_variance()
    assert q == pytest.approx(mean_field("tanh", 1.0, 0.05).fixed_variance(), rel=1e-12)
    assert maps.fixed_correlation(q) == pytest.approx(expected, abs=5e-4)
    assert maps.correlation(1.0, q) == pytest.approx(1 - (1 - m) * (1 - 0.05 / q), rel=1e-9)


def test_lrt_is_critical_at_full_means_without_biases() -> None:
    assert lrt_surrogate("tanh", 1.0).correlation_depth() == math.inf
    assert lrt_surrogate("tanh", 0.9).correlation_depth() == pytest.approx(9.49, abs=5e-3)


def test_variance_without_noise_left_is_infinite() -> None:
    maps: Maps = binary_surrogate("relu", 1.0)
    assert maps.variance(3.0) == math.inf
    assert maps.variance(torch.tensor([3.0])).tolist() == [math.inf]


@pytest.mark.parametrize("make", [binary_surrogate, lrt_surrogate])
def test_mistakes(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"sigma_m2 must be in \[0, 1\], .* got 1.1"):
        make("sign", 1.1)
    with pytest.raises(ValueError, match="sigma_b2 must be a variance"):
        make("sign", 0.5, -0.1)
