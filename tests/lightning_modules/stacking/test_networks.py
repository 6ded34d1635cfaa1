"""Whole networks as stacks: values, rows that stay and go, and what is refused."""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from initializers import HeNormal
from lightning_modules import build_network
from lightning_modules.stacking import (
    STACKS,
    DenseStack,
    LayerStack,
    NotStackableError,
    StackedNetwork,
    refuse_other_than_chain,
)
from lightning_modules.stacking.block import mean_losses

MEMBERS = 4
MLP = "mlp:hidden=33-17"
RESNET = "resnet:depth=8,shortcut=B"
CASES = [
    ("dense", MLP),
    ("onednn", MLP),
    ("layers", MLP),
    ("vmap", MLP),
    ("layers", RESNET),
    ("vmap", RESNET),
]
cases = pytest.mark.parametrize(("form", "name"), CASES)


def network(spec: str) -> nn.Module:
    return build_network(spec, input_shape=(1, 8, 8), num_classes=10).double()


def lone(spec: str) -> list[nn.Module]:
    networks = [network(spec) for _ in range(MEMBERS)]
    for seed, each in enumerate(networks):
        HeNormal()(each, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():  # biases and running statistics of their own, too
            for value in (*each.parameters(), *each.buffers()):
                if value.dim() == 1:
                    value.copy_(torch.rand(value.shape, generator=generator).double() + 0.5)
    return networks


def stack_of(form: str, networks: list[nn.Module]) -> StackedNetwork:
    stack = STACKS[form](networks[0], len(networks))
    for member, each in enumerate(networks):
        stack.load_member(member, each)
    return stack


def images(n: int = 7) -> Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(9)).double()


def labels(n: int = 7) -> Tensor:
    return torch.arange(n) % 10


def repeated(x: Tensor, members: int = MEMBERS) -> Tensor:
    return x.expand(members, *x.shape).flatten(0, 1)


@cases
def test_logits_are_those_of_the_members(form: str, name: str) -> None:
    networks, x = lone(name), images()
    stack = stack_of(form, networks).eval()
    logits = stack(repeated(x)).chunk(MEMBERS)
    for ours, each in zip(logits, networks, strict=True):
        torch.testing.assert_close(ours, each.eval()(x), rtol=1e-12, atol=1e-12)


@cases
def test_a_member_is_given_back_as_it_came(form: str, name: str) -> None:
    networks = lone(name)
    stack = stack_of(form, networks)
    for member, each in enumerate(networks):
        blank = network(name)
        stack.store_member(member, blank)
        assert blank.state_dict().keys() == each.state_dict().keys()
        assert all(torch.equal(v, each.state_dict()[k]) for k, v in blank.state_dict().items())


