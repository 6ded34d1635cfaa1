import math

import pytest
import torch
from torch import nn

from initializers import DeltaOrthogonal, Orthogonal, gain_value


def x_of(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("kind", "size", "spatial"),
    [(nn.Conv1d, 5, (9,)), (nn.Conv2d, 3, (6, 7)), (nn.Conv3d, (3, 1, 5), (4, 4, 6))],
)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("factor", [1.0, 1.7])
def test_norms_are_multiplied_by_the_gain_with_circular_padding(
    kind: type, size: int, spatial: tuple[int, ...], groups: int, factor: float
) -> None:
    layer = kind(
        4, 10, size, padding="same", padding_mode="circular", groups=groups, dtype=torch.float64
    )
    DeltaOrthogonal(factor, gain="relu")(layer, seed=0)
    x = x_of(5, 4, *spatial)
    with torch.no_grad():
        ratios = layer(x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert torch.allclose(ratios, torch.full_like(ratios, factor * math.sqrt(2.0)), rtol=1e-6)


def test_only_the_centre_tap_is_non_zero_and_has_orthonormal_columns() -> None:
    layer = nn.Conv2d(6, 8, (3, 5), groups=2)
    record = DeltaOrthogonal()(layer, seed=0)
    weight = layer.weight.detach().clone()
    for group in weight[:, :, 1, 2].chunk(2):
        assert torch.allclose(group.T @ group, torch.eye(3), atol=1e-6)
    weight[:, :, 1, 2] = 0.0
    assert not weight.any()
    row = record.layers[0]
    assert row.zero_fraction == pytest.approx(14 / 15)
    assert row.nominal_std == pytest.approx(1 / math.sqrt(4 * 15))
    assert row.std == pytest.approx(float(row.nominal_std or 0), rel=1e-6)
    assert row.effective_gain == pytest.approx(1.0, rel=1e-6)


def test_an_even_kernel_takes_tap_k_half_and_says_so() -> None:
    layer = nn.Conv1d(2, 3, 4)
    record = DeltaOrthogonal()(layer, seed=0)
    assert layer.weight.detach().abs().sum((0, 1)).nonzero().view(-1).tolist() == [2]
    assert record.layers[0].note == "kernel 4 has no centre: tap k // 2"


def test_contracting_convolutions_are_refused_unchanged_or_get_orthonormal_rows() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"1\.weight has more input than output channels \(8 to 4"):
        DeltaOrthogonal()(network, seed=0)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    DeltaOrthogonal(contracting="rows")(network, seed=0)
    tap = network[1].weight.detach()[:, :, 1, 1]
    assert torch.allclose(tap @ tap.T, torch.eye(4), atol=1e-6)


def test_transposed_convolutions_and_other_layers() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2, padding=1, dtype=torch.float64)
    DeltaOrthogonal()(layer, seed=0)
    x = x_of(2, 4, 5, 5)
    with torch.no_grad():  # stride 1 and a delta kernel: every pixel is mapped on its own
        assert torch.allclose(layer(x).norm(dim=1), x.norm(dim=1), rtol=1e-6)
    one, two = nn.Linear(7, 5), nn.Linear(7, 5)
    DeltaOrthogonal(gain="tanh")(one, seed=4)
    Orthogonal(gain="tanh")(two, seed=4)
    assert torch.equal(one.weight, two.weight)
    assert float(one.weight.norm(dim=1)[0].detach()) == pytest.approx(gain_value("tanh"), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"scale": -1}, "scale must be in"), ({"contracting": "x"}, "contracting must be one of"),
     ({"gain": "rel"}, "did you mean 'relu'")],
)  # fmt: skip
def test_bad_hyperparameters_are_one_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeltaOrthogonal(**options)  # type: ignore[arg-type]
