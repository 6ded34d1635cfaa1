import math
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_modules.diagnostics import Diagnosis, Gap, Moments, Row, measure_signals, write_csv
from tests.lightning_modules.diagnostics.nets import chain


def gaussian(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_moments_of_known_values_in_parts_are_those_of_the_whole():
    values = torch.tensor([[1.0, 0.0, -2.0], [3.0, 0.0, 0.0]])
    whole, parts = Moments(), Moments()
    whole.add(values)
    for part in values.split(1):
        parts.add(part)
    second, fourth = (1 + 4 + 9) / 6, (1 + 16 + 81) / 6
    wanted = {
        "mean": pytest.approx(2 / 6, abs=1e-15),
        "second_moment": pytest.approx(second),
        "kurtosis": pytest.approx(fourth / second**2),
        "dead_units": pytest.approx(1 / 3),
    }
    assert whole.figures() == wanted
    assert parts.figures() == wanted


def test_units_of_images_stand_on_the_second_axis():
    images = torch.zeros(2, 3, 4, 4)
    images[1, 2, 3, 3] = -1.0
    moments = Moments()
    moments.add(images, axis=1)
    assert moments.figures()["dead_units"] == pytest.approx(2 / 3)


def test_kurtosis_of_gaussian_numbers_is_3_within_four_standard_errors():
    moments = Moments()
    for seed in range(10):
        moments.add(gaussian(100, 100, seed=seed))
    assert abs(moments.figures()["kurtosis"] - 3.0) < 4 * math.sqrt(24 / 100_000)


def test_all_zeros_have_no_kurtosis():
    moments = Moments()
    moments.add(torch.zeros(3, 2))
    figures = moments.figures()
    assert math.isnan(figures["kurtosis"])
    assert (figures["second_moment"], figures["dead_units"]) == (0.0, 1.0)


def test_signals_and_gradients_of_a_linear_chain_are_the_matrix_products():
    network, x = chain([5, 7, 4]), gaussian(20, 5)
    first, second = network[0].weight.detach(), network[1].weight.detach()
    probe = gaussian(4, seed=9)
    found = measure_signals(network, [(x, None)], loss=lambda out, _: (out @ probe).mean())
    moments = found.values("second_moment")
    assert moments == {
        "0": pytest.approx(float((x @ first.T).square().mean())),
        "1": pytest.approx(float((x @ first.T @ second.T).square().mean())),
    }
    # Of one example's loss probe . z2, the gradients are probe and second^T probe.
    assert found.values("gradient_square") == {
        "0": pytest.approx(float((probe @ second).square().sum())),
        "1": pytest.approx(float(probe.square().sum())),
    }
    gradient = torch.outer(probe @ second, x.mean(0))
    norms = found.values("gradient_norm", "parameter")
    assert norms["0.weight"] == pytest.approx(float(gradient.norm()))
    ratios = found.values("gradient_ratio")
    assert ratios["0.weight"] == pytest.approx(float(gradient.norm() / first.norm()))
    whole = found.values("gradient_norm", "network")[""]
    assert whole == pytest.approx(math.hypot(*norms.values()))
    assert found.values("loss")[""] == pytest.approx(float((x @ first.T @ second.T @ probe).mean()))


def test_batches_of_any_size_count_by_their_examples():
    network, x = chain([5, 7, 4], nn.Tanh), gaussian(30, 5)
    labels = torch.arange(30) % 4
    whole = measure_signals(network, [(x, labels)])
    parts = measure_signals(
        network, [(x[:7], labels[:7]), (x[7:8], labels[7:8]), (x[8:], labels[8:])]
    )
    assert [row.layer for row in whole.rows] == [row.layer for row in parts.rows]
    for one, other in zip(whole.rows, parts.rows, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-9, abs=1e-12), one


def test_gradient_square_does_not_depend_on_the_number_of_examples():
    network, x = chain([5, 7, 4]), gaussian(10, 5)
    one = measure_signals(network, [(x, None)]).values("gradient_square")
    two = measure_signals(network, [(torch.cat((x, x)), None)]).values("gradient_square")
    assert two == pytest.approx(one)


def test_constructed_dead_units_are_counted():
    network = chain([6, 10, 3], nn.ReLU)
    with torch.no_grad():
        network[0].weight[:4].zero_()  # empty rows
        network[0].weight[4] = -1.0  # never positive on positive inputs
    x = gaussian(50, 6).abs()
    found = measure_signals(network, [(x, None)]).values("dead_units")
    alive = int((network[:2](x) != 0).any(0).sum())
    assert found["0"] == pytest.approx(0.4)
    assert found["1"] == pytest.approx(1 - alive / 10)
    assert alive <= 5
    assert found["2"] == 0.0


def test_a_relu_he_layer_keeps_the_second_moment_within_four_standard_errors():
    width = 512
    network = chain([width, width, width], nn.ReLU)
    with torch.no_grad():
        for layer in (network[0], network[2]):
            layer.weight.mul_(2**0.5)
    moments = measure_signals(network, [(gaussian(1, width), None)]).values("second_moment")
    # sum h^2 has the relative variance (2 kappa - 1) / n, sum z^2 the variance (kappa - 1) / n.
    error = math.sqrt((2 * 3 - 1) / width + 2 / width)
    assert abs(moments["2"] / moments["0"] - 1.0) < 4 * error


def test_a_parameter_that_the_loss_does_not_see_is_named():
    network = chain([3, 4, 2])
    network.register_parameter("lost", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    found = measure_signals(network, [(gaussian(4, 3), None)])
    assert Gap("lost", "its gradient", "the loss does not depend on it") in found.gaps
    assert "lost" not in found.values("gradient_norm")


@pytest.mark.parametrize("batches", [[], [(torch.zeros(0, 3), None)]])
def test_no_examples_are_refused(batches):
    with pytest.raises(ValueError, match="holds no examples"):
        measure_signals(nn.Linear(3, 2), batches)


def test_one_example_is_refused_with_batch_normalisation():
    with pytest.raises(ValueError, match="at least two examples"):
        measure_signals(
            nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), [(torch.ones(1, 3), None)]
        )


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Labels \(3, 1\) and output \(3, 2\)"):
        measure_signals(nn.Linear(3, 2), [(torch.ones(3, 3), torch.zeros(3, 1).long())])


def test_tables(tmp_path: Path):
    row = Row("fc", "weight", 0, "chi", 0.1 + 0.2)
    diagnosis = Diagnosis((row,), (Gap("a", "chi", "why"),))
    both = diagnosis + diagnosis.at(step=3, seed=2)
    assert [(r.step, r.seed) for r in both.rows] == [(0, 0), (3, 2)]
    assert both.gaps == diagnosis.gaps
    assert str(both.gaps[0]) == "chi of a is not measured: why."
    assert diagnosis.only("chi") == 0.1 + 0.2
    with pytest.raises(KeyError, match="2 times"):
        both.only("chi")
    write_csv(tmp_path / "table.csv", [("he", both.rows)])
    assert (tmp_path / "table.csv").read_text().splitlines() == [
        "initializer,layer,kind,position,statistic,value,index,step,seed",
        "he,fc,weight,0,chi,0.30000000000000004,0,0,0",
        "he,fc,weight,0,chi,0.30000000000000004,0,3,2",
    ]
