"""Gains and moments of activations against tables and closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from initializers import GAIN_NAMES, gain_value
from initializers.theory import (
    Activation,
    activation,
    gain,
    kurtosis,
    logistic,
    overlap,
    response,
    response_overlap,
    second_moment,
    second_moment_slope,
)
from initializers.theory.quadrature import gaussian_mean

GAINS = {
    "linear": (1.0, 1.0),
    "relu": (0.5, 1.414214),
    "leaky_relu": (0.50005, 1.414143),
    "tanh": (0.394294, 1.592537),
    "sigmoid": (0.293379, 1.846229),
    "gelu": (0.425221, 1.533530),
    "silu": (0.355776, 1.676532),
    "elu": (0.644945, 1.245198),
    "selu": (1.0, 1.0),
    "softplus": (0.921246, 1.041867),
    "mish": (0.452342, 1.486848),
    "hardtanh": (0.516059, 1.392036),
    "erf": (0.464559, 1.467167),
}


@pytest.mark.parametrize("name", GAIN_NAMES)
def test_gains(name: str) -> None:
    moment, value = GAINS[name]
    assert second_moment(name, 1.0) == pytest.approx(moment, abs=6e-7)
    assert gain(name) == pytest.approx(value, abs=6e-7)
    assert gain(name) == pytest.approx(gain_value(name, "moment"), rel=1e-13)


def test_gain_keeps_another_second_moment() -> None:
    for q in (0.1, 4.0):
        assert gain("tanh", q) ** 2 * second_moment("tanh", q) == pytest.approx(q, rel=1e-14)
        assert gain("relu", q) == pytest.approx(math.sqrt(2), rel=1e-14)


def test_responses() -> None:
    q = torch.tensor([0.0, 0.2, 1.0, 7.0], dtype=torch.float64)
    for name, exact in (
        ("relu", 0.5 * torch.ones_like(q)),
        ("leaky_relu", (1 + 0.01**2) / 2 * torch.ones_like(q)),
        ("erf", 4 / math.pi / torch.sqrt(1 + 4 * q)),
        ("sign", 2 / math.pi / torch.sqrt(1 + 2 * q)),
    ):
        torch.testing.assert_close(response(name, q), exact, rtol=1e-11, atol=0)
    half = 0.5 * math.erfc(-1 / math.sqrt(2)) - 0.5 * math.erfc(1 / math.sqrt(2))
    assert response("hardtanh", 1.0) == pytest.approx(half, rel=1e-14)  # P(|u| < 1)


def test_slope_of_the_second_moment() -> None:
    """E u phi phi' / q is E phi'^2 + phi phi'' where phi is smooth; with kinks, it is dV/dq."""
    slope = activation("tanh")
    curved = Activation("", lambda u: torch.tanh(u) * -2 * torch.tanh(u) / torch.cosh(u) ** 2)
    for q in (0.3, 2.0):
        mean = torch.tensor(q, dtype=torch.float64)

        exact = response(slope, q) + float(gaussian_mean(curved, mean))
        assert second_moment_slope("tanh", q) == pytest.approx(exact, rel=1e-12)
        for name in ("hardtanh", "elu", "sigmoid", "softplus"):
            step = 1e-4 * q
            rise = second_moment(name, q + step) - second_moment(name, q - step)
            assert second_moment_slope(name, q) == pytest.approx(rise / (2 * step), rel=1e-6)
    assert second_moment_slope("tanh", 0.0) == pytest.approx(1.0, rel=1e-11)
    assert second_moment_slope("sigmoid", 0.0) == pytest.approx(1 / 16, rel=1e-8)


def test_kurtosis() -> None:
    for q in (0.01, 1.0, 50.0):
        assert kurtosis("linear", q) == pytest.approx(3.0, rel=1e-13)
        assert kurtosis("relu", q) == pytest.approx(6.0, rel=1e-13)
        leaky = 6 * (1 + 0.2**4) / (1 + 0.2**2) ** 2
        assert kurtosis(nn.LeakyReLU(0.2), q) == pytest.approx(leaky, rel=1e-13)
    assert kurtosis("sign", 1e9) == pytest.approx(1.0, abs=1e-3)


def test_overlaps_in_closed_form() -> None:
    c = torch.tensor([-1, -0.9, -0.2, 0, 0.3, 0.9, 0.999, 1 - 1e-8, 1], dtype=torch.float64)
    angle = torch.acos(c)
    for q in (0.2, 3.0):
        relu = q * ((1 - c**2).clamp_min(0).sqrt() + c * (math.pi - angle)) / (2 * math.pi)
        torch.testing.assert_close(overlap("relu", q, c), relu, rtol=1e-10, atol=1e-15)
        gates = (math.pi - angle) / (2 * math.pi)
        torch.testing.assert_close(response_overlap("relu", q, c), gates, rtol=1e-10, atol=1e-15)
        erf = 2 / math.pi * torch.asin(2 * q * c / (1 + 2 * q))
        torch.testing.assert_close(overlap("erf", q, c), erf, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(overlap("linear", q, c), q * c, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "hardtanh", "softplus"])
def test_equal_and_independent_variables(name: str) -> None:
    for q in (0.5, 4.0):
        assert overlap(name, q, 1.0) == pytest.approx(second_moment(name, q), rel=1e-13)
        assert response_overlap(name, q, 1.0) == pytest.approx(response(name, q), rel=1e-13)
        mean = Activation("root", lambda u: activation(name)(u).abs().sqrt(), (0.0,))
        product = overlap(name, q, 0.0)
        assert product >= -1e-15
        if name in ("relu", "softplus"):  # never negative: E phi is E sqrt(phi)^2
            assert product == pytest.approx(second_moment(mean, q) ** 2, rel=1e-9)
        if name in ("tanh", "hardtanh"):
            assert product == pytest.approx(0.0, abs=1e-15)


def test_activations_of_all_forms() -> None:
    u = torch.linspace(-5, 5, 41, dtype=torch.float64)
    module = nn.LeakyReLU(0.3, inplace=True)
    phi = activation(module)
    torch.testing.assert_close(phi(u), functional.leaky_relu(u, 0.3), rtol=0, atol=0)
    assert u[0] == -5  # the module worked on a copy
    assert activation(phi) is phi
    torch.testing.assert_close(
        phi.derivative(u[u != 0]), torch.where(u[u != 0] < 0, 0.3, 1.0).double()
    )
    torch.testing.assert_close(logistic(2.0)(u), torch.tanh(2 * u))
    assert activation(nn.ReLU6()).kinks == (0.0, 6.0)
    assert activation(nn.Hardtanh(-2, 3)).kinks == (-2.0, 3.0)


def test_floats_and_tensors() -> None:
    assert isinstance(second_moment("relu", 1), float)
    curve = second_moment("tanh", torch.rand(3, 2))
    assert curve.shape == (3, 2)
    assert curve.dtype == torch.float64
    assert overlap("relu", 1.0, torch.zeros(2, 3)).shape == (2, 3)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"one of linear, .* got 'rleu' \(did you mean 'relu'"):
        second_moment("rleu", 1.0)
    with pytest.raises(ValueError, match="no entry for PReLU; give Activation"):
        gain(nn.PReLU())
    with pytest.raises(TypeError, match="a name, a module or an Activation, got 3"):
        activation(3)  # type: ignore[arg-type]
    for q in (-1.0, math.nan):
        with pytest.raises(ValueError, match="q must be a variance >= 0"):
            second_moment("relu", q)
        with pytest.raises(ValueError, match="q must be a variance >= 0"):
            overlap("relu", q, 0.5)
    with pytest.raises(ValueError, match=r"c must be a correlation in \[-1, 1\], got 1.1"):
        overlap("relu", 1.0, 1.1)
    with pytest.raises(ValueError, match="gain: q and E phi\\^2 must be positive"):
        gain("relu", 0.0)
    with pytest.raises(ValueError, match=r"slope must be in \(0, inf\), got -1.0"):
        logistic(-1.0)
