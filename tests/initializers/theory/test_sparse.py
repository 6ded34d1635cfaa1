"""Finite-width corrections: tables, closed forms, and random ternary weights."""

import math

import pytest
import torch
from torch import Tensor, nn

from initializers import HeNormal, Ternary, VarianceScaling
from initializers.theory import (
    critical_degree,
    empty_rows,
    empty_rows_exact,
    kurtosis_limit,
    kurtosis_path,
    kurtosis_ratio,
    norm_spread,
    preactivation_kurtosis,
    weight_kurtosis,
    zero_singular_values,
)
from initializers.theory.tolerances import (
    kurtosis_error,
    mean_error,
    rectified_second_moment_error,
    second_moment_error,
    share_error,
)


def bernoulli(rows: int, columns: int, degree: float, generator: torch.Generator) -> Tensor:
    """Ternary weights of variance 1 / columns with independent entries."""
    density = degree / columns
    draw = torch.rand(rows, columns, generator=generator)
    value = 1 / math.sqrt(degree)
    return (draw < density / 2).float() * value - (draw > 1 - density / 2).float() * value


def kappa(x: Tensor) -> float:
    x = x.double()
    return float(x.pow(4).mean() / x.square().mean() ** 2)


def test_weight_kurtosis() -> None:
    assert weight_kurtosis(2 / 3) == pytest.approx(3.0)
    assert weight_kurtosis(0.0) == 1.0
    record = Ternary(0.75)(nn.Linear(40, 40), seed=0).layers[0]
    assert record.kurtosis == pytest.approx(weight_kurtosis(0.75), rel=1e-6)


@pytest.mark.parametrize("p0", [0.0, 0.5, 2 / 3, 0.9, 0.96875])
def test_preactivation_kurtosis(p0: float) -> None:
    """3 + (1/d - 3/n_in) kappa_x: exactly 3 at p0 = 2/3, and what is measured within 4 errors."""
    n, kappa_x = 64, 6.0
    degree = n * (1 - p0)
    predicted = preactivation_kurtosis(weight_kurtosis(p0), n, kappa_x)
    assert predicted == pytest.approx(3 + (1 / degree - 3 / n) * kappa_x, rel=1e-12)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, generator=generator).relu()
    z = (bernoulli(50_000, n, degree, generator) @ x).double()
    fourth = z.pow(4) / z.square().mean() ** 2
    predicted = preactivation_kurtosis(weight_kurtosis(p0), n, kappa(x))
    ratio = fourth - 2 * fourth.mean() * z.square() / z.square().mean()  # delta method
    assert float(fourth.mean()) == pytest.approx(
        predicted, abs=4 * float(ratio.std()) / 50_000**0.5
    )


def test_kurtosis_grows_at_the_critical_degree() -> None:
    assert kurtosis_path(2.0, 3) == pytest.approx([3, 6, 9, 12], rel=1e-12)
    assert kurtosis_path(1.0, 3, phi="linear") == pytest.approx([3, 6, 9, 12], rel=1e-12)
    assert kurtosis_limit(2.0) == math.inf
    assert kurtosis_limit(1.5) == math.inf
    assert kurtosis_limit(4.0) == pytest.approx(3 / (1 - 2 / 4), rel=1e-12)
    assert kurtosis_limit(16.0, 512) == pytest.approx(kurtosis_path(16.0, 60, 512)[-1], rel=1e-12)
    assert kurtosis_limit(512 / 3, 512) == pytest.approx(3.0, rel=1e-12)  # p0 = 2/3
    assert kurtosis_ratio("relu") == pytest.approx(2.0, rel=1e-12)
    assert critical_degree("relu") == pytest.approx(2.0, rel=1e-12)
    assert critical_degree("linear") == pytest.approx(1.0, rel=1e-12)
    edge = critical_degree("relu", 100)
    assert kurtosis_limit(edge * 0.999, 100) == math.inf
    assert kurtosis_limit(edge * 1.001, 100) > 1000


