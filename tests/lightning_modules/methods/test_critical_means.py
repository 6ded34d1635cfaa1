"""Mean-field maps of the surrogates: closed forms, tables, critical points."""

import math

import pytest
import torch

from initializers import BetaMeans, TwoPointMeans, get_initializer
from lightning_modules.methods import critical_means as theory
from lightning_modules.methods.critical_means import Logistic, Sign

SIGN, TANH = Sign(), Logistic()


@pytest.mark.parametrize("q", [0.01, 0.3, 1.0, 5.0])
def test_quadrature_agrees_with_the_closed_forms_of_sign_neurons(q: float) -> None:
    signal = 2 / math.pi * math.asin(q / (1 + q))
    root = math.sqrt(q)
    assert theory.gauss(lambda z: SIGN.phi(root * z) ** 2) == pytest.approx(signal, abs=1e-7)
    assert theory.gauss(lambda z: SIGN.derivative(root * z) ** 2) == pytest.approx(
        2 / math.pi / math.sqrt(1 + 2 * q), abs=1e-7
    )
    for m2, b2 in ((0.9, 0.1), (0.3, 0.0), (1.0, 0.02)):
        expected = (m2 * signal + b2) / (1 - m2 * signal)
        assert theory.variance_map(q, SIGN, m2, b2) == pytest.approx(expected, rel=1e-6)
        for c in (-0.5, 0.0, 0.7, 1.0):
            overlap = 2 / math.pi * math.asin(c * q / (1 + q))
            closed = (m2 * overlap + b2) / ((1 - m2 * signal) * expected)
            got = theory.correlation_map(c, q, SIGN, m2, b2)
            assert got == pytest.approx(closed, abs=1e-6)


def test_neurons_are_what_they_say() -> None:
    u = torch.linspace(-4, 4, 81, dtype=torch.float64, requires_grad=True)
    for neuron in (SIGN, TANH, Logistic(2.5)):
        (slope,) = torch.autograd.grad(neuron.phi(u).sum(), u)
        torch.testing.assert_close(neuron.derivative(u), slope, rtol=1e-10, atol=1e-12)
        zero = torch.zeros(1, dtype=torch.float64)
        assert neuron.derivative(zero).item() == pytest.approx(neuron.slope)


@pytest.mark.parametrize(
    ("m2", "b2", "xi"),
    [
        (0.1, 0.0, "0.434"),
        (0.5, 0.0, "1.44"),
        (0.9, 0.0, "9.49"),
        (0.99, 0.0, "99.5"),
        (0.999, 0.0, "999"),
        (0.99, 1e-3, "27.7"),
        (1.0, 1e-3, "33.3"),
    ],
)
def test_depth_scales_of_neurons_of_unit_slope(m2: float, b2: float, xi: str) -> None:
    scale = theory.depth_scale(theory.chi(TANH, m2, b2))
    # Three digits; 999.5 stands for both neighbours.
    assert scale == pytest.approx(float(xi), rel=5.1e-3 if xi == "999" else 2e-3)
    if b2 == 0.0:
        assert theory.chi(TANH, m2) == pytest.approx(m2, abs=1e-12)
        assert scale == pytest.approx(-1 / math.log(m2), rel=1e-9)


def test_sign_neurons_have_no_critical_point() -> None:
    grid = [(m2, b2) for m2 in (0.1, 0.5, 0.9, 0.99, 1.0) for b2 in (0.0, 1e-3, 0.05, 0.5, 2.0)]
    values = [theory.chi(SIGN, m2, b2) for m2, b2 in grid]
    assert max(values) <= 2 / math.pi + 1e-6
    assert values[grid.index((1.0, 0.0))] == pytest.approx(2 / math.pi, abs=1e-9)
    assert theory.depth_scale(max(values)) == pytest.approx(2.21, abs=0.01)


def test_neurons_of_unit_slope_are_critical_at_one_point_alone() -> None:
    assert theory.chi(TANH, 1.0, 0.0) == pytest.approx(1.0, abs=1e-12)
    assert theory.depth_scale(1.0) == math.inf
    others = [(m2, b2) for m2 in (0.5, 0.9, 0.99, 1.0) for b2 in (0.0, 1e-3, 0.1, 1.0)]
    values = [theory.chi(TANH, m2, b2) for m2, b2 in others if (m2, b2) != (1.0, 0.0)]
    assert max(values) < 0.991


