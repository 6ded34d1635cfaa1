import json
import math

import pytest
import torch
from torch import nn

from initializers import HeNormal, InitRecord, LayerRecord, Ternary
from initializers.record import measure


def test_measures_agree_with_closed_forms() -> None:
    weight = torch.tensor([[3.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
    result = measure(weight)
    assert result.std == pytest.approx(math.sqrt(25 / 6), rel=1e-12)
    assert (result.zeros, result.empty_rows) == (4, 1)
    assert result.kurtosis == pytest.approx(6 * (81 + 256) / 625, rel=1e-12)
    assert measure(torch.zeros(3, 3)).kurtosis is None


@pytest.mark.parametrize("shape", [(3, 100_000), (100_000, 3), (700, 300), (5, 4, 3, 2)])
def test_blocks_do_not_matter(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight[weight.abs() < 0.1] = 0.0
    result, exact = measure(weight), weight.double()
    assert result.std == pytest.approx(float(exact.square().mean().sqrt()), rel=1e-12)
    assert result.zeros == int((exact == 0).sum())
    assert result.empty_rows == int((exact.flatten(1) == 0).all(1).sum())
    kurtosis = float(exact.pow(4).mean() / exact.square().mean() ** 2)
    assert result.kurtosis == pytest.approx(kurtosis, rel=1e-12)


def test_tiny_weights_are_not_taken_for_zeros() -> None:
    result = measure(torch.full((4, 4), 1e-30))
    assert (result.zeros, result.empty_rows) == (0, 0)
    assert result.std == pytest.approx(1e-30, rel=1e-5)
    assert result.kurtosis == pytest.approx(1.0)


def test_plain_data_and_table() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.PReLU())
    record = Ternary(density=0.5)(module, seed=9)
    data = record.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["initializer"] == {"name": "ternary", "density": 0.5}
    assert data["seed"] == 9
    assert data["biases"] == ["0.bias"]
    assert data["norms"] == ["1.weight", "1.bias"]
    assert data["skipped"] == [{"name": "2.weight", "shape": [1], "reason": "slope of PReLU"}]
    layer = data["layers"][0]
    assert (layer["name"], layer["type"], layer["shape"]) == ("0.weight", "Linear", [3, 4])
    assert (layer["fan_in"], layer["fan_out"], layer["zero_fraction"]) == (4, 3, 0.5)
    assert layer["nominal_std"] == pytest.approx(math.sqrt(2 / 4))
    lines = str(record).splitlines()
    assert lines[0].split()[:2] == ["layer", "shape"]
    assert lines[1].split()[:2] == ["0.weight", "3x4"]
    assert lines[2] == "skipped 2.weight: slope of PReLU"


def test_records_are_values() -> None:
    module = nn.Linear(4, 3)
    first, second = HeNormal()(module, seed=0), HeNormal()(module, seed=0)
    assert first == second
    assert first != HeNormal()(module, seed=1)
    assert isinstance(first, InitRecord)
    assert isinstance(first.layers[0], LayerRecord)
