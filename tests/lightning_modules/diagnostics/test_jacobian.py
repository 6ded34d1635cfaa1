import itertools
import math

import pytest
import torch
from torch import nn

from initializers import HeNormal, gaussian_submatrix, orthogonal_submatrix
from lightning_modules.diagnostics import measure_jacobian
from tests.lightning_modules.diagnostics.nets import chain


def gaussian(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def singular(values: list[float], dtype: torch.dtype = torch.float64) -> nn.Linear:
    """A linear layer with given singular values."""
    size = len(values)
    left, right = (torch.linalg.qr(gaussian(size, size, seed=seed))[0] for seed in (2, 3))
    layer = nn.Linear(size, size, bias=False, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right)
    return layer


def test_known_singular_values():
    known = [5.0, 2.0, 1.0, 0.25]
    found = measure_jacobian(singular(known), gaussian(3, 4))
    values = [row.value for row in found.rows if row.statistic == "singular_value"]
    assert values == pytest.approx(known, rel=1e-12)
    assert found.only("jacobian_max") == pytest.approx(5.0)
    assert found.only("jacobian_min") == pytest.approx(0.25)
    assert found.only("jacobian_median") == pytest.approx(1.5)
    assert found.only("jacobian_condition") == pytest.approx(20.0)
    assert found.only("jacobian_mean_square") == pytest.approx((25 + 4 + 1 + 0.0625) / 4)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_an_orthogonal_linear_network_is_an_isometry(dtype, within):
    network = nn.Sequential(*(singular([1.0] * 16, dtype) for _ in range(10)))
    found = measure_jacobian(network, gaussian(8, 16))
    assert abs(found.only("jacobian_max") - 1.0) < within
    assert abs(found.only("jacobian_min") - 1.0) < within


def test_the_iterative_method_agrees_with_the_exact_one():
    network, x = chain([20, 30, 12], nn.Tanh), gaussian(8, 20)
    exact = measure_jacobian(network, x, method="exact")
    guess = measure_jacobian(network, x, method="iterative", iterations=200, probes=64)
    assert guess.only("jacobian_max") == pytest.approx(exact.only("jacobian_max"), rel=1e-6)
    error = guess.only("jacobian_mean_square_error")
    difference = guess.only("jacobian_mean_square") - exact.only("jacobian_mean_square")
    assert abs(difference) < 3 * error
    assert error < 0.1 * exact.only("jacobian_mean_square")
    assert not guess.values("jacobian_condition")


def test_auto_turns_to_iteration_where_the_jacobian_is_large():
    found = measure_jacobian(chain([3, 1100]), gaussian(2, 3))
    assert found.values("jacobian_mean_square_error")
    assert not found.values("singular_value")


def test_twenty_relu_layers_of_burkholz_and_dubatovka():
    """Single draws of 256 units from 64 inputs: He's largest value is near 8.5, the median 0.09;
    looks-linear blocks of orthogonal matrices are isometries."""
    he, isometry = (_deep() for _ in range(2))
    HeNormal()(he, seed=0)
    orthogonal_submatrix()(isometry, seed=0)
    x = gaussian(8, 64).float()
    found = measure_jacobian(he, x)
    assert 5.0 < found.only("jacobian_max") < 13.0
    assert 0.03 < found.only("jacobian_median") < 0.3
    assert found.only("jacobian_min") < 3e-3
    found = measure_jacobian(isometry, x)
    for name in ("jacobian_max", "jacobian_median", "jacobian_min"):
        assert found.only(name) == pytest.approx(1.0, abs=1e-5), name


def _deep() -> nn.Sequential:
    widths = [64] + [256] * 20
    layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in itertools.pairwise(widths)]
    flat = [layer for pair in layers for layer in pair]
    return nn.Sequential(*flat[:-1])


def test_mean_square_of_gaussian_submatrices_is_near_one():
    network = _deep()
    gaussian_submatrix()(network, seed=0)
    found = measure_jacobian(network, gaussian(2, 64).float())
    assert math.isfinite(found.only("jacobian_mean_square"))
    assert found.only("jacobian_max") > 1.0


def test_batch_normalisation_does_not_couple_the_examples():
    """The rows of the Jacobian are scaled by 1 / sqrt(running variance) of the whole batch."""
    network = nn.Sequential(singular([3.0, 2.0, 1.0]), nn.BatchNorm1d(3, eps=1e-12)).double()
    x = gaussian(50, 3)
    scales = 1.0 / (x @ network[0].weight.T).std(0)
    wanted = torch.linalg.svdvals(scales[:, None] * network[0].weight)
    found = measure_jacobian(network, x)
    values = [row.value for row in found.rows if row.statistic == "singular_value"]
    assert values == pytest.approx(wanted.tolist(), rel=1e-10)


@pytest.mark.parametrize(
    ("inputs", "options", "sentence"),
    [
        (torch.zeros(2, 4).long(), {}, "one input tensor of real numbers"),
        (torch.zeros(2, 4), {"samples": 0}, "samples and iterations"),
        (torch.zeros(2, 4), {"probes": 1}, "probes at least 2"),
    ],
)
def test_what_cannot_be_measured_is_refused(inputs, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure_jacobian(nn.Linear(4, 4), inputs, **options)


def test_figures_are_averages_over_the_first_examples():
    network, x = chain([6, 8, 5], nn.Tanh), gaussian(5, 6)
    single = [measure_jacobian(network, x[i : i + 1]).only("jacobian_max") for i in range(3)]
    whole = measure_jacobian(network, x, samples=3).only("jacobian_max")
    assert whole == pytest.approx(sum(single) / 3)
    assert max(single) > 1.01 * min(single)
