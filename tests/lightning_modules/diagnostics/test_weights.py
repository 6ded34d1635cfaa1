import pytest
import torch
from torch import nn

from initializers import get_initializer
from lightning_modules.diagnostics import Start, measure_strengths, measure_weights


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


def test_how_unequal_strengths_are():
    network = nn.Sequential(layer([[1.0, 2.0], [3.0, 4.0]]), layer([[1.0, -1.0], [-1.0, 1.0]]))
    found = measure_strengths(network).values("strength_ratio")
    # Rows 3 and 7, columns 4 and 6: (4 / 2 + 1 / 2) / 2, over the second moment 30 / 4.
    assert found == {"0.weight": pytest.approx(1 / 6), "1.weight": 0.0}
    convolution = nn.Conv2d(2, 2, 1, groups=2, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
    # Two groups of one weight: the strengths of inputs and of outputs are 1 and 3.
    assert measure_strengths(convolution).only("strength_ratio") == pytest.approx(1 / 5)
    zeros = layer([[0.0, 0.0]])
    assert measure_strengths(zeros).rows == ()


def test_the_strengths_of_independent_weights_have_ratio_one():
    linear = nn.Linear(200, 300)
    record = get_initializer("he_normal")(linear, seed=0)
    assert record.layers[0].fan_in == 200
    # Variances of 200 and 300 numbers: relative error sqrt(2 / n), 4 sigma of their mean.
    allowed = 4 * (2 / 200 + 2 / 300) ** 0.5 / 2
    found = measure_strengths(linear).only("strength_ratio")
    assert found == pytest.approx(1.0, abs=allowed)
    get_initializer("rewired:base=he_normal")(linear, seed=0)
    assert measure_strengths(linear).only("strength_ratio") < 0.25


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
