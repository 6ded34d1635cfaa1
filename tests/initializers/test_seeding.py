import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from initializers import GlorotNormal, HeNormal, Ternary, TorchDefault, Zeros
from initializers.seeding import Streams


def net(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))


def test_the_stream_is_the_documented_hash_of_seed_and_name() -> None:
    digest = hashlib.sha256(b"17:0.weight").digest()
    seed = int.from_bytes(digest[:8], "little")
    module = net(6, 5)
    HeNormal(gain=1.0)(module, seed=17)
    expected = torch.empty(30).normal_(generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(module[0].weight.flatten() * 6**0.5, expected, rtol=1e-6)


def test_layers_of_equal_shape_get_different_weights() -> None:
    module = net(5, 5, 5)
    GlorotNormal()(module, seed=0)
    assert not torch.equal(module[0].weight, module[1].weight)


def test_an_appended_layer_and_the_order_of_layers_change_nothing() -> None:
    short, long = net(6, 5, 4), net(6, 5, 4, 3)
    HeNormal()(short, seed=1)
    HeNormal()(long, seed=1)
    assert torch.equal(short[1].weight, long[1].weight)
    one, two = nn.ModuleDict(), nn.ModuleDict()
    for name in ("a", "b"):
        one[name] = nn.Linear(4, 4)
    for name in ("b", "a"):
        two[name] = nn.Linear(4, 4)
    for module in (one, two):
        TorchDefault()(module, seed=3)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])


def test_other_draws_do_not_matter() -> None:
    one, two = net(6, 5), net(6, 5)
    torch.manual_seed(0)
    Ternary()(one, seed=2)
    torch.manual_seed(99)
    torch.rand(1000)
    Ternary()(two, seed=2)
    assert torch.equal(one[0].weight, two[0].weight)


def test_a_generator_gives_one_number_whatever_the_network() -> None:
    small, large = torch.Generator().manual_seed(8), torch.Generator().manual_seed(8)
    record = HeNormal()(net(3, 2), generator=small)
    HeNormal()(net(3, 4, 5, 6), generator=large)
    assert torch.equal(small.get_state(), large.get_state())
    base = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(8)))
    assert record.seed == base
    again = net(3, 2)
    HeNormal()(again, seed=base)
    other = net(3, 2)
    HeNormal()(other, generator=torch.Generator().manual_seed(8))
    assert torch.equal(again[0].weight, other[0].weight)


def test_seed_types() -> None:
    module = net(3, 2)
    for seed in (0, 2**31, 2**63, 2**200, np.int64(5)):
        assert Zeros()(module, seed=seed).seed == seed  # type: ignore[arg-type]
    assert type(Zeros()(module, seed=np.int64(5)).seed) is int  # type: ignore[arg-type]
    draws = []
    for seed in (1, 2**64 + 1, 2**32 + 1):  # no seed is cut down to fewer bits
        HeNormal()(module, seed=seed)
        draws.append(module[0].weight.clone())
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "HeNormal: give exactly one of seed and generator.*got neither"),
        ({"seed": 0, "generator": torch.Generator()}, ValueError, "got both"),
        ({"seed": -1}, ValueError, "HeNormal: seed must be an integer >= 0, got -1"),
        ({"seed": 1.0}, TypeError, "HeNormal: seed must be an integer >= 0, got 1.0"),
        ({"seed": True}, TypeError, "got True"),
        ({"seed": "0"}, TypeError, "got '0'"),
        ({"generator": 3}, TypeError, "generator must be a torch.Generator, got 3"),
    ],
)
def test_bad_seeds(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        HeNormal()(net(3, 2), **arguments)


def test_streams_are_distinct_over_many_names_and_seeds() -> None:
    seeds = {Streams(seed).seed_of(f"{i}.weight") for seed in range(100) for i in range(100)}
    assert len(seeds) == 10_000
