"""Mimetic initialisation: products of attention's weights."""

import pytest
import torch
from torch import Tensor, nn

from initializers import GlorotUniform, Mimetic, draws
from initializers.seeding import Streams
from initializers.testing_modules import same, state_of, structured_network

WIDTH, HEADS = 48, 4
SIZE = WIDTH // HEADS


def attention(initializer: Mimetic) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, key, value and output weights in float64."""
    module = nn.MultiheadAttention(WIDTH, HEADS).double()
    initializer(module, seed=5)
    query, key, value = module.in_proj_weight.detach().chunk(3)
    return query, key, value, module.out_proj.weight.detach()


def noise(name: str, count: int) -> list[Tensor]:
    generator = Streams(5).generator(f"in_proj_weight[{name}]/Mimetic")
    drawn = []
    for _ in range(count):
        drawn.append(torch.empty(WIDTH, WIDTH, dtype=torch.float64))
        draws.fill_normal(drawn[-1], WIDTH**-0.5, generator)
    return drawn


def test_products_are_the_targets() -> None:
    query, key, value, out = attention(Mimetic())
    eye = torch.eye(WIDTH, dtype=torch.float64)
    for head, z in enumerate(noise("query", HEADS)):
        rows = slice(head * SIZE, (head + 1) * SIZE)
        left, values, right = torch.linalg.svd(0.7 * z + 0.7 * eye)
        best = left[:, :SIZE] * values[:SIZE] @ right[:SIZE]
        torch.testing.assert_close(query[rows].T @ key[rows], best, rtol=0, atol=1e-5)
        # the two factors share the product evenly
        torch.testing.assert_close(query[rows] @ query[rows].T, key[rows] @ key[rows].T)
    (z,) = noise("value", 1)
    torch.testing.assert_close(value.T @ out.T, 0.4 * z - 0.4 * eye, rtol=0, atol=1e-5)


def test_diagonals_have_the_stated_signs() -> None:
    """The trace over the width of 0.4 Z has standard deviation 0.4 / width."""
    query, key, value, out = attention(Mimetic())
    assert float((query.T @ key).diagonal().mean()) > 0.2
    mean = float((value.T @ out.T).diagonal().mean())
    assert mean == pytest.approx(-0.4, abs=4 * 0.4 / WIDTH)
    language = attention(Mimetic(value_identity=0.4))
    assert float((language[2].T @ language[3].T).diagonal().mean()) > 0.3


def test_all_else_is_the_bases() -> None:
    module, plain = structured_network(), structured_network()
    GlorotUniform()(plain, seed=0)
    record = Mimetic()(module, seed=0)
    for name, value in state_of(module).items():
        attends = name in ("4.attention.in_proj_weight", "4.attention.out_proj.weight")
        assert torch.equal(value, state_of(plain)[name]) is not attends
    notes = {layer.name: layer.note for layer in record.layers if layer.note}
    assert set(notes) == {
        *(f"4.attention.in_proj_weight[{part}]" for part in ("query", "key", "value")),
        "4.attention.out_proj.weight",
    }


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.Linear(3, 2), "of which this module has none"),
        (nn.MultiheadAttention(8, 2, kdim=6), "embed_dim 8, kdim 6 and vdim 8"),
    ],
)
def test_what_it_cannot_handle(module: nn.Module, sentence: str) -> None:
    before = state_of(module)
    with pytest.raises(ValueError, match=sentence):
        Mimetic()(module, seed=0)
    assert same(before, state_of(module))
