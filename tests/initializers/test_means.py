"""Means of binary weights: their law, and the critical point that they are to start at."""

import math

import pytest
import torch

from initializers import BetaMeans, TwoPointMeans, get_initializer
from initializers.theory import binary_surrogate, depth_scale, logistic


@pytest.mark.parametrize("slope", [1.0, 1.25, 3.0])
def test_critical_means_are_critical(slope: float) -> None:
    means = TwoPointMeans.critical(slope)
    assert means.variance == pytest.approx(1 / slope**2)
    assert binary_surrogate(logistic(slope), means.variance).chi(0.0) == pytest.approx(
        1.0, abs=1e-9
    )
    for depth in (5, 40):
        near = TwoPointMeans.critical(slope, depth)
        xi = depth_scale(binary_surrogate(logistic(slope), near.variance).chi(0.0))
        assert 6 * xi == pytest.approx(depth, rel=1e-9)
    assert get_initializer(f"critical_means:slope={slope},depth=40") == near


def test_without_a_critical_point_there_are_no_critical_means() -> None:
    with pytest.raises(ValueError, match="no critical point"):
        TwoPointMeans.critical(math.sqrt(2 / math.pi))  # sign neurons
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
