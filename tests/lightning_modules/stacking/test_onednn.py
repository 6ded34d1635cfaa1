"""Stacks whose large products are oneDNN's: which products, and what numbers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from initializers import HeNormal
from lightning_modules import build_network
from lightning_modules.stacking import DenseStack, OneDnnStack, may_gain_from_onednn
from lightning_modules.stacking.onednn import has_onednn

needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this PyTorch has no oneDNN")
MEMBERS, N = 3, 50
# Multiplications per member and product: 1.92, 1.8 and 0.03 million; the limit is 1.6.
NETWORK = "mlp:hidden=600-60"
# A row of 63 x 601 weights has to be filled up to whole registers, one of 64 x 600 has not.
SHAPES = {NETWORK: (1, 8, 8), "mlp:hidden=601-61": (1, 7, 9)}
SHAPES |= {f"{spec},bias=False": shape for spec, shape in SHAPES.items()}


def built(spec: str) -> nn.Module:
    return build_network(spec, input_shape=SHAPES[spec], num_classes=10)


def networks(spec: str = NETWORK) -> list[nn.Module]:
    made = [built(spec) for _ in range(MEMBERS)]
    for seed, network in enumerate(made):
        HeNormal()(network, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in network.parameters():
                if value.dim() == 1:
                    value.copy_(torch.rand(value.shape, generator=generator) - 0.5)
    return made


def stack_of(kind: type[DenseStack], members: Sequence[nn.Module]) -> DenseStack:
    stack = kind(members[0], len(members))
    for place, network in enumerate(members):
        stack.load_member(place, network)
    return stack


def examples(spec: str = NETWORK, n: int = N) -> tuple[Tensor, Tensor]:
    """Inputs with exact zeros, as images have, and labels."""
    x = torch.randn(n, *SHAPES[spec], generator=torch.Generator().manual_seed(9)).relu()
    return x, torch.arange(n) % 10


def step(stack: DenseStack, spec: str = NETWORK, *, own: bool = False, n: int = N) -> list[Tensor]:
    """Logits and gradients of a step, members along the first dimension."""
    x, y = (value.expand(stack.members, *value.shape) for value in examples(spec, n))
    logits = stack.gradients(x.clone() if own else x, y)
    gradients = [parameter.grad for parameter in stack.parameters()]
    return [logits, *(gradient.clone() for gradient in gradients if gradient is not None)]


def same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


class Operators(TorchDispatchMode):
    """Counts what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.calls[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def calls(
    stack: DenseStack, spec: str = NETWORK, *, own: bool = False, n: int = N
) -> tuple[int, int]:
    """Products of a step: those of oneDNN and the batched ones."""
    with Operators() as seen:
        step(stack, spec, own=own, n=n)
    batched = seen.calls["aten::bmm"] + seen.calls["aten::baddbmm"]
    return seen.calls["mkldnn::_linear_pointwise"], batched


@needs_onednn
def test_large_products_are_onednns_and_the_first_layer_has_one_for_all() -> None:
    stack = stack_of(OneDnnStack, networks())
    # First layer: value and weights' gradient. Second one: besides, the gradient of its input.
    assert calls(stack) == (2 + 3 * MEMBERS, 3)
    assert calls(stack, own=True) == (5 * MEMBERS, 3)
    assert calls(stack, n=20) == (0, 8)
    assert calls(stack_of(OneDnnStack, networks()[:1])) == (5, 3)
    assert calls(stack_of(DenseStack, networks())) == (0, 8)
    spec = f"{NETWORK},bias=False"
    assert calls(stack_of(OneDnnStack, networks(spec)), spec) == (2 + 3 * MEMBERS, 3)
    # Of rows that are filled up only the gradient is one product.
    spec = "mlp:hidden=601-61"
    assert calls(stack_of(OneDnnStack, networks(spec)), spec) == (1 + 4 * MEMBERS, 3)


@needs_onednn
@pytest.mark.parametrize("spec", SHAPES)
def test_values_and_gradients_are_those_of_autograd(spec: str) -> None:
    members = networks(spec)
    stack = stack_of(OneDnnStack, members)
    x, y = examples(spec)
    for own in (False, True):
        logits, *_ = step(stack, spec, own=own)
        for place, network in enumerate(members):
            exact = built(spec)
            exact.load_state_dict(network.state_dict())
            exact.double()
            expected = exact(x.double())
            nn.functional.cross_entropy(expected, y).backward()
            torch.testing.assert_close(logits[place].double(), expected, rtol=1e-5, atol=1e-5)
            for path, layer in stack.body.named_children():
                for name, _ in layer.named_parameters():
                    theirs = exact.get_submodule(path).get_parameter(name).grad
                    ours = layer.gradient_rows(name)[place]  # type: ignore[operator]
                    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)


@needs_onednn
@pytest.mark.parametrize("spec", SHAPES)
def test_bits_do_not_depend_on_the_stack_or_on_whose_memory_the_examples_are(spec: str) -> None:
    members = networks(spec)
    together = step(stack_of(OneDnnStack, members), spec)
    assert same(step(stack_of(OneDnnStack, members), spec, own=True), together)
    for place, network in enumerate(members):
        lone = step(stack_of(OneDnnStack, [network]), spec)
        assert same(lone, [values[place : place + 1] for values in together])
    x = examples(spec, 500)[0]
    with torch.no_grad():
        logits = stack_of(OneDnnStack, members)(torch.cat([x] * MEMBERS)).chunk(MEMBERS)
        for ours, network in zip(logits, members, strict=True):
            assert torch.equal(stack_of(OneDnnStack, [network])(x), ours)
            torch.testing.assert_close(network(x), ours, rtol=1e-5, atol=1e-5)


@pytest.fixture
def switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not has_onednn()


@pytest.mark.usefixtures("switched_off")
def test_a_pytorch_without_onednn_takes_batched_products() -> None:
    ours, theirs = (stack_of(kind, networks()) for kind in (OneDnnStack, DenseStack))
    assert same(step(ours), step(theirs))
    assert calls(ours) == (0, 8)
    assert not may_gain_from_onednn(networks()[0], 50)


def test_other_types_than_float32_take_batched_products() -> None:
    exact = [network.double() for network in networks()]
    x, y = examples()
    logits = [
        stack_of(kind, exact).gradients(
            x.double().expand(MEMBERS, *x.shape), y.expand(MEMBERS, *y.shape)
        )
        for kind in (OneDnnStack, DenseStack)
    ]
    assert torch.equal(*logits)


@needs_onednn
def test_only_a_network_with_a_large_product_may_gain() -> None:
    network = networks()[0]
    assert may_gain_from_onednn(network, 50)
    assert not may_gain_from_onednn(network, 41)  # 64 x 600 x 41: 1.57 million
    assert not may_gain_from_onednn(nn.ReLU(), 10**9)
