"""Dirac and ZerO: exact values, singular values and identities."""

import math

import pytest
import torch
from scipy.linalg import hadamard as scipy_hadamard
from torch import Tensor, nn

from initializers import Dirac, InitRecord, ZerO
from initializers.identity import hadamard
from initializers.testing_modules import structured_network


def drawn(initializer: Dirac | ZerO, module: nn.Module) -> Tensor:
    record: InitRecord = initializer(module, seed=0)
    layer = record.layers[0]
    assert layer.std == pytest.approx(layer.nominal_std, rel=1e-6)
    return module.weight.detach().double().clone()


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(3, 3, 5, padding=2), (3, 11)),
        (nn.Conv2d(4, 4, 3, padding=1), (4, 6, 5)),
        (nn.Conv2d(6, 6, 3, padding=1, groups=3), (6, 6, 5)),
        (nn.Conv3d(2, 2, 3, padding=1), (2, 4, 4, 4)),
        (nn.ConvTranspose2d(4, 4, 3, padding=1), (4, 6, 5)),
        (nn.Linear(7, 7), (7,)),
    ],
)
def test_dirac_layers_pass_their_input_on(module: nn.Module, shape: tuple[int, ...]) -> None:
    Dirac()(module, seed=0)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(module(x), x)
    Dirac(scale=0.5)(module, seed=0)
    assert torch.equal(module(x), x / 2)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (4, 8, 4, 3), (6, 6, 2)])
def test_dirac_is_torchs(shape: tuple[int, ...], groups: int) -> None:
    kind = nn.Conv2d if len(shape) == 4 else nn.Conv1d
    module = kind(shape[1] * groups, shape[0], shape[2:], groups=groups)  # type: ignore[arg-type]
    expected = nn.init.dirac_(torch.empty(shape), groups)
    assert torch.equal(drawn(Dirac(), module), expected.double())


@pytest.mark.parametrize("order", [1, 2, 8, 64])
def test_hadamard_matrices_are_sylvesters(order: int) -> None:
    ours = hadamard(order, order, torch.float64)
    assert torch.equal(ours, torch.from_numpy(scipy_hadamard(order)).double())
    assert torch.equal(hadamard(order, 1, torch.float32), torch.ones(order, 1))


def test_wide_weights_are_partial_identities() -> None:
    weight = drawn(ZerO(), nn.Linear(9, 5))
    assert torch.equal(weight, torch.eye(5, 9, dtype=torch.float64))


@pytest.mark.parametrize(
    ("units", "inputs", "least", "most"),
    [(64, 16, 1.0, 1.0), (64, 63, 1.0, 1.0), (300, 100, 0.707, 0.866), (10, 3, 0.7, 1.0)],
)
def test_singular_values_of_tall_weights(
    units: int, inputs: int, least: float, most: float
) -> None:
    weight = drawn(ZerO(), nn.Linear(inputs, units))
    values = torch.linalg.svdvals(weight)
    assert float(values.min()) >= least - 1e-3
    assert float(values.max()) <= most + 1e-3
    size = 2.0 ** math.ceil(math.log2(units))
    torch.testing.assert_close(weight.abs(), torch.full_like(weight, size**-0.5))
    if least == most:
        torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-6, atol=0)


def test_kernels_are_zero_outside_of_their_centre() -> None:
    weight = drawn(ZerO(), nn.Conv2d(4, 16, (3, 5), groups=2))  # groups of 8 units, 2 inputs
    centre = weight[:, :, 1, 2].clone()
    for group in centre.chunk(2):
        expected = torch.from_numpy(scipy_hadamard(8)).double()[:, :2] / math.sqrt(8)
        torch.testing.assert_close(group, expected, rtol=1e-6, atol=0)
    weight[:, :, 1, 2] = 0.0
    assert not weight.any()


def test_two_seeds_give_the_same_weights_and_branch_ends_are_zero() -> None:
    one, two, same = structured_network(), structured_network(), structured_network()
    record = ZerO()(one, seed=0)
    ZerO()(two, seed=1)
    ZerO(branch_ends="same")(same, seed=0)
    zero = {layer.name for layer in record.layers if layer.zero_fraction == 1.0}
    assert zero == {"1.conv2.weight", "2.conv2.weight"}
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
    eye = same.get_parameter("1.conv2.weight")[:, :, 1, 1]
    assert torch.equal(eye, torch.eye(8))
