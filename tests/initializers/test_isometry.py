import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from initializers import (
    DeltaOrthogonal,
    HeNormal,
    LeCunNormal,
    LooksLinear,
    Orthogonal,
    Ternary,
    WeightNormForward,
    gaussian_submatrix,
    get_initializer,
    initialize_,
    orthogonal_submatrix,
    ternary_submatrix,
)
from initializers.mirrored import Halves, write_mirrored
from lightning_modules.networks import build_network


def perceptron(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def submatrices(network: nn.Sequential) -> list[Tensor]:
    """U of each Linear layer of a perceptron, cut out of the weights."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    found = []
    for number, layer in enumerate(layers):
        weight = layer.weight.detach()
        rows = weight.shape[0] // (1 if number == len(layers) - 1 else 2)
        columns = weight.shape[1] // (1 if number == 0 else 2)
        found.append(weight[:rows, :columns])
    return found


def test_all_singular_values_of_the_jacobian_are_one() -> None:
    network = perceptron(64, *[256] * 20, 128)
    orthogonal_submatrix()(network, seed=0)
    hidden = network[:-1]  # up to the last ReLU
    jacobian = torch.autograd.functional.jacobian(lambda x: hidden(x[None])[0], inputs(64))
    values = torch.linalg.svdvals(jacobian)
    assert torch.allclose(values, torch.ones(64, dtype=torch.float64), atol=1e-10)
    HeNormal()(network, seed=0)
    jacobian = torch.autograd.functional.jacobian(lambda x: hidden(x[None])[0], inputs(64))
    values = torch.linalg.svdvals(jacobian)
    assert float(values.max()) > 2.0
    assert float(values.min()) < 0.1


@pytest.mark.parametrize(
    "initializer",
    [orthogonal_submatrix(), gaussian_submatrix(), ternary_submatrix(density=0.3),
     LooksLinear(LeCunNormal(0.7))],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_the_network_is_the_product_of_its_submatrices(initializer: LooksLinear) -> None:
    network = perceptron(10, 16, 24, 12, 5)
    initializer(network, seed=1)
    x = inputs(7, 10)
    expected = x
    for u in submatrices(network):
        expected = expected @ u.T
    torch.testing.assert_close(network(x), expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_gelu_and_silu_networks_are_linear_too(activation: str) -> None:
    network = build_network(
        {"name": "mlp", "hidden": "12-12", "activation": activation},
        input_shape=(6,), num_classes=4,
    ).double()  # fmt: skip
    orthogonal_submatrix()(network, seed=0)
    x, y = inputs(2, 5, 6)
    torch.testing.assert_close(network(x + y), network(x) + network(y), rtol=0.0, atol=1e-12)


def test_blocks_are_exact_mirrors() -> None:
    network = perceptron(6, 8, 10, 4)
    record = gaussian_submatrix()(network, seed=0)
    first, hidden, last = (layer.weight.detach() for layer in network if hasattr(layer, "weight"))
    assert torch.equal(first[:4], -first[4:])
    assert torch.equal(hidden[:5], -hidden[5:])
    assert torch.equal(hidden[:, :4], -hidden[:, 4:])
    assert torch.equal(last[:, :5], -last[:, 5:])
    assert not torch.equal(last[:2], -last[2:])
    assert [row.note for row in record.layers] == ["[U; -U]", "[[U, -U], [-U, U]]", "[U, -U]"]
    assert not any(layer.bias.any() for layer in network if hasattr(layer, "bias"))


def test_the_submatrix_is_what_the_base_draws_with_the_fans_of_u() -> None:
    network = perceptron(6, 8, 10, 4)
    LooksLinear(Ternary(gain="linear", density=0.5))(network, seed=3)
    for u in submatrices(network):
        count = math.floor(0.5 * u.numel() + 0.5)
        assert int(u.count_nonzero()) == count
        s = 1 / math.sqrt(u.shape[1] * count / u.numel())
        assert torch.allclose(u[u != 0].abs(), torch.full((), s, dtype=torch.float64), rtol=1e-6)


def test_gaussian_weights_have_hes_variance_and_the_first_layer_half_of_it() -> None:
    network = perceptron(400, 600, 600, 10)
    record = gaussian_submatrix()(network, seed=0)
    expected = [1.0, 2.0, 2.0]
    for row, twice in zip(record.layers, expected, strict=True):
        drawn = row.shape[0] * row.shape[1] / (4 if row is record.layers[1] else 2)
        # mean square of the n different Gaussian numbers: relative error sqrt(2/n), three of them
        assert row.std**2 * row.fan_in == pytest.approx(twice, abs=twice * 3 * (2 / drawn) ** 0.5)
        assert row.nominal_std == pytest.approx(math.sqrt(twice / row.fan_in))
    # fan_out: norms are preserved where widths change, variance 2 / units of a hidden layer
    record = gaussian_submatrix(mode="fan_out")(network, seed=0)
    assert record.layers[1].nominal_std == pytest.approx(math.sqrt(2 / 600))


def test_the_halves_differ_after_one_step() -> None:
    network = perceptron(6, 8, 8, 4)
    orthogonal_submatrix()(network, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    nn.functional.cross_entropy(network(inputs(20, 6)), torch.arange(20) % 4).backward()
    optimizer.step()
    hidden = network[2].weight.detach()
    assert float((hidden[:4] + hidden[4:]).abs().max()) > 1e-3


@pytest.mark.parametrize("groups", [1, 2])
def test_delta_convolutions_are_isometries_with_circular_padding(groups: int) -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, padding_mode="circular", groups=1), nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding=2, padding_mode="circular", groups=groups), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, padding_mode="circular", groups=groups),
    ).double()  # fmt: skip
    LooksLinear(DeltaOrthogonal())(network, seed=0)
    x = inputs(3, 2, 6, 6)
    with torch.no_grad():
        norms = network(x).flatten(1).norm(dim=1)
    assert torch.allclose(norms, x.flatten(1).norm(dim=1), rtol=1e-6)


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 8, 1), (8, 12, 1), (12, 6, 1)],
        [(3, 8, 1), (8, 12, 2), (12, 12, 3), (12, 6, 1)],
        [(4, 8, 2), (8, 8, 4), (8, 6, 1)],
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_followed_by_dense_layers_are_linear(
    layers: list[tuple[int, int, int]], transposed: bool
) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    chain: list[nn.Module] = []
    for before, after, groups in layers:
        chain += [kind(before, after, 3, padding=1, groups=groups, stride=1), nn.BatchNorm2d(after),
                  nn.ReLU()]  # fmt: skip
    chain += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(layers[-1][1] * 4, 10), nn.ReLU()]
    network = nn.Sequential(*chain, nn.Linear(10, 3)).double().eval()
    for base in (Orthogonal(), LeCunNormal()):
        record = LooksLinear(base)(network, seed=0)
        assert "odd" not in str(record)
        x, y = inputs(2, 3, layers[0][0], 4, 4)
        total = network(x) + 2.0 * network(y)
        torch.testing.assert_close(network(x + 2.0 * y), total, rtol=0.0, atol=1e-12)
        assert float(total.detach().abs().max()) > 1e-3


def test_batch_normalisation_in_training_keeps_the_mirror() -> None:
    network = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8)).double()
    network.append(nn.ReLU()).append(nn.Conv2d(8, 4, 3))
    gaussian_submatrix()(network, seed=0)
    with torch.no_grad():
        z = network[:2](inputs(5, 2, 6, 6))
    assert torch.equal(z[:, :4], -z[:, 4:])


def test_an_odd_unit_stands_alone_or_is_refused() -> None:
    network = perceptron(200, 301, 41, 4)
    record = orthogonal_submatrix()(network, seed=0)
    assert "the odd unit is not mirrored" in record.layers[0].note
    weight = network[2].weight.detach()
    assert torch.equal(weight[:20, :150], -weight[20:40, :150])
    assert torch.equal(weight[:40, :150], -weight[:40, 150:300])
    alone = network[0].weight.detach()[300]
    # 200 Gaussian numbers of variance 2/200
    assert float(alone.square().sum()) == pytest.approx(2.0, abs=2.0 * 4 * (2 / 200) ** 0.5)
    before = weight.clone()
    with pytest.raises(ValueError, match=r"0\.weight of shape \(301, 200\) has an odd number"):
        LooksLinear(odd="refuse")(network, seed=1)
    assert torch.equal(before, network[2].weight)


def test_layers_without_a_rectifier_between_them_are_not_mirrored() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    record = orthogonal_submatrix()(network, seed=0)
    assert {row.note for row in record.layers} == {"U (no mirrored neighbour)"}
    assert [row.effective_gain for row in record.layers] == pytest.approx([1.0] * 3, rel=1e-6)


@pytest.mark.parametrize(("spec", "shape"), [("lenet_300_100", (1, 28, 28)), ("conv2", (3, 8, 8))])
def test_networks_of_the_zoo(spec: str, shape: tuple[int, ...]) -> None:
    network = build_network(spec, input_shape=shape, num_classes=10)
    record = get_initializer("ternary_submatrix:degree=4")(network, seed=0)
    notes = [row.note.partition(";")[0] for row in record.layers]
    assert notes == ["[U", *["[[U, -U], [-U, U]]"] * (len(notes) - 2), "[U, -U]"]
    for row in record.layers:
        assert row.effective_gain == pytest.approx(1.0, rel=0.15)
        assert len(network.get_parameter(row.name).unique()) == 3


def test_residual_blocks_joins_and_other_layers_are_refused_unchanged() -> None:
    class Concatenates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.cat((x, torch.relu(self.one(x))), 1))  # type: ignore[no-any-return]

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) if bool(x.any()) else x

    resnet = build_network("resnet:depth=8", input_shape=(3, 8, 8), num_classes=10)
    shuffled = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.PixelShuffle(2), nn.Conv2d(2, 2, 1))
    for network, message in (
        (resnet, r"stage1\.0\.conv2 ends a residual block"),
        (Concatenates(), "two joins several signals"),
        (Looks(), "cannot be traced .*order='registered'"),
        (nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2)), r"0\.weight .* of kind embedding"),
        (shuffled, r"3\.weight takes 2 inputs, which do not fit the 8 units of 0\.weight"),
    ):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            orthogonal_submatrix()(network, seed=0)
        assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_order_registered_takes_the_chain_on_trust() -> None:
    one, two = perceptron(6, 8, 10, 4), perceptron(6, 8, 10, 4)
    LooksLinear()(one, seed=2)
    LooksLinear(order="registered")(two, seed=2)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: LooksLinear(WeightNormForward()), ValueError, "base must draw every weight by"),
        (lambda: LooksLinear(odd="x"), ValueError, "odd must be one of he, refuse"),
        (lambda: LooksLinear(order="x"), ValueError, "order must be one of traced, registered"),
        (lambda: LooksLinear(3), TypeError, "An initialiser must be"),
        (lambda: gaussian_submatrix(mode="x"), ValueError, "mode must be one of"),
        (lambda: ternary_submatrix(density=2), ValueError, "density must be in"),
    ],
)
def test_bad_hyperparameters_are_one_sentence(
    build: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build()  # type: ignore[operator]


def test_a_bare_tensor_counts_as_a_hidden_layer() -> None:
    weight = torch.empty(6, 4)
    initialize_(weight, LooksLinear(), generator=torch.Generator().manual_seed(0))
    assert torch.equal(weight[:3], -weight[3:])
    assert torch.equal(weight[:, :2], -weight[:, 2:])


def test_halves_and_blocks() -> None:
    weight = torch.zeros(4, 2, 1)
    u = torch.tensor([[[1.0]], [[2.0]]])
    write_mirrored(weight, u, Halves.of(4, 1), Halves.of(2, 1))
    assert weight[:, :, 0].tolist() == [[1, -1], [2, -2], [-1, 1], [-2, 2]]
    weight = torch.zeros(4, 2, 1)
    write_mirrored(weight, u, Halves.of(4, 2), Halves.of(2, 1))
    assert weight[:, :, 0].tolist() == [[1, -1], [-1, 1], [2, -2], [-2, 2]]
