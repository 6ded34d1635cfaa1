import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn
from torch.nn import functional

from initializers import GAIN_NAMES, HeNormal, Ternary, VarianceScaling, gain_value

FUNCTIONS = {
    "linear": lambda z: z,
    "relu": functional.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "elu": functional.elu,
    "selu": functional.selu,
    "softplus": functional.softplus,
    "mish": functional.mish,
    "hardtanh": functional.hardtanh,
    "erf": torch.erf,
}


@pytest.mark.parametrize("name", GAIN_NAMES)
def test_moment_gains_by_quadrature(name: str) -> None:
    def integrand(z: float) -> float:
        value = FUNCTIONS[name](torch.tensor(z, dtype=torch.float64))
        return float(value) ** 2 * math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)

    edges = (-12.0, -1.0, 0.0, 1.0, 12.0)  # the kinks
    moment = sum(
        quad(integrand, low, high, epsabs=1e-11, epsrel=1e-11)[0] for low, high in pairwise(edges)
    )
    assert gain_value(name, "moment") == pytest.approx(moment**-0.5, abs=1e-8)


@pytest.mark.parametrize("name", ["linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu"])
def test_torch_gains_are_those_of_torch(name: str) -> None:
    assert gain_value(name, "torch") == pytest.approx(nn.init.calculate_gain(name), rel=1e-12)


def test_values_of_the_literature() -> None:
    expected = {"tanh": 1.592537, "gelu": 1.533530, "silu": 1.676532, "mish": 1.486848}
    for name, value in expected.items():
        assert gain_value(name, "moment") == pytest.approx(value, abs=5e-7)
    assert gain_value("gelu", "torch") == gain_value("gelu", "moment")


def test_leaky_slope_and_numbers() -> None:
    assert gain_value("leaky_relu", negative_slope=0.2) == pytest.approx(
        nn.init.calculate_gain("leaky_relu", 0.2), rel=1e-12
    )
    assert gain_value(np.float32(1.5)) == 1.5  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [HeNormal, VarianceScaling, Ternary])
@pytest.mark.parametrize(
    ("gain", "error", "message"),
    [
        ("rleu", ValueError, "did you mean 'relu'"),
        (0.0, ValueError, r"gain must be in \(0, inf\), got 0.0"),
        (float("nan"), ValueError, "got nan"),
        (True, TypeError, "got True"),
        (None, TypeError, "got None"),
    ],
)
def test_bad_gains(kind: type, gain: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{kind.__name__}: .*{message}"):
        kind(gain=gain)


def test_bad_convention() -> None:
    with pytest.raises(ValueError, match="HeNormal: convention must be one of torch, moment"):
        HeNormal(convention="keras")


def test_convention_reaches_the_weights() -> None:
    module = nn.Linear(100, 50)
    for convention, gain in (("torch", 5 / 3), ("moment", 1.5925374197228312)):
        record = HeNormal(gain="tanh", convention=convention)(module, seed=0)
        assert record.layers[0].nominal_std == pytest.approx(gain / 10.0, rel=1e-12)