@pytest.mark.parametrize(
    ("twin", "phi"), [(Ternary.he_twin(), "relu"), (Ternary.lecun_twin(), "linear")]
)
@pytest.mark.parametrize("width", [100, 1000])
def test_unscaled_weights_sit_at_the_critical_degree(twin: Ternary, phi: str, width: int) -> None:
    record = twin(nn.Linear(width, width), seed=0).layers[0]
    assert (1 - record.zero_fraction) * width == pytest.approx(critical_degree(phi), rel=1e-6)


@pytest.mark.parametrize("degree", [2.0, 4.0, 16.0])
def test_kurtosis_recursion_in_random_networks(degree: float) -> None:
    """Mean kurtosis of three ReLU layers of 512 units over 60 draws within 4 standard errors.

    The ratio's expectation is that of the limit up to terms of order kappa / n, hence the 3 %.
    """
    generator = torch.Generator().manual_seed(4)
    n, found = 512, []
    for _ in range(60):
        z = torch.randn(n, generator=generator)
        values = []
        for _ in range(2):
            z = bernoulli(n, n, degree, generator) @ z.relu() * math.sqrt(2)
            values.append(kappa(z))
        found.append(values)
    measured = torch.tensor(found)
    for predicted, column in zip(kurtosis_path(degree, 2, n)[1:], measured.T, strict=True):
        error = float(column.std()) / math.sqrt(len(column))
        assert float(column.mean()) == pytest.approx(predicted, abs=4 * error + 0.03 * predicted)


@pytest.mark.parametrize(
    ("degree", "spread", "simulated"),
    [(512, 0.284, 0.289), (128, 0.286, 0.291), (16, 0.307, 0.306), (4, 0.412, 0.418)],
)
def test_norm_spread(degree: float, spread: float, simulated: float) -> None:
    """Eight ReLU layers of 512 units from a rectified input; simulations of the reference."""
    found = norm_spread(kurtosis_path(degree, 8, 512)[1:], 512)
    assert found == pytest.approx(spread, abs=5.1e-4)
    assert found == pytest.approx(simulated, rel=0.025)


@pytest.mark.parametrize("degree", [6.0, 128.0])
def test_norm_spread_of_random_networks(degree: float) -> None:
    """Three layers of 128 units, 700 draws: within 4 standard errors of a standard deviation."""
    generator = torch.Generator().manual_seed(5)
    n, layers, draws = 128, 3, 700
    ratios = []
    for _ in range(draws):
        h = x = torch.randn(n, generator=generator).relu()
        for _ in range(layers):
            h = (bernoulli(n, n, degree, generator) @ h).relu() * math.sqrt(2)
        ratios.append(float(h.square().sum() / x.square().sum()))
    measured = torch.tensor(ratios, dtype=torch.float64)
    assert float(measured.mean()) == pytest.approx(1.0, abs=4 * float(measured.std()) / draws**0.5)
    predicted = norm_spread(kurtosis_path(degree, layers, n)[1:], n)
    error = second_moment_error(kappa(measured - measured.mean()), draws) / 2
    assert float(measured.std()) == pytest.approx(predicted, rel=4 * error)


def test_empty_rows() -> None:
    for degree, share in ((2, 0.135), (1, 0.368)):
        assert empty_rows(degree / 4096, 4096) == pytest.approx(share, abs=1e-3)
        assert empty_rows(degree / 4096, 4096) == pytest.approx(math.exp(-degree), rel=1e-3)
    assert empty_rows(2 / 9, 9) == pytest.approx(0.104, abs=5e-4)  # depthwise 3x3
    assert empty_rows(1 / 9, 9) == pytest.approx(0.346, abs=5e-4)
    assert empty_rows(1.0, 5) == 0.0


def test_empty_rows_of_exact_counts() -> None:
    assert empty_rows_exact(1, 4, 3) == pytest.approx(3 / 4, rel=1e-12)
    assert empty_rows_exact(2, 4, 3) == pytest.approx(9 * 8 / (12 * 11), rel=1e-12)
    assert empty_rows_exact(10, 4, 3) == 0.0
    n = 500
    predicted = empty_rows_exact(2 * n, n, n)
    assert predicted == pytest.approx(empty_rows(2 / n, n), rel=1e-2)
    found = sum(Ternary(degree=2)(nn.Linear(n, n), seed=s).layers[0].empty_rows for s in range(20))
    assert found / 20 / n == pytest.approx(predicted, abs=4 * share_error(predicted, 20 * n))


