import pytest
import torch
from torch import nn

from lightning_modules.diagnostics import Start, measure_weights


def layer(values: list[list[float]]) -> nn.Linear:
    weight = torch.tensor(values)
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.zero_()
    return linear


def test_zeros_empty_rows_and_tails_of_a_weight():
    found = measure_weights(layer([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    assert found.values("zero_weights") == {"weight": pytest.approx(6 / 9)}
    assert found.values("empty_rows") == {"weight": pytest.approx(1 / 3)}
    assert found.values("weight_second_moment") == {"weight": pytest.approx(6 / 9)}
    assert found.values("weight_kurtosis") == {"weight": pytest.approx((18 / 9) / (6 / 9) ** 2)}


def test_a_parameter_of_no_known_layer_is_a_gap():
    network = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    assert [gap.layer for gap in measure_weights(network).gaps] == ["1.weight"]


def test_changes_since_the_start():
    linear = layer([[1.0, -1.0, 0.0], [0.0, 2.0, 0.0]])
    start = Start(linear)
    nothing = start.measure(linear)
    assert nothing.values("distance") == {"weight": 0.0, "": 0.0}
    assert nothing.values("sign_changes") == {"weight": 0.0}
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1.0, -1.0, 0.5], [0.0, 0.0, 0.0]]))
        linear.bias.fill_(1.0)
    found = start.measure(linear)
    assert found.values("sign_changes")["weight"] == pytest.approx(1 / 3)
    assert found.values("revived_zeros") == {
        "weight": pytest.approx(1 / 3),
        "bias": 1.0,
    }
    assert found.values("distance")["weight"] == pytest.approx(((4 + 0.25 + 4) / 6) ** 0.5)
    assert found.values("distance")[""] == pytest.approx(((4 + 0.25 + 4 + 2) / 6) ** 0.5)
    assert "bias" not in found.values("sign_changes")  # it had none to change


def test_the_start_is_a_copy_and_follows_names():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    start = Start(network)
    assert start.measure(nn.Sequential(network[0])).gaps[0].layer == "1.weight"
