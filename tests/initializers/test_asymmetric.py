"""Kernels with unequal numbers of signs."""

import math

import pytest
import torch
from torch import Tensor, nn

from initializers import AsymmetricBinary, AsymmetricConstant, AsymmetricLogNormal, Initializer


def weight(initializer: Initializer, rows: int = 500, columns: int = 200) -> Tensor:
    layer = nn.Linear(columns, rows)
    initializer(layer, seed=0)
    return layer.weight.detach().double()


@pytest.mark.parametrize("positive", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("kind", [AsymmetricBinary, AsymmetricConstant, AsymmetricLogNormal])
def test_the_share_of_positive_weights(kind: type[AsymmetricBinary], positive: float) -> None:
    values = weight(kind(positive))
    share = (values > 0).double().mean().item()
    # 4 standard errors; without chance it is met exactly
    assert abs(share - positive) <= 4 * math.sqrt(positive * (1 - positive) / values.numel())
    assert bool((values != 0).all())


def test_magnitudes() -> None:
    assert weight(AsymmetricBinary(0.3)).abs().unique().tolist() == [1.0]
    constant = weight(AsymmetricConstant(0.3, scale=2.0)).abs().unique().tolist()
    assert constant == pytest.approx([2.0 * math.sqrt(2.0 / 200)], rel=1e-6)
    wide = weight(AsymmetricConstant(gain="linear", mode="fan_out")).abs().unique().tolist()
    assert wide == pytest.approx([math.sqrt(1.0 / 500)], rel=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.7])
def test_log_normal_magnitudes_keep_the_root_mean_square(sigma: float) -> None:
    values = weight(AsymmetricLogNormal(0.3, sigma=sigma))
    n, target = values.numel(), 2.0 / 200
    # kurtosis of w is exp(4 sigma^2), hence 4 standard errors of the mean square
    error = math.sqrt((math.exp(4 * sigma**2) - 1) / n)
    assert abs(values.square().mean().item() / target - 1) < 4 * error + 1e-6
    logarithm = values.abs().log()
    assert abs(logarithm.std().item() - sigma) < 4 * sigma / math.sqrt(2 * n) + 1e-6
    if sigma == 0.0:
        torch.testing.assert_close(values, weight(AsymmetricConstant(0.3)), rtol=1e-6, atol=0.0)