@pytest.mark.parametrize(
    ("degree", "largest", "zeros", "tolerance"),
    [
        (100.0, 2.00, 0.0, 0.02),
        (10.0, 2.10, 0.0, 0.02),
        (4.0, 2.28, 0.016, 0.05),
        (2.0, 2.47, 0.219, 0.07),
        (1.0, 2.75, 0.47, 0.12),  # six draws lay between 2.75 and 3.06
    ],
)
def test_singular_values_of_sparse_matrices(
    degree: float, largest: float, zeros: float, tolerance: float
) -> None:
    """1024 x 1024 of variance 1/n against single draws of the reference; zeros as predicted."""
    layer = nn.Linear(1024, 1024)
    Ternary(degree=degree, gain="linear")(layer, seed=0)
    values = torch.linalg.svdvals(layer.weight.detach())
    assert float(values.square().mean()) == pytest.approx(1.0, rel=1e-5)
    assert float(values[0]) == pytest.approx(largest, rel=tolerance)
    share = float((values < 1e-4).float().mean())
    assert share == pytest.approx(zeros, abs=0.02)
    assert share == pytest.approx(zero_singular_values(degree), abs=0.015)  # std 0.006 over draws


def test_zero_singular_values() -> None:
    omega = 0.5671432904097838  # omega = exp(-omega)
    assert zero_singular_values(1.0) == pytest.approx(2 * omega + omega**2 - 1, rel=1e-10)
    assert zero_singular_values(2.0) == pytest.approx(0.216, abs=5e-4)
    assert zero_singular_values(100.0) == pytest.approx(0.0, abs=1e-12)
    for degree in (0.5, 1.0, 3.0, 6.0):
        assert zero_singular_values(degree) >= math.exp(-degree)


def test_errors_of_second_moments() -> None:
    """Closed forms, and the scatter of 200 draws (its own error is 5 %, four of them allowed)."""
    assert second_moment_error(3.0, 800) == pytest.approx(math.sqrt(2 / 800))
    assert second_moment_error(1.8, 800) == pytest.approx(math.sqrt(0.8 / 800))
    assert rectified_second_moment_error(3.0, 100) == pytest.approx(math.sqrt(5 / 100))
    assert mean_error(2.0, 400) == 0.1
    assert kurtosis_error(2400) == pytest.approx(0.1)
    assert share_error(0.5, 100) == 0.05
    for p0, value in ((0.5, 0.0039), (0.9, 0.0117)):
        error = second_moment_error(weight_kurtosis(p0), 65_536)
        assert error == pytest.approx(math.sqrt(p0 / ((1 - p0) * 65_536)), rel=1e-12)
        assert error == pytest.approx(value, abs=5.1e-5)
    layer = nn.Linear(50, 40)
    for initializer, kurtosis in (
        (HeNormal(), 3.0),
        (VarianceScaling(distribution="uniform"), 1.8),
        (Ternary(0.9, sampling="bernoulli"), 10.0),
    ):
        squares = [initializer(layer, seed=seed).layers[0].std ** 2 for seed in range(200)]
        measured = torch.tensor(squares)
        relative = float(measured.std() / measured.mean())
        assert relative == pytest.approx(second_moment_error(kurtosis, 2000), rel=0.2)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"zero_proportion must be in \[0, 1\), got 1.0"):
        weight_kurtosis(1.0)
    with pytest.raises(ValueError, match=r"degree must be > 0, got 0\.0"):
        kurtosis_limit(0.0)
    with pytest.raises(ValueError, match=r"density must be in \[0, 1\], got 1.5"):
        empty_rows(1.5, 3)
    with pytest.raises(ValueError, match=r"nonzeros must be in \[0, 6\], got 7"):
        empty_rows_exact(7, 2, 3)
