"""The integrals: closed forms, an independent rule, and convergence in the number of nodes."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from initializers.theory import ACTIVATION_NAMES, Activation, overlap, response, second_moment
from initializers.theory.quadrature import gaussian_mean, gaussian_product_mean

VARIANCES = torch.tensor([0.0, 1e-6, 0.03, 1.0, 5.0, 300.0, 1e6], dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_half_of_the_nodes_are_enough(name: str) -> None:
    for moment in (second_moment, response):
        fine = moment(name, VARIANCES, order=32)
        torch.testing.assert_close(moment(name, VARIANCES), fine, rtol=2e-13, atol=1e-300)
        coarse = moment(name, VARIANCES, order=8)
        torch.testing.assert_close(coarse, fine, rtol=1e-5, atol=1e-300)


@pytest.mark.parametrize("name", ["relu", "hardtanh", "tanh", "gelu"])
def test_half_of_the_nodes_are_enough_for_two_variables(name: str) -> None:
    for q in (0.1, 20.0):
        for c in (-0.999, 0.0, 0.7, 1.0 - 1e-6):
            fine = overlap(name, q, c, order=32)
            assert overlap(name, q, c) == pytest.approx(fine, rel=1e-12, abs=1e-16)


def test_polynomials_are_exact() -> None:
    for power, moment in ((0, 1.0), (2, 1.0), (4, 3.0), (6, 15.0), (8, 105.0)):
        found = gaussian_mean(partial(torch.pow, exponent=power), VARIANCES)
        torch.testing.assert_close(found, moment * VARIANCES ** (power / 2), rtol=1e-13, atol=0)
    c = torch.linspace(-1, 1, 9, dtype=torch.float64)
    products = gaussian_product_mean(torch.square, 3.0, c)  # E u^2 v^2 = q^2 (1 + 2 c^2)
    torch.testing.assert_close(products, 9 * (1 + 2 * c**2), rtol=1e-13, atol=0)


def test_erf_against_closed_form_and_hermite_rule() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    for q, tolerance in ((0.01, 1e-14), (0.5, 1e-13), (1.0, 1e-7), (5.0, 5e-7)):
        exact = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
        assert second_moment("erf", q) == pytest.approx(exact, rel=1e-14)
        values = torch.erf(torch.from_numpy(math.sqrt(q) * nodes)).numpy() ** 2
        hermite = float((weights * values).sum() / math.sqrt(2 * math.pi))
        assert second_moment("erf", q) == pytest.approx(hermite, abs=tolerance)


def test_a_kink_has_to_be_named() -> None:
    """E relu(u - a)^2 = (1 + a^2) P(u > a) - a density(a)."""
    a = 0.3

    def shifted(u: Tensor) -> Tensor:
        return torch.relu(u - a)

    tail = 0.5 * math.erfc(a / math.sqrt(2))
    exact = (1 + a * a) * tail - a * math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    known, unknown = Activation("shifted", shifted, (a,)), Activation("shifted", shifted)
    assert second_moment(known, 1.0) == pytest.approx(exact, rel=1e-14)
    assert second_moment(unknown, 1.0) == pytest.approx(exact, rel=1e-3)
    assert second_moment(unknown, 1.0) != pytest.approx(exact, rel=1e-8)
