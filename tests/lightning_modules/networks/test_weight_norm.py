import warnings

import pytest
import torch
from torch import nn

from initializers import HeNormal, WeightNormForward, WeightNormResNet
from lightning_modules.networks import build_network, plain_spec, weight_count
from lightning_modules.networks.weight_norm import WNBlock
from lightning_modules.stacking.networks import LayerStack, NotStackableError, VmapStack

CIFAR = (3, 32, 32)


def closed_form(n: int, widen: int = 1) -> tuple[int, int, int]:
    """Weights, biases and magnitudes of depth 6 n + 2 on 3x32x32 with 10 classes."""
    one, two, three = 16 * widen, 32 * widen, 64 * widen
    weights = 9 * (3 * 16 + 16 * one + (2 * n - 1) * one * one)
    weights += 9 * (one * two + (2 * n - 1) * two * two + two * three + (2 * n - 1) * three * three)
    weights += one * two + two * three + (16 * one if widen > 1 else 0)
    units = 16 + 2 * n * (one + two + three) + two + three + (one if widen > 1 else 0)
    return weights + 10 * three, units + 10, units


@pytest.mark.parametrize(
    ("spec", "n", "widen"),
    [
        ("wn_resnet20", 3, 1),
        ("wn_resnet56", 9, 1),
        ("wn_resnet110", 18, 1),
        ("wn_resnet:depth=14,widen=2", 2, 2),
    ],
)
def test_parameter_counts(spec: str, n: int, widen: int) -> None:
    network = build_network(spec, input_shape=CIFAR, num_classes=10)
    weights, biases, magnitudes = closed_form(n, widen)
    assert weight_count(network) == weights
    assert sum(p.numel() for p in network.parameters()) == weights + biases + magnitudes
    if spec == "wn_resnet20":
        assert (weights, biases, magnitudes) == (270_896, 794, 784)


def test_wn_mlp_counts_and_its_ordinary_output_layer() -> None:
    network = build_network("wn_mlp:hidden=300-100", input_shape=(1, 28, 28), num_classes=10)
    assert weight_count(network) == 266_200
    assert sum(p.numel() for p in network.parameters()) == 266_610 + 400
    assert type(network.get_submodule("fc3")) is nn.Linear
    assert "fc1.parametrizations.weight.original0" in network.state_dict()
    assert "fc3.weight" in network.state_dict()


@pytest.mark.parametrize("spec", ["wn_mlp:hidden=9-7", "wn_resnet:depth=8"])
def test_networks_start_at_zero_without_zero_by_zero(spec: str) -> None:
    state = torch.get_rng_state()
    network = build_network(spec, input_shape=(1, 8, 8), num_classes=3)
    assert torch.equal(state, torch.get_rng_state())
    x = torch.ones(2, 1, 8, 8)
    assert torch.equal(network(x), torch.zeros(2, 3))
    assert all(bool(p.isfinite().all()) for p in network.parameters())


def test_block_equals_its_formula() -> None:
    block = WNBlock(3, 5, 2).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))

        def weight(layer: nn.Module) -> torch.Tensor:
            g = layer.get_parameter("parametrizations.weight.original0")
            v = layer.get_parameter("parametrizations.weight.original1")
            return g * v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

        x = torch.randn((2, 3, 6, 6), generator=generator, dtype=torch.float64)
        conv = nn.functional.conv2d
        one, two, short = block.conv1, block.conv2, block.shortcut
        h = conv(x, weight(one), one.bias, stride=2, padding=1).relu()
        h = conv(h, weight(two), two.bias, padding=1)
        expected = h + conv(x, weight(short), short.bias, stride=2)
        torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


def test_he_on_wn_mlp_gives_the_logits_of_he_on_mlp() -> None:
    spec = {"hidden": "20-12"}
    one = build_network({"name": "mlp", **spec}, input_shape=(16,), num_classes=4).double()
    two = build_network({"name": "wn_mlp", **spec}, input_shape=(16,), num_classes=4).double()
    HeNormal()(one, seed=1)
    record = HeNormal()(two, seed=1)
    x = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one(x), two(x), rtol=1e-13, atol=1e-13)
    assert [row.name for row in record.layers] == ["fc1.weight", "fc2.weight", "fc3.weight"]
    assert ["weight-normalised" in row.note for row in record.layers] == [True, True, False]
    assert record.skipped == ()


def test_a_hundred_layers_keep_a_signal_where_torchs_default_loses_it() -> None:
    hidden = "-".join(["64"] * 100)
    network = build_network({"name": "wn_mlp", "hidden": hidden}, input_shape=(64,), num_classes=4)
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    hidden_part = nn.Sequential(*list(network.children())[:-1])
    with torch.no_grad():
        WeightNormForward()(network, seed=0)
        ours = float(hidden_part(x).norm() / x.norm())
        HeNormal(gain=1.0 / 3.0**0.5)(network, seed=0)  # the variance of torch's default
        theirs = float(hidden_part(x).norm() / x.norm())
    assert 0.01 < ours < 10.0
    assert theirs < 1e-12


def test_a_step_of_training_lowers_the_loss() -> None:
    network = build_network("wn_resnet:depth=8", input_shape=(1, 8, 8), num_classes=3)
    WeightNormResNet()(network, seed=0)
    x = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(12) % 3
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(network(x), y)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.02
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_stacks_by_vmap_agree_with_the_networks_alone() -> None:
    """Layer stacks say why they cannot take them."""
    network = build_network("wn_mlp:hidden=12-8", input_shape=(6,), num_classes=3)
    with pytest.raises(NotStackableError, match=r"fc1 \(ParametrizedLinear\) has parameters"):
        LayerStack(network, 2)
    stack = VmapStack(network, 2)
    x = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    alone = []
    for member in range(2):
        WeightNormForward()(network, seed=member)
        stack.load_member(member, network)
        alone.append(network(x).detach())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has no batching rule and takes one by one
        out = stack(torch.cat((x, x)))
    torch.testing.assert_close(out, torch.cat(alone), rtol=1e-5, atol=1e-6)


def test_plain_spec_has_one_form() -> None:
    assert plain_spec({"name": "wn_mlp", "hidden": [300, 100], "bias": True}) == {
        "name": "wn_mlp",
        "hidden": "300-100",
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "wn_resnet:depth=21",
            "depth=21 of a WNResNet must be 6 n + 2 with n >= 1: 8, 14, 20, 32, 44, 56.",
        ),
        ("wn_resnet20:widen=0", "widen=0 of a WNResNet must be a whole number >= 1."),
    ],
)
def test_what_cannot_be_built_is_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_network(spec, input_shape=CIFAR, num_classes=10)
    assert str(caught.value) == message
