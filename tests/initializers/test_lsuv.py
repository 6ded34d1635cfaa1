"""LSUV: every layer's output has the wanted deviation after one pass."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initializers import LSUV, HeNormal, InitRecord, Orthogonal, Ternary, Zeros
from initializers.testing_modules import batch, network, same, state_of


def spreads(module: nn.Module, x: Tensor) -> dict[str, float]:
    """Deviation of every linear and convolutional layer's output, in training mode."""
    twin, seen = copy.deepcopy(module).train(), dict[str, float]()
    for name, layer in twin.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(
                lambda _, __, out, name=name: seen.update({name: float(out.std(correction=0))})
            )
    with torch.no_grad():
        twin(x)
    return seen


def initialised(lsuv: LSUV, module: nn.Module, x: Tensor) -> InitRecord:
    return lsuv(module, seed=0, batch=x)


@pytest.mark.parametrize("base", [Orthogonal(), HeNormal(3.0), Ternary(density=0.2, scale=0.1)])
def test_every_output_comes_within_the_tolerance(base: Any) -> None:
    module, x = network(), 5.0 * batch()
    assert initialised(LSUV(base), module, x).layers[0].note.startswith("output std ")
    measured = spreads(module, x)
    assert set(measured) == {"0", "3", "6", "9"}
    assert all(0.9 <= value <= 1.1 for value in measured.values())


def test_without_bias_one_division_is_exact() -> None:
    module, x = network(), 5.0 * batch()
    initialised(LSUV(tolerance=0.0, tries=1, std=2.0), module, x)
    assert spreads(module, x) == pytest.approx(dict.fromkeys("0369", 2.0), rel=1e-5)


def test_weights_are_the_bases_times_one_number_per_layer() -> None:
    plain, module, x = network(), network(), 5.0 * batch()
    HeNormal()(plain, seed=0)
    initialised(LSUV(HeNormal()), module, x)
    for name, weight in state_of(module).items():
        if name in ("0.weight", "3.weight", "6.weight", "9.weight"):
            ratio = weight / state_of(plain)[name]
            assert float(ratio.std()) < 1e-5 * float(ratio.mean())
            assert float(ratio.mean()) > 0
    first = float(nn.functional.conv2d(x, state_of(plain)["0.weight"], padding=1).std(correction=0))
    ratio = state_of(module)["0.weight"] / state_of(plain)["0.weight"]
    assert float(ratio.mean()) == pytest.approx(1 / first, rel=1e-4)


def test_outputs_within_the_tolerance_are_left_alone() -> None:
    plain, module = nn.Linear(50, 40), nn.Linear(50, 40)
    x = torch.randn(1000, 50, generator=torch.Generator().manual_seed(0))
    lecun = HeNormal(gain="linear")
    lecun(plain, seed=0)
    record = initialised(LSUV(lecun), module, x)
    assert torch.equal(plain.weight, module.weight)
    assert record.layers[0].note.endswith("in 0 division(s)")


def test_centred_outputs_have_mean_zero() -> None:
    module, x = network(), batch() + 2.0
    initialised(LSUV(center=True), module, x)
    twin = copy.deepcopy(module).train()
    out = twin[0](x)
    assert float(out.mean().detach()) == pytest.approx(0.0, abs=1e-5)
    assert float(twin(x).mean().detach()) == pytest.approx(0.0, abs=1e-5)
    assert twin[0].bias.any()


def test_ternary_weights_stay_ternary() -> None:
    module = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
    x = torch.rand(60, 784, generator=torch.Generator().manual_seed(0))
    initialised(LSUV(Ternary(density=0.1), tolerance=0.0), module, x)
    for index in (0, 2):
        values = module[index].weight.detach()
        assert len(values.abs().unique()) == 2
        assert int(values.count_nonzero()) == round(0.1 * values.numel())


class Order(nn.Module):
    """Registers its layers in another order than it runs them, one twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(7, 3)
        self.never = nn.Linear(7, 7)
        self.twice = nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.twice(self.twice(x).relu()).relu())
        return out


def test_order_of_execution_shared_and_unreached_layers() -> None:
    module = Order()
    x = 4.0 * torch.randn(64, 7, generator=torch.Generator().manual_seed(0))
    record = initialised(LSUV(tolerance=0.0, tries=1), module, x)
    notes = {layer.name: layer.note for layer in record.layers}
    assert "normalised by the first of 2 runs" in notes["twice.weight"]
    assert notes["never.weight"] == "not normalised: its output is not seen"
    with torch.no_grad():
        first, last = module.twice(x), module(x)
    assert float(first.std(correction=0)) == pytest.approx(1.0, rel=1e-5)
    assert float(last.std(correction=0)) == pytest.approx(1.0, rel=1e-5)
    plain = Order()
    Orthogonal()(plain, seed=0)
    assert torch.equal(plain.never.weight, module.never.weight)


def test_a_transformers_feed_forward_layers_are_reached() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = 3.0 * torch.randn(16, 5, 8, generator=torch.Generator().manual_seed(0))
    record = initialised(LSUV(), module, x)
    notes = {layer.name: layer.note for layer in record.layers}
    assert notes["linear1.weight"].startswith("output std")
    assert notes["self_attn.in_proj_weight[key]"] == "not normalised: its output is not seen"


def test_what_cannot_be_normalised_is_refused() -> None:
    module = network()
    before = state_of(module)
    with pytest.raises(ValueError, match=r"the output of 0\.weight has standard deviation 0"):
        initialised(LSUV(Zeros()), module, batch())
    with pytest.raises(ValueError, match="batch holds one example, too few for 1"):
        initialised(LSUV(), module, batch()[:1])
    with pytest.raises(ValueError, match=r"Sequential cannot be run on a batch of shape \(32, 4\)"):
        initialised(LSUV(), module, torch.ones(32, 4))
    with pytest.raises(ValueError, match="call it on a module, not on a tensor"):
        LSUV().fill(torch.zeros(2, 2), None)  # type: ignore[arg-type]
    assert same(before, state_of(module))
