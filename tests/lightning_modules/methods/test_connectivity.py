"""Trained connectivity of fixed weights, by its closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initializers import AsymmetricBinary, HeConstant, get_initializer
from initializers.layers import plan_module
from lightning_modules import Optimization, build_network
from lightning_modules.methods import Connectivity, get_method
from lightning_modules.methods.connectivity import AppliedConnectivity
from lightning_modules.methods.kernels import he_factors

MODES = ("free_pruning", "min_pruning", "free_flipping", "min_flipping")


def network(
    spec: str = "mlp:hidden=20-10", initializer: str = "he_normal", shape: tuple[int, ...] = (12,)
) -> nn.Module:
    built = build_network(spec, input_shape=shape, num_classes=5)
    get_initializer(initializer)(built, seed=0)
    return built


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("initializer", ["he_normal", "torch_default", "ternary:density=0.3"])
@pytest.mark.parametrize("mode", MODES)
def test_training_starts_from_the_plain_network(mode: str, initializer: str) -> None:
    for spec, shape in (("mlp:hidden=20-10", (12,)), ("conv2", (1, 8, 8))):
        plain, masked = (network(spec, initializer, shape) for _ in range(2))
        applied = get_method(mode).apply(masked, seed=3)
        x = draw(7, *shape)
        assert torch.equal(plain(x), masked(x))
        assert applied.metrics() == {"masked": 0.0, "flipped": 0.0, "changed": 0.0}


def test_the_initial_scores_are_uniform_in_their_range() -> None:
    applied = Connectivity(low=0.02, high=0.05).apply(network("mlp:hidden=300-200"), seed=0)
    scores = torch.cat([score.detach().flatten() for score in applied.scores()]).double()
    assert scores.min() >= 0.02
    assert scores.max() <= 0.05
    # Standard errors of the mean and of the mean square deviation: 4 of each.
    n, width = len(scores), 0.03
    assert abs(scores.mean() - 0.035) < 4 * width / math.sqrt(12 * n)
    assert abs(scores.var() - width**2 / 12) < 4 * width**2 * math.sqrt(1 / 180 / n)


@pytest.mark.parametrize("mode", [*MODES, "connectivity:rescale=true"])
def test_the_gradient_of_a_score_is_kernel_times_that_of_the_weight(mode: str) -> None:
    layer = network("mlp:widths=12-5")
    applied = get_method(mode).apply(layer, seed=0)
    (scores,) = applied.scores()
    with torch.no_grad():
        scores[draw(5, 12) > 0] *= -1
    x, direction = draw(9, 12), draw(9, 5, seed=2)
    kernel = layer.get_buffer("fc1.parametrizations.weight.0.kernel")
    (layer(x) * direction).sum().backward()
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, kernel * (direction.T @ x), rtol=1e-5, atol=1e-6)
    trained = [p for p in layer.parameters() if p.grad is not None]
    assert len(trained) == 1
    assert trained[0] is scores


@pytest.mark.parametrize("mode", ["min_pruning", "min_flipping:strength=3"])
def test_the_extra_loss_has_gradient_minus_one_over_numel(mode: str) -> None:
    applied = get_method(mode).apply(network(), seed=0)
    penalty = applied.penalty()
    assert penalty is not None
    strength = 3.0 if "strength" in mode else 1.0
    assert penalty.item() == -3 * strength  # three layers, nothing changed
    penalty.backward()
    for scores in applied.scores():
        torch.testing.assert_close(
            scores.grad, torch.full_like(scores, -strength / scores.numel()), rtol=1e-6, atol=0.0
        )


@pytest.mark.parametrize("mode", ["min_pruning", "min_flipping"])
def test_the_extra_loss_alone_changes_nothing(mode: str) -> None:
    applied = get_method(mode).apply(network(), seed=0)
    before = [scores.detach().clone() for scores in applied.scores()]
    optimizer = applied.build_optimizer(Optimization(lr=1e-2, weight_decay=0.5))
    for _ in range(20):
        optimizer.zero_grad()
        penalty = applied.penalty()
        assert penalty is not None
        penalty.backward()
        optimizer.step()
    assert applied.metrics()["changed"] == 0.0
    for old, new in zip(before, applied.scores(), strict=True):
        torch.testing.assert_close(new.detach(), old + 0.2, rtol=1e-4, atol=1e-6)  # 20 steps of lr


@pytest.mark.parametrize("mode", MODES)
def test_kernels_stay_and_shares_add_up(mode: str) -> None:
    net = network("mlp:hidden=20-10,bias=true", "torch_default")
    kernels = [w.module.get_parameter("weight").detach().clone() for w in plan_module(net).weights]
    biases = [bias.parameter.clone() for bias in plan_module(net).biases]
    applied = get_method(mode).apply(net, seed=0)
    optimizer = applied.build_optimizer(Optimization(lr=0.02))
    x, y = draw(50, 12), torch.arange(50) % 5
    for _ in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    metrics = applied.metrics()
    assert metrics["changed"] == pytest.approx(metrics["masked"] + metrics["flipped"])
    assert metrics["masked" if "pruning" in mode else "flipped"] > 0.02
    assert metrics["flipped" if "pruning" in mode else "masked"] == 0.0
    layers = applied.layers.values()
    for layer, kernel in zip(layers, kernels, strict=True):
        weight = layer.weight.detach()
        kept = weight == kernel
        changed = weight == (torch.zeros_like(kernel) if "pruning" in mode else -kernel)
        assert bool((kept ^ changed).all())
    report = applied.report()["layers"]
    count = sum(k.numel() for k in kernels)
    zero = sum(
        k.numel() * report[n]["mask"]["zero"] for n, k in zip(report, kernels, strict=True)
    )  # fmt: skip
    assert zero / count == pytest.approx(metrics["masked"])
    assert [bias.equal(b) for bias, b in zip(biases, _biases(net), strict=True)] == [True] * 3
    y1 = net(x)
    applied.release()
    assert torch.equal(net(x), y1)
    assert all(p.requires_grad for p in net.parameters())


def _biases(net: nn.Module) -> list[Tensor]:
    return [p.detach() for name, p in net.named_parameters() if name.endswith("bias")]


def test_a_score_of_zero_counts_as_changed() -> None:
    for change, expected in (("prune", 0.0), ("flip", -1.0)):
        applied = Connectivity(change).apply(network(), seed=0)
        for scores in applied.scores():
            scores.data.zero_()
        assert all(bool((mask == expected).all()) for mask in applied.masks().values())


def test_a_rescaled_mask_multiplies_by_numel_over_one_plus_kept() -> None:
    applied = Connectivity(rescale=True).apply(network(), seed=0)
    scores = applied.scores()[0]
    scores.data.flatten()[:100] = -1.0  # of 240
    mask = applied.masks()["fc1"]
    assert mask.unique().tolist() == pytest.approx([0.0, 240 / 141])
    assert int((mask == 0).sum()) == 100


def test_weight_decay_acts_on_norm_layers_only() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    get_initializer("he_normal")(net, seed=0)
    applied = Connectivity().apply(net, seed=0)
    optimizer = applied.build_optimizer(Optimization("sgd", lr=0.1, weight_decay=0.5))
    before = [scores.detach().clone() for scores in applied.scores()]
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, applied.scores(), strict=True))
    assert net[1].weight.tolist() == pytest.approx([0.95] * 6)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


@pytest.mark.parametrize(
    ("spec", "shape", "product"),
    [
        ("conv2", (3, 32, 32), 1.384305e-6),
        ("conv4", (3, 32, 32), 4.806616e-9),
        ("conv6", (3, 32, 32), 8.344820e-12),
        ("lenet_300_100", (1, 28, 28), 5.832118e-4),
    ],
)
def test_the_constant_on_the_input_of_binary_kernels(
    spec: str, shape: tuple[int, ...], product: float
) -> None:
    net = build_network(spec, input_shape=shape, num_classes=10)
    assert math.prod(he_factors(plan_module(net).weights)) == pytest.approx(product, rel=1e-6)


def test_a_scaled_input_equals_scaled_kernels_and_he_constants() -> None:
    x = draw(5, 1, 8, 8).double()
    logits = []
    for scaling in ("input", "kernel"):
        net = build_network("conv4:bias=false", input_shape=(1, 8, 8), num_classes=10).double()
        AsymmetricBinary()(net, seed=0)
        applied = Connectivity(scaling=scaling).apply(net, seed=0)
        assert isinstance(applied, AppliedConnectivity)
        logits.append(net(x))
        applied.release()
        logits.append(net(x))
        for weight in plan_module(net).weights:
            magnitude = weight.read().abs().unique()
            torch.testing.assert_close(
                magnitude, torch.full_like(magnitude, math.sqrt(2 / weight.fans.fan_in))
            )
    he = build_network("conv4:bias=false", input_shape=(1, 8, 8), num_classes=10).double()
    HeConstant(signs="random")(he, seed=0)
    with torch.no_grad():  # the same signs
        for weight, signs in zip(plan_module(he).weights, plan_module(net).weights, strict=True):
            weight.write(weight.read().abs() * signs.read().sign())
    logits.append(he(x))
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-10, atol=1e-14)


def test_equal_seeds_equal_scores_whatever_the_global_state() -> None:
    drawn = []
    for state, seed in ((0, 5), (1, 5), (0, 6)):
        torch.manual_seed(state)
        drawn.append(Connectivity().apply(network(), seed=seed).scores()[0].detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
