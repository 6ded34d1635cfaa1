import math

import pytest
import torch
from torch import nn

from initializers import HeNormal, Ternary
from lightning_modules.diagnostics import (
    measure_chi,
    measure_correlation,
    measure_quotient,
    measure_signals,
)
from tests.lightning_modules.diagnostics.nets import Residual, chain


def gaussian(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def relu_he(depth: int, width: int) -> nn.Sequential:
    network = chain([width] * (depth + 1), nn.ReLU)
    HeNormal()(network, seed=0)
    return network


# Correlation

RELU_MAP = {1: 0.318, 2: 0.494, 5: 0.736, 10: 0.872, 20: 0.948}  # from c = 0, at (2, 0)


def test_correlations_follow_the_relu_map():
    found = measure_correlation(relu_he(21, 1024), gaussian(8, 1024)).values(
        "correlation", "weight"
    )
    values = list(found.values())
    assert values[0] == pytest.approx(0.0, abs=0.04)
    for depth, wanted in RELU_MAP.items():
        assert values[depth] == pytest.approx(wanted, abs=0.04), depth


@pytest.mark.parametrize("start", [-1.0, 0.0, 0.6, 1.0])
def test_the_two_inputs_have_exactly_the_correlation_asked_for(start):
    found = measure_correlation(chain([9, 9]), gaussian(5, 9), start).values("correlation")
    assert found["input"] == pytest.approx(start, abs=1e-12)


def test_an_orthogonal_layer_keeps_the_correlation():
    network = chain([9, 9])
    with torch.no_grad():
        network[0].weight.copy_(torch.linalg.qr(network[0].weight)[0])
    found = measure_correlation(network, gaussian(5, 9), 0.3).values("correlation")
    assert found["0"] == pytest.approx(0.3, abs=1e-12)


def test_inputs_drawn_by_the_same_seed_are_not_mistaken_for_noise():
    network, x = relu_he(3, 50), gaussian(4, 50, seed=0)
    found = measure_correlation(network, x, seed=0).values("correlation")
    assert found["input"] == pytest.approx(0.0, abs=1e-12)
    assert abs(found["0"]) < 4 / (4 * 50) ** 0.5


def test_a_correlation_out_of_range_or_without_real_inputs_is_refused():
    with pytest.raises(ValueError, match=r"in \[-1, 1\]"):
        measure_correlation(chain([3, 3]), gaussian(2, 3), 1.5)
    with pytest.raises(ValueError, match="floating-point inputs"):
        measure_correlation(nn.Embedding(5, 3), torch.tensor([[1], [2]]))


# chi


def test_chi_of_a_linear_layer_is_its_mean_squared_row():
    network = chain([8, 6, 9])
    found = measure_chi(network, gaussian(4, 8), probes=400)
    for name, error in found.values("chi_error").items():
        weight = network[int(name)].weight.detach()
        exact = float(weight.square().sum()) / len(weight)
        assert abs(found.values("chi")[name] - exact) < 4 * error, name
        assert error < 0.05 * exact


def test_chi_of_a_relu_layer_is_the_norm_of_the_masked_matrix():
    network, x = relu_he(2, 40), gaussian(6, 40)
    weight = network[2].weight.detach()
    masks = (network[0](x).detach() > 0).double()
    exact = float((masks @ weight.square().T).sum(1).mean()) / 40
    found = measure_chi(network, x, probes=200)
    assert abs(found.values("chi")["2"] - exact) < 4 * found.values("chi_error")["2"]


def test_chi_of_he_relu_layers_is_1_at_width_1024():
    found = measure_chi(relu_he(4, 1024), gaussian(4, 1024), probes=2).values("chi")
    chis = list(found.values())[1:]
    assert len(chis) == 3
    assert chis == pytest.approx([1.0] * 3, abs=0.05)


def test_gradients_grow_by_chi_from_layer_to_layer():
    """Whatever the widths, the product of chi is the ratio of the squared gradient norms."""
    network, x = chain([300, 500, 200, 400, 300], nn.ReLU), gaussian(20, 300)
    measured, product = [], []
    for seed in range(8):
        HeNormal(scale=1.3)(network, seed=seed)
        chis = measure_chi(network, x, probes=4).values("chi")
        squares = measure_signals(network, [(x, None)]).values("gradient_square", "weight")
        measured.append(math.log(squares["0"] / squares["6"]))
        product.append(math.log(math.prod(chis[name] for name in ("2", "4", "6"))))
    # One probe's squared norm has the relative variance 5 / n a layer.
    error = math.sqrt(5 / 500 + 5 / 200 + 5 / 400) / 8**0.5
    assert abs(sum(measured) / 8 - sum(product) / 8) < 4 * error
    assert abs(sum(product) / 8 - 3 * math.log(1.69)) < 4 * error


def test_chi_between_blocks_where_layers_have_several_sources():
    torch.manual_seed(0)
    network, x = Residual(), gaussian(8, 1, 5, 5).float()
    found = measure_chi(network, x)
    assert set(found.values("chi", "weight")) == {
        "stem", "first.conv1", "first.conv2", "second.conv2"
    }  # fmt: skip
    assert set(found.values("chi", "block")) == {"stem", "first", "second", "head"}
    gaps = {gap.layer: gap.reason for gap in found.gaps}
    assert gaps["second.conv1"] == "it depends on 2 outputs at once (first.conv2, stem)"


def test_an_identity_block_has_chi_1():
    network = Residual()
    with torch.no_grad():
        for block in (network.first, network.second):
            block.conv2.weight.zero_()
    found = measure_chi(network, gaussian(8, 1, 5, 5).float(), probes=50)
    for name in ("first", "second"):
        assert found.values("chi", "block")[name] == pytest.approx(1.0, abs=0.03)


def test_probes_are_checked_and_repeatable():
    network, x = relu_he(3, 20), gaussian(4, 20)
    assert measure_chi(network, x) == measure_chi(network, x)
    assert measure_chi(network, x) != measure_chi(network, x, seed=1)
    with pytest.raises(ValueError, match="probes must be at least 1"):
        measure_chi(network, x, probes=0)


# Ternary and Gaussian weights of one variance


def test_ternary_and_gaussian_weights_of_one_variance_carry_one_signal():
    """At degree 128 their second moments agree within the norm's fluctuation (methods 1.4)."""
    width, depth = 512, 8
    x = gaussian(1, width)
    found = {}
    for name, initializer in (("gaussian", HeNormal()), ("ternary", Ternary(density=0.25))):
        network = chain([width] * (depth + 1), nn.ReLU)
        runs = []
        for seed in range(6):
            initializer(network, seed=seed)
            moments = list(measure_signals(network, [(x, None)]).values("second_moment").values())
            runs.append(math.log(moments[-1] / moments[0]))
        found[name] = sum(runs) / len(runs)
    spread = math.sqrt(depth * (2 * 3 - 1) / width)  # of one run's logarithm
    assert abs(found["ternary"] - found["gaussian"]) < 4 * spread * math.sqrt(2 / 6)


# Gradient quotient


def test_the_quotient_of_a_quadratic_loss():
    """L = a w^2 / 2 has g = a w, H g = a g: the quotient is |(1 - a) - 1| = a, but for eps."""
    network = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(1.0)
    x = torch.ones(2, 1, dtype=torch.float64)
    found = measure_quotient(network, x, loss=lambda out, _: 0.5 * 0.3 * out.square().mean())
    assert found.only("gradient_quotient") == pytest.approx(0.3, abs=1e-4)
