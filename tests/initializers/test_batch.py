"""The data that an initialiser is given, and what initialisers say that they need."""

import dataclasses

import pytest
import torch
from torch import nn

from initializers import (
    LSUV,
    Constant,
    GradInit,
    HeNormal,
    Initializer,
    MetaInit,
    PerLayer,
    get_initializer,
    initializer_names,
)
from initializers.testing_modules import batch, labels, network, same, state_of

NEEDS = {"data", "labels", "topology", "second derivatives"}


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (None, ValueError, r"GradInit needs labelled data: call it with batch=\(inputs, labels\)"),
        (batch(), ValueError, r"GradInit needs labelled data"),
        ((batch(), labels()[:3]), ValueError, r"32 inputs but labels of shape \(3,\)"),
        ((batch(), labels(), 1), TypeError, r"tensor of inputs or a pair .*, got tuple"),
        ("mnist", TypeError, r"tensor of inputs or a pair .*, got str"),
        (batch()[:0], ValueError, r"holds no examples, its shape is \(0, 3, 6, 6\)"),
        ((batch(), labels() + 1), ValueError, r"labels \(n,\) of classes and logits"),
        ((batch(), labels().double()), ValueError, r"labels \(n,\) of classes and logits"),
        ((batch()[:2], labels()[:2]), ValueError, "at least 3 examples, got 2"),
        ((batch()[:, :2], labels()), ValueError, r"cannot be run on a batch of shape \(\d+, 2"),
    ],
)
def test_wrong_data_are_refused_before_any_change(
    data: object, error: type[Exception], sentence: str
) -> None:
    module = network()
    before = state_of(module)
    with pytest.raises(error, match=sentence):
        GradInit(steps=1)(module, seed=0, batch=data)  # type: ignore[arg-type]
    assert same(before, state_of(module))


def test_others_ignore_the_data() -> None:
    one, two = network(), network()
    HeNormal()(one, seed=0, batch=(batch(), labels()))
    HeNormal()(two, seed=0)
    assert same(state_of(one), state_of(two))


def test_what_a_value_needs_includes_its_parts() -> None:
    assert HeNormal().requirements() == set()
    assert LSUV().requirements() == {"data"}
    assert MetaInit().requirements() == {"data", "second derivatives"}
    assert "labels" in MetaInit(data="batch").requirements()
    wrapped = PerLayer(HeNormal(), {"last": LSUV(GradInit())})
    assert wrapped.requirements() == {"data", "labels", "second derivatives"}
    with pytest.raises(ValueError, match="PerLayer needs labelled data"):
        wrapped(nn.Linear(3, 2), seed=0)


@pytest.mark.parametrize("name", sorted({*initializer_names()} - {"pretrained"}))  # needs a file
def test_every_initialiser_of_the_catalogue_describes_itself(name: str) -> None:
    initializer = get_initializer(name)
    assert set(initializer.needs) <= NEEDS
    assert initializer.family not in ("", "own")
    assert isinstance(initializer.citation, str)
    if initializer.family not in ("simple", "composition"):
        assert initializer.citation
    assert (type(initializer).__doc__ or "").strip()


def test_a_users_own_initialiser_need_not_say_anything() -> None:
    @dataclasses.dataclass(frozen=True)
    class Mine(Initializer):
        def fill(self, weight: torch.Tensor, context: object) -> None:
            weight.fill_(2.0)

    assert (Mine.needs, Mine.family, Mine.citation) == ((), "own", "")
    assert Mine().requirements() == set()


@pytest.mark.parametrize("spec", ["lsuv", "metainit:steps=1", "gradinit:steps=1"])
def test_the_module_is_left_as_it_was_found(spec: str) -> None:
    """No hooks, the same modes, flags and gradients; statistics as by any other initialiser."""
    module = network()
    module[4].eval()
    module[1].running_mean.fill_(5.0)  # type: ignore[union-attr, operator]
    module[3].weight.requires_grad_(False)
    module[0].weight.grad = gradient = torch.ones_like(module[0].weight)  # type: ignore[arg-type]
    modes = [each.training for each in module.modules()]
    get_initializer(spec)(module, seed=0, batch=(batch(), labels()))
    assert [each.training for each in module.modules()] == modes
    for each in module.modules():
        assert not each._forward_hooks
        assert not each._forward_pre_hooks
        assert not each._backward_hooks
    assert module[0].weight.grad is gradient
    assert [p.requires_grad for p in module.parameters()].count(False) == 1
    assert [p.grad is not None for p in module.parameters()].count(True) == 1
    assert not module[1].running_mean.any()  # type: ignore[union-attr, operator]
    assert int(module[1].num_batches_tracked) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", ["lsuv", "gradinit:steps=2", "metainit:steps=2"])
def test_dropout_is_off_and_the_global_generator_does_not_matter(spec: str) -> None:
    results = []
    for seed, rate in ((0, 0.0), (1, 0.0), (2, 0.5)):
        module = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Dropout(rate), nn.Linear(9, 5))
        torch.manual_seed(seed)
        data = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))
        get_initializer(spec)(module, seed=0, batch=(data, labels()))
        results.append(state_of(module))
    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_a_base_that_ends_in_infinite_weights_changes_nothing() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5))
    before = state_of(module)
    huge = MetaInit(Constant(1e38), steps=1)
    with pytest.raises(ValueError, match="MetaInit"):
        huge(module, seed=0, batch=torch.full((4, 4), 1e3))
    assert same(before, state_of(module))