@pytest.mark.parametrize(
    ("neuron", "m2", "b2"),
    [(TANH, 0.9, 0.1), (SIGN, 0.8, 0.2), (Logistic(1.5), 0.9, 0.0), (Logistic(2.0), 0.5, 0.3)],
)
def test_chi_is_the_slope_of_the_correlation_map(
    neuron: theory.Neuron, m2: float, b2: float
) -> None:
    q = theory.fixed_point(neuron, m2, b2)
    assert theory.variance_map(q, neuron, m2, b2) == pytest.approx(q, rel=1e-12)
    assert theory.correlation_map(1.0, q, neuron, m2, b2) == pytest.approx(1.0, abs=1e-12)
    step = 1e-5
    slope = (1.0 - theory.correlation_map(1.0 - step, q, neuron, m2, b2)) / step
    assert theory.chi(neuron, m2, b2) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(("m2", "limit"), [(1.0, 1.0), (0.9, 0.770), (0.5, 0.408)])
def test_lrt_keeps_identical_inputs_together_at_full_means_only(m2: float, limit: float) -> None:
    q, c = 1.0, 1.0
    for _ in range(300):
        q, c = (
            theory.lrt_variance_map(q, torch.tanh, 0.05),
            theory.lrt_correlation_map(c, q, torch.tanh, m2, 0.05),
        )
    assert c == pytest.approx(limit, abs=5e-4)


@pytest.mark.parametrize("slope", [1.0, 1.25, 3.0])
def test_critical_means_are_critical(slope: float) -> None:
    means = TwoPointMeans.critical(slope)
    assert means.variance == pytest.approx(1 / slope**2)
    assert theory.chi(Logistic(slope), means.variance) == pytest.approx(1.0, abs=1e-9)
    for depth in (5, 40):
        near = TwoPointMeans.critical(slope, depth)
        xi = theory.depth_scale(theory.chi(Logistic(slope), near.variance))
        assert 6 * xi == pytest.approx(depth, rel=1e-9)
    assert get_initializer(f"critical_means:slope={slope},depth=40") == near


def test_without_a_critical_point_there_are_no_critical_means() -> None:
    with pytest.raises(ValueError, match="no critical point"):
        TwoPointMeans.critical(Sign().slope)
    with pytest.raises(ValueError, match="depth must be an integer >= 1, got 0"):
        TwoPointMeans.critical(1.0, 0)


@pytest.mark.parametrize("variance", [0.99, 0.5, 0.02])
def test_two_point_means_have_exactly_the_stated_square(variance: float) -> None:
    layer = torch.nn.Linear(300, 200)
    TwoPointMeans(variance)(layer, seed=0)
    squares = layer.weight.double().square()
    assert squares.mean().item() == pytest.approx(variance, abs=1e-6)
    assert squares.std() < 1e-6
    assert abs((layer.weight > 0).double().mean() - 0.5) < 4 * 0.5 / math.sqrt(60_000)
    assert bool((layer.bias == 0).all())


@pytest.mark.parametrize("variance", [0.99, 1 / 3, 0.05])
def test_beta_means_have_the_stated_square_in_the_mean(variance: float) -> None:
    layer = torch.nn.Linear(300, 2000)
    BetaMeans(variance, bias_variance=0.3)(layer, seed=0)
    means = layer.weight.double().flatten()
    assert means.abs().max() <= 1.0
    n = len(means)
    squares = means.square()
    for values, expected in ((means, 0.0), (squares, variance)):  # 4 standard errors
        assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(n)
    bias = layer.bias.double().square().mean() / 0.3
    assert abs(bias - 1.0) < 4 * math.sqrt(2 / 2000)
    if variance == 1 / 3:  # the uniform law: a Kolmogorov-Smirnov distance of p > 1e-6
        ordered = means.sort().values
        distance = (ordered - torch.linspace(-1, 1, n, dtype=torch.float64)).abs().max() / 2
        assert distance < 2.7 / math.sqrt(n)
        assert get_initializer("uniform_means") == BetaMeans(variance)
