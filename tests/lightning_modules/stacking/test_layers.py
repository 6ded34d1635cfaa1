"""Each stacked layer against the modules it stands for, one by one in float64."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.stacking.layers import STACKED, MemberByMember
from lightning_modules.stacking.modules import Stacked

MEMBERS = 3
N = 5


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def different(make: Callable[[], nn.Module]) -> list[nn.Module]:
    """Modules of one kind with their own parameters and running statistics."""
    modules = [make().double() for _ in range(MEMBERS)]
    for module in modules:
        for value in (*module.parameters(), *module.buffers()):
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, dtype=torch.float64) + 0.5)
    return modules


def stacked(modules: list[nn.Module]) -> Stacked:
    kind = STACKED.get(type(modules[0]), MemberByMember)
    stack = kind(copy.deepcopy(modules[0]), len(modules))
    for member, module in enumerate(modules):
        stack.exchange(member, module, lambda here, there: here.copy_(there))
    return stack


def compare(make: Callable[[], nn.Module], shape: tuple[int, ...], training: bool = True) -> None:
    """Two passes, forward and backward, one without gradient; then the running statistics."""
    torch.manual_seed(0)
    modules = different(make)
    stack = stacked(modules).train(training)
    for step in range(2):
        x = torch.randn(MEMBERS * N, *shape, dtype=torch.float64, requires_grad=True)
        parts = [part.detach().requires_grad_() for part in x.chunk(MEMBERS)]
        torch.manual_seed(step)
        out = stack(x)
        upstream = torch.randn(out.shape, dtype=torch.float64)
        stack.zero_grad()
        out.backward(upstream)
        for member, (module, part) in enumerate(zip(modules, parts, strict=True)):
            torch.manual_seed(step)
            module.train(training).zero_grad()
            expected = module(part)
            expected.backward(upstream.chunk(MEMBERS)[member])
            close(out.chunk(MEMBERS)[member], expected)
            assert x.grad is not None
            assert part.grad is not None
            close(x.grad.chunk(MEMBERS)[member], part.grad)
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None
                close(stack.gradient_rows(name)[member], parameter.grad)
    with torch.no_grad():  # another product may be used
        torch.manual_seed(2)
        out = stack(x)
        for member, (module, part) in enumerate(zip(modules, parts, strict=True)):
            torch.manual_seed(2)
            close(out.chunk(MEMBERS)[member], module(part))
            for name, buffer in module.named_buffers():
                close(stack.get_buffer(name)[member], buffer)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (4, 7)])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    compare(lambda: nn.Linear(7, 3, bias=bias), shape)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Conv1d(4, 6, 3), (4, 9)),
        (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 9)),
        (lambda: nn.Conv2d(4, 6, 3, padding=1, bias=False), (4, 7, 5)),
        (lambda: nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(0, 1)), (4, 7, 5)),
        (lambda: nn.Conv2d(4, 8, 3, padding="same", dilation=2, groups=4), (4, 7, 5)),
        (lambda: nn.Conv3d(2, 3, 2, stride=2), (2, 4, 4, 5)),
    ],
)
def test_convolution(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    compare(make, shape)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.3, "eps": 1e-2},
        {"momentum": None},
        {"affine": False},
        {"track_running_stats": False},
    ],
)
@pytest.mark.parametrize(
    ("kind", "shape"),
    [(nn.BatchNorm1d, (4,)), (nn.BatchNorm1d, (4, 6)), (nn.BatchNorm2d, (4, 5, 3))],
)
def test_batch_normalisation(
    kind: type[nn.Module], shape: tuple[int, ...], options: dict[str, object], training: bool
) -> None:
    compare(lambda: kind(4, **options), shape, training)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.LayerNorm(6), (6,)),
        (lambda: nn.LayerNorm((3, 6), eps=1e-2), (4, 3, 6)),
        (lambda: nn.LayerNorm(6, bias=False), (4, 6)),
        (lambda: nn.LayerNorm(6, elementwise_affine=False), (4, 6)),
        (lambda: nn.GroupNorm(2, 6), (6, 5, 3)),
        (lambda: nn.GroupNorm(3, 6, eps=1e-2), (6,)),
        (lambda: nn.GroupNorm(2, 6, affine=False), (6, 5)),
    ],
)
def test_other_normalisations(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    compare(make, shape)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Dropout(0.3), (7,)),
        (lambda: nn.Dropout(0.0), (7,)),
        (lambda: nn.Dropout1d(0.3), (4, 7)),
        (lambda: nn.Dropout2d(0.3), (4, 5, 3)),
    ],
)
def test_dropout_takes_the_units_that_a_lone_network_loses(
    make: Callable[[], nn.Module], shape: tuple[int, ...], training: bool
) -> None:
    compare(make, shape, training)


def test_dropout_takes_the_same_units_from_all_members() -> None:
    torch.manual_seed(0)
    out = stacked([nn.Dropout(0.5)] * MEMBERS)(torch.ones(MEMBERS * 100, 1)).view(MEMBERS, 100)
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])


@pytest.mark.parametrize("kind", [nn.SiLU, nn.Tanh, nn.GELU])
def test_functions_go_member_by_member(kind: type[nn.Module]) -> None:
    compare(kind, (3, 7))


def test_what_cannot_be_averaged_over_members_is_not() -> None:
    """A softmax over the batch: over each member's own."""
    compare(lambda: nn.Softmax(dim=0), (7,))