@cases
def test_keep_drops_and_permutes(form: str, name: str) -> None:
    networks, x = lone(name), images()
    stack = stack_of(form, networks)
    stack.keep([3, 0])
    assert stack.members == 2
    assert {len(value) for value in (*stack.parameters(), *stack.buffers())} == {2}
    for row, member in enumerate((3, 0)):
        back = network(name)
        stack.store_member(row, back)
        expected = networks[member].state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in back.state_dict().items())
    first, second = stack.eval()(repeated(x, 2)).chunk(2)
    torch.testing.assert_close(first, networks[3].eval()(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(second, networks[0].eval()(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", STACKS)
def test_nobody_may_be_left(form: str) -> None:
    stack = stack_of(form, lone(MLP))
    stack.keep([])
    assert stack.members == 0
    assert {len(parameter) for parameter in stack.parameters()} == {0}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", [MLP, "mlp:hidden=5,bias=False", "mlp:widths=64-10"])
def test_the_written_out_gradient_is_that_of_autograd(name: str, smoothing: float) -> None:
    networks = lone(name)
    dense = stack_of("dense", networks)
    assert isinstance(dense, DenseStack)
    for n in (7, 3, 7, 1):  # a last, smaller batch and back
        x, y = images(n), labels(n)
        logits = dense.gradients(
            x.expand(MEMBERS, *x.shape), y.expand(MEMBERS, n), smoothing
        ).clone()
        for member, each in enumerate(networks):
            each.zero_grad()
            expected = each(x)
            nn.functional.cross_entropy(expected, y, label_smoothing=smoothing).backward()
            torch.testing.assert_close(logits[member], expected, rtol=1e-12, atol=1e-12)

            def same(here: Tensor, there: Tensor) -> None:
                torch.testing.assert_close(here, there, rtol=1e-12, atol=1e-12)

            for path, layer in dense.body.named_children():
                for kind, _ in layer.named_parameters():
                    theirs = each.get_submodule(path).get_parameter(kind).grad
                    assert theirs is not None
                    same(layer.gradient_rows(kind)[member], theirs)  # type: ignore[operator]


@cases
def test_what_fills_a_row_up_stays_zero_in_training(form: str, name: str) -> None:
    networks, x, y = lone(name), images(), labels().expand(MEMBERS, 7)
    stack = stack_of(form, networks)
    before = [parameter.detach().clone() for parameter in stack.parameters()]
    optimizer = torch.optim.AdamW(stack.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        if isinstance(stack, DenseStack):
            stack.gradients(x.expand(MEMBERS, *x.shape), y)
        else:
            optimizer.zero_grad()
            mean_losses(stack(repeated(x)).view(MEMBERS, 7, 10), y).sum().backward()
        optimizer.step()
    counts = sum(parameter.numel() for parameter in networks[0].parameters())
    rows = torch.cat(list(stack.parameters()), dim=1)
    assert all(parameter.shape[1] % 16 == 0 for parameter in stack.parameters())
    assert rows.shape[1] > counts  # there is something to fill up
    assert (rows != 0).sum(dim=1).tolist() == [counts] * MEMBERS
    assert not any(torch.equal(a, b) for a, b in zip(before, stack.parameters(), strict=True))


class OwnParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def hooked() -> nn.Module:
    chain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    chain[1].register_forward_hook(lambda module, inputs, output: None)
    return chain


def sharing() -> nn.Module:
    chain = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64))
    chain[2].weight = chain[1].weight
    return chain


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(OwnParameter()), "0 (OwnParameter) has parameters of its own"),
        (OwnParameter, "the network itself (OwnParameter) has parameters of its own"),
        (lambda: nn.Sequential(nn.PReLU()), "0 (PReLU) has parameters of its own"),
        (hooked, "1 (Linear) has hooks"),
        (sharing, "2.weight is shared with 1.weight"),
        (
            lambda: nn.Sequential(
                OrderedDict(c=nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"))
            ),
            "c (Conv2d) has padding_mode 'circular'",
        ),
    ],
)
def test_layers_refuse_by_name(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(NotStackableError, match=f"^{re.escape(message)}$"):
        LayerStack(make(), 2)


NO_CHAIN = "it is no chain from Flatten over Linear layers to logits"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: network("mlp:hidden=9,activation=tanh"),
            "a Tanh is no Linear layer, ReLU or Flatten",
        ),
        (lambda: network("conv2"), "a Conv2d is no Linear layer, ReLU or Flatten"),
        (lambda: network("resnet:depth=8"), "a ResNet is no Linear layer, ReLU or Flatten"),
        (lambda: nn.Sequential(nn.Linear(8, 10), nn.Flatten()), NO_CHAIN),
        (
            lambda: nn.Sequential(nn.Flatten(2), nn.Linear(8, 10)),
            "a Flatten keeps more than the first dimension",
        ),
        (lambda: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(64, 10)), NO_CHAIN),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU()), NO_CHAIN),
        (lambda: nn.Sequential(nn.Flatten()), NO_CHAIN),
    ],
)
def test_dense_refuses_other_than_chains(make: Callable[[], nn.Module], message: str) -> None:
    made = make()
    with pytest.raises(NotStackableError, match=f"^{re.escape(message)}$"):
        refuse_other_than_chain(made)
    with pytest.raises(NotStackableError, match=f"^{re.escape(message)}$"):
        DenseStack(made, 2)


@pytest.mark.parametrize("form", ["dense", "onednn", "layers"])
@pytest.mark.parametrize("repeated_layer", [nn.Linear, nn.Dropout])
def test_a_layer_that_stands_in_two_places(form: str, repeated_layer: type[nn.Module]) -> None:
    """It is either refused or taken as what it is: the same layer twice."""
    same = nn.Linear(9, 9) if repeated_layer is nn.Linear else nn.Dropout(0.5)
    chain = [nn.Flatten(), nn.Linear(64, 9), same, nn.ReLU(), same, nn.Linear(9, 10)]
    networks = [copy.deepcopy(nn.Sequential(*chain)).double() for _ in range(MEMBERS)]
    x, y = images(), labels()
    for seed, each in enumerate(networks):
        HeNormal()(each, seed=seed)
    try:
        stack = stack_of(form, networks)
    except NotStackableError:
        return
    torch.manual_seed(0)
    if isinstance(stack, DenseStack):
        logits = stack.gradients(x.expand(MEMBERS, *x.shape), y.expand(MEMBERS, 7))
    else:
        logits = stack(repeated(x)).view(MEMBERS, 7, 10)
        mean_losses(logits, y.expand(MEMBERS, 7)).sum().backward()
    for member, each in enumerate(networks):
        torch.manual_seed(0)
        expected = each(x)
        torch.testing.assert_close(logits[member], expected, rtol=1e-12, atol=1e-12)
        nn.functional.cross_entropy(expected, y).backward()
        for place in (1, 2):
            theirs = getattr(each[place], "weight", None)
            if theirs is not None:
                ours = stack.body[place].gradient_rows("weight")[member]
                torch.testing.assert_close(ours, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["layers", "vmap"])
def test_a_layer_in_evaluation_mode_stays_in_it(form: str) -> None:
    chain = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)).double()
    chain[0].eval()
    HeNormal()(chain, seed=0)
    stack, x = stack_of(form, [chain] * 2), images()
    for mode in (True, False):
        if not mode:
            stack.eval()
            chain.eval()
        for ours in stack(repeated(x, 2)).chunk(2):
            torch.testing.assert_close(ours, chain(x), rtol=1e-12, atol=1e-12)
