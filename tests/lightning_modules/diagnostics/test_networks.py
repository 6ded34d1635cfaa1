"""Any network is measured where it can be, and left as it was."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from lightning_modules.diagnostics import (
    calibrated,
    diagnose,
    measure_correlation,
    measure_signals,
    summarise,
    undisturbed,
    watched,
)
from tests.lightning_modules.diagnostics.nets import Named, Residual, Shared, TwoInputs, chain


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 1, 5, 5, generator=torch.Generator().manual_seed(1))


def state(network: nn.Module) -> list[object]:
    """Everything that a measurement must leave alone."""
    values = [(name, value.clone()) for name, value in network.state_dict().items()]
    hooks = [
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for m in network.modules()
    ]
    return [
        [name for name, _ in values],
        torch.cat([value.double().flatten() for _, value in values]).tolist(),
        hooks,
        [m.training for m in network.modules()],
        [p.requires_grad for p in network.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in network.parameters()],
        [getattr(m, "momentum", None) for m in network.modules()],
        [id(b) for b in network.buffers()],
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    ]


def test_nothing_is_left_behind():
    network = Residual()
    network.first.norm.eval()
    network.stem.weight.requires_grad_(False)
    network(images()).sum().backward()
    before = state(network)
    with torch.no_grad():
        found = diagnose(network, images(), torch.tensor([0, 1, 2] * 2))
    assert state(network) == before
    assert found.values("gradient_norm")["stem.weight"] > 0.0  # measured though frozen


def test_nothing_is_left_behind_by_a_failure():
    network = nn.Sequential(Residual(), nn.Linear(4, 2))  # the sizes do not fit
    before = state(network)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        measure_signals(network, [(images(), None)])
    assert state(network) == before


def test_the_same_again():
    network = Residual()
    one, two = (diagnose(network, images(), torch.tensor([0, 1, 2] * 2)) for _ in range(2))
    assert [(row.layer, row.statistic, repr(row.value)) for row in one.rows] == [
        (row.layer, row.statistic, repr(row.value)) for row in two.rows
    ]


def test_dropout_is_off_and_norms_are_as_asked():
    network = Residual().eval()
    seen = {}

    def look(statistics):
        with undisturbed(network, statistics):
            seen[statistics] = (network.first.drop.training, network.first.norm.training)

    look("batch")
    look("running")
    assert seen == {"batch": (False, True), "running": (False, False)}
    with calibrated(network, images()):
        mean = network.first.norm.running_mean.clone()
        assert not network.first.norm.training
    with torch.no_grad():
        wanted = network.stem(images()).mean(dim=(0, 2, 3))
    assert torch.allclose(mean, wanted, atol=1e-6)
    assert float(network.first.norm.running_mean.abs().sum()) == 0.0


def test_a_network_that_draws_noise_is_measured_repeatably():
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x + torch.randn_like(x))

    network, x = Noisy(), torch.ones(4, 3)
    assert measure_signals(network, [(x, None)]) == measure_signals(network, [(x, None)])


def test_shared_modules_and_functions_are_told_apart_by_call():
    network, x = Shared(), torch.randn(8, 6)
    found = measure_signals(network, [(x, None)])
    assert list(found.values("second_moment")) == ["inner", "relu()", "inner#2"]
    first = x @ network.inner.weight.T
    moments = found.values("second_moment")
    assert moments["inner"] == pytest.approx(float(first.square().mean().detach()), rel=1e-5)
    hidden = first.relu()
    assert moments["relu()"] == pytest.approx(float(hidden.square().mean().detach()), rel=1e-5)
    assert found.values("gradient_square").keys() == moments.keys()


def test_several_inputs_and_outputs_that_are_no_tensor():
    a, b = torch.randn(8, 4), torch.randn(8, 3)
    found = diagnose(Named(), {"a": a, "b": b})
    sites = [row.layer for row in found.rows if row.statistic == "mean"]
    assert sites == ["both.left", "both.right", "both.tanh()", "both.head", "both"]
    gaps = {(gap.layer, gap.statistic): gap.reason for gap in found.gaps}
    assert gaps["both.unused", "its output"].startswith("it was not called")
    assert gaps["both.head", "chi"] == "it depends on 2 outputs at once (both.left, both.right)"
    assert gaps["", "jacobian"] == "The Jacobian needs one input tensor of real numbers"
    assert gaps["both.unused.weight", "its gradient"] == "the loss does not depend on it"
    assert "gradient_quotient" in summarise(found)


def test_positional_inputs():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = TwoInputs()

        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return self.both(a, b=b)

    found = measure_signals(Pair(), [((torch.randn(4, 4), torch.randn(4, 3)), None)])
    assert "both.head" in found.values("second_moment")


def test_attention_and_tokens():
    encoder = nn.Sequential(
        nn.Embedding(11, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    )
    tokens = torch.randint(0, 11, (4, 5), generator=torch.Generator().manual_seed(0))
    found = diagnose(encoder, tokens)
    kinds = {row.layer: row.kind for row in found.rows if row.statistic == "mean"}
    assert kinds["0"] == kinds["1.self_attn"] == kinds["1.linear2"] == "weight"
    assert kinds["1.relu()"] == "activation"
    assert kinds["1.norm1"] == "norm"
    reasons = {(gap.layer, gap.statistic): gap.reason for gap in found.gaps}
    assert "parent may use" in reasons["1.self_attn.out_proj", "its output"]
    assert ("", "jacobian") in reasons
    assert found.values("chi")["1.self_attn"] > 0.0  # from the embedding


def test_recurrent_layers_give_their_sequence():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    found = diagnose(Last(), torch.randn(5, 6, 3), torch.tensor([0, 1, 0, 1, 1]))
    assert list(found.values("second_moment")) == ["lstm", "head"]


def test_weight_normalisation_is_measured_through():
    network = nn.Sequential(weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    found = diagnose(network, torch.randn(8, 4))
    assert list(found.values("second_moment")) == ["0", "1", "2"]
    assert not [gap for gap in found.gaps if gap.statistic == "its output"]


def test_blocks_can_be_watched_and_outputs_exchanged():
    network = Residual().eval()
    seen = []

    def visit(site, output):
        seen.append((site.name, site.kind))
        return torch.zeros_like(output) if site.kind == "block" else None

    with watched(network, visit, blocks=frozenset({"first", "second"})):
        out = network(images())
    assert [name for name, kind in seen if kind == "block"] == ["first", "second"]
    assert torch.allclose(out, network.head.bias.expand_as(out))


def test_half_precision_and_frozen_networks():
    network = chain([4, 4, 2], nn.GELU).bfloat16()
    found = measure_signals(network, [(torch.randn(8, 4), None)])
    assert found.values("second_moment")["0"] > 0.0
    assert measure_correlation(network, torch.randn(8, 4)).rows
