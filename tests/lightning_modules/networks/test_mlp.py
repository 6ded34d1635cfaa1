import pytest
import torch
from torch import Tensor, nn

from lightning_modules.networks import ACTIVATIONS, MLP, build_network, weight_count
from lightning_modules.networks.mlp import parse_widths


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_lenet_300_100_has_the_published_number_of_weights() -> None:
    network = build_network("lenet_300_100", input_shape=(1, 28, 28), num_classes=10)
    assert weight_count(network) == 784 * 300 + 300 * 100 + 100 * 10 == 266_200
    assert parameters(network) == 266_200 + 410
    assert [name for name, _ in network.named_children()] == (
        ["flatten", "fc1", "act1", "fc2", "act2", "fc3"]
    )
    assert network(torch.zeros(7, 1, 28, 28)).shape == (7, 10)


def test_lenet_300_100_takes_its_ends_from_the_data() -> None:
    network = build_network("lenet_300_100", input_shape=(3, 32, 32), num_classes=7)
    assert weight_count(network) == 3072 * 300 + 300 * 100 + 100 * 7


@pytest.mark.parametrize(
    "spec",
    [
        "mlp:widths=64-300-100-10",
        "mlp:hidden=300-100",
        "lenet_300_100",
        {"name": "mlp", "hidden": [300, 100]},
        {"name": "mlp", "widths": (64, 300, 100, 10)},
    ],
)
def test_every_form_gives_the_same_network(spec: str | dict[str, object]) -> None:
    network = build_network(spec, input_shape=(1, 8, 8), num_classes=10)
    shapes = [tuple(p.shape) for p in network.parameters()]
    assert shapes == [(300, 64), (300,), (100, 300), (100,), (10, 100), (10,)]


def test_forward_is_the_chain_of_affine_maps_and_activations() -> None:
    network = MLP((2, 3), 4, hidden=(5,), activation="tanh").double()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=number))
    x = normal(9, 2, 3, seed=99).double()
    w1, b1, w2, b2 = network.parameters()
    expected = torch.tanh(x.reshape(9, 6) @ w1.T + b1) @ w2.T + b2
    torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)


def test_options_reach_the_layers() -> None:
    network = build_network(
        "mlp:hidden=20,activation=leaky_relu,bias=false", input_shape=(64,), num_classes=3
    )
    assert parameters(network) == weight_count(network) == 64 * 20 + 20 * 3
    activation = network.get_submodule("act1")
    assert isinstance(activation, nn.LeakyReLU)
    assert activation.negative_slope == 0.01


def test_no_hidden_layer_is_a_linear_classifier() -> None:
    network = build_network("mlp:widths=64-10", input_shape=(1, 8, 8), num_classes=10)
    assert [type(child) for child in network.children()] == [nn.Flatten, nn.Linear]


@pytest.mark.parametrize(
    ("name", "at_minus_2", "at_1"),
    [
        ("relu", 0.0, 1.0),
        ("leaky_relu", -0.02, 1.0),
        ("tanh", -0.964028, 0.761594),
        ("sigmoid", 0.119203, 0.731059),
        ("gelu", -0.045500, 0.841345),
        ("silu", -0.238406, 0.731059),
        ("elu", -0.864665, 1.0),
        ("selu", -1.520167, 1.050701),
        ("softplus", 0.126928, 1.313262),
        ("mish", -0.252501, 0.865098),
        ("hardtanh", -1.0, 1.0),
        ("linear", -2.0, 1.0),
        ("identity", -2.0, 1.0),
    ],
)
def test_activation_values(name: str, at_minus_2: float, at_1: float) -> None:
    values = ACTIVATIONS[name]()(torch.tensor([-2.0, 1.0]))
    torch.testing.assert_close(values, torch.tensor([at_minus_2, at_1]), rtol=0, atol=2e-6)


def test_all_activations_are_listed_above() -> None:
    marks = test_activation_values.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "mlp:widths=784-300-10",
            "network 'mlp' with widths=784-300-10 does not fit the data: the first width must be "
            "64 (input 1x8x8) and the last 10 (classes).",
        ),
        (
            "mlp:widths=64-300-9",
            "network 'mlp' with widths=64-300-9 does not fit the data: the first width must be 64 "
            "(input 1x8x8) and the last 10 (classes).",
        ),
        (
            "mlp",
            "network 'mlp' takes either widths (such as 64-300-100-10) or hidden (such as "
            "300-100), and got neither.",
        ),
        (
            "mlp:widths=64-10,hidden=5",
            "network 'mlp' takes either widths (such as 64-300-100-10) or hidden (such as "
            "300-100), and got both.",
        ),
        (
            "mlp:hidden=300-0",
            "hidden='300-0' is not a list of layer widths: give whole numbers >= 1 joined by "
            "hyphens, such as 300-100 or 300-64x3-10.",
        ),
        (
            "mlp:hidden=5,activation=rellu",
            "unknown activation 'rellu': did you mean 'relu' or 'elu' or 'selu'.",
        ),
        ("lenet_300_100:bias=1", "bias=1 must be true or false."),
    ],
)
def test_what_cannot_be_built_is_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_network(spec, input_shape=(1, 8, 8), num_classes=10)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "bad", ["", "a-b", "3--4", "-3", 0, -1, 2.5, True, [3, "4"], None, "64x", "64x0", "x3"]
)
def test_widths_that_are_none(bad: object) -> None:
    with pytest.raises(ValueError, match="is not a list of layer widths"):
        parse_widths(bad, "hidden")  # type: ignore[arg-type]


def test_repeated_widths_are_written_out() -> None:
    assert parse_widths("300-64x3-10", "hidden") == (300, 64, 64, 64, 10)
    network = build_network("mlp:hidden=64x199", input_shape=(1, 28, 28), num_classes=10)
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    assert len(weights) == 200
    assert sum(p.numel() for p in weights) == 784 * 64 + 198 * 64 * 64 + 64 * 10
