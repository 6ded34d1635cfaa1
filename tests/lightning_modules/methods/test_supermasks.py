"""Learned supermasks and signed supermasks, by their closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn

from initializers import HeNormal, get_initializer
from lightning_modules import Optimization, build_network
from lightning_modules.methods import SignedSupermask, Supermask
from lightning_modules.methods.masks import AppliedMasks
from lightning_modules.methods.signed_supermask import SGDW
from lightning_modules.methods.supermask import signed_constant


def network(spec: str = "mlp:hidden=200-100", initializer: str = "he_normal") -> nn.Module:
    built = build_network(spec, input_shape=(64,), num_classes=10)
    get_initializer(initializer)(built, seed=0)
    return built


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights(applied: AppliedMasks) -> list[Tensor]:
    return [layer.weight.detach() for layer in applied.layers.values()]  # type: ignore[union-attr, operator, misc]


def test_signed_constants_have_one_magnitude_and_the_old_signs() -> None:
    weight = draw(40, 30) + 0.3
    weight[draw(40, 30, seed=2) > 1] = 0.0
    constant = signed_constant(weight)
    assert torch.equal(constant.sign(), weight.sign())
    alpha = weight.double().std(correction=0).item()
    assert constant.abs().unique().tolist() == pytest.approx([0.0, alpha], rel=1e-6)


def test_the_logits_gradient_is_that_of_the_mask_times_the_sigmoids() -> None:
    net = network("mlp:widths=64-10")
    logits = Supermask(logit=0.7, rescale=False).apply(net, seed=0).scores()[0]
    kernel = net.get_buffer("fc1.parametrizations.weight.0.kernel")
    x, direction = draw(9, 64), draw(9, 10, seed=2)
    (net(x) * direction).sum().backward()
    p = 1.0 / (1.0 + math.exp(-0.7))
    expected = kernel * (direction.T @ x) * p * (1.0 - p)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-5, atol=1e-6)
    assert [name for name, q in net.named_parameters() if q.requires_grad] == [
        "fc1.parametrizations.weight.original"
    ]


def test_rescaling_multiplies_the_gradient_by_the_same_factor() -> None:
    gradients = []
    for rescale in (False, True):
        net = network("mlp:widths=64-10")
        applied = Supermask(rescale=rescale).apply(net, seed=0)
        net(draw(9, 64)).sum().backward()
        gradients.append(applied.scores()[0].grad)
        share = (applied.masks()["fc1"] > 0).float().mean()
    torch.testing.assert_close(gradients[1], gradients[0] / share)


@pytest.mark.parametrize("logit", [0.0, -1.0])
def test_the_kept_share_is_the_sigmoid_of_the_logit(logit: float) -> None:
    applied = Supermask(logit=logit).apply(network(), seed=0)
    count = sum(scores.numel() for scores in applied.scores())
    kept = 1.0 - applied.metrics()["masked"]
    p = 1.0 / (1.0 + math.exp(-logit))
    assert abs(kept - p) < 4 * math.sqrt(p * (1 - p) / count)  # 4 standard errors


def test_rescaling_keeps_the_sum_of_magnitudes_in_the_mean() -> None:
    net = network("mlp:widths=64-10")
    applied = Supermask(weights="initial", logit=-0.5).apply(net, seed=0)
    kernel = net.get_buffer("fc1.parametrizations.weight.0.kernel").abs().double()
    sums = []
    for step in range(400):
        applied.at(0, step)
        sums.append(weights(applied)[0].double().abs().sum())
    measured = torch.stack(sums)
    error = measured.std() / math.sqrt(len(sums))
    assert abs(measured.mean() - kernel.sum()) < 4 * error  # standard errors
    assert error / kernel.sum() < 0.01


def test_a_full_mask_is_the_identity_and_an_empty_one_no_division_by_zero() -> None:
    plain, masked = network(), network()
    Supermask(weights="initial", logit=100.0).apply(masked, seed=0)
    x = draw(5, 64)
    assert torch.equal(plain(x), masked(x))
    Supermask(logit=-100.0).apply(plain, seed=0)
    assert bool((plain(x) == 0).all())


def test_masks_depend_on_seed_layer_and_step_alone() -> None:
    def masks(seed: int, epoch: int, batch: int) -> list[Tensor]:
        torch.manual_seed(seed + epoch + batch)
        applied = Supermask().apply(network("mlp:hidden=64-64"), seed=seed)
        applied.at(epoch, batch)
        return list(applied.masks().values())

    first = masks(0, 1, 2)
    assert all(torch.equal(a, b) for a, b in zip(first, masks(0, 1, 2), strict=True))
    assert not torch.equal(first[0], first[1])
    for other in (masks(1, 1, 2), masks(0, 2, 2), masks(0, 1, 3), masks(0, 2, 1)):
        assert not torch.equal(first[0], other[0])


def test_evaluation_looks_at_one_sampled_network() -> None:
    net = network().eval()
    applied = Supermask().apply(net, seed=0)
    x = draw(5, 64)
    before = net(x)
    applied.at(3, 4)
    assert torch.equal(net(x), before)
    net.train()
    assert not torch.equal(net(x), before)


def test_signed_masks_start_with_the_stated_share_hidden() -> None:
    for tau in (0.4, 0.15):
        applied = SignedSupermask(threshold=tau).apply(network("mlp:hidden=300-300"), seed=0)
        scores = torch.cat(
            [s.detach().flatten() / s.detach().abs().max() for s in applied.scores()]
        )
        n = len(scores)
        # The largest of n uniform scores is within 1/n of the bound: far below 4 standard errors.
        assert abs(applied.metrics()["masked"] - tau) < 4 * math.sqrt(tau * (1 - tau) / n)
        assert abs(applied.metrics()["flipped"] - (1 - tau) / 2) < 4 * 0.5 / math.sqrt(n)


def test_effective_weights_of_a_signed_mask_are_ternary() -> None:
    net = network("mlp:hidden=200-100,bias=false", "ternary:density=0.9")
    applied = SignedSupermask().apply(net, seed=0)
    for weight, layer in zip(weights(applied), applied.layers.values(), strict=True):
        c = math.sqrt(3.0 / layer.in_features)  # type: ignore[arg-type]
        assert weight.unique().tolist() == pytest.approx([-c, 0.0, c], rel=1e-6)
    kept = SignedSupermask(variance=3.0).apply(network(), seed=0)
    assert weights(kept)[0].max().item() == pytest.approx(math.sqrt(6.0 / 64.0))
    initial = SignedSupermask(weights="initial", threshold=0.0).apply(network(), seed=0)
    assert torch.equal(weights(initial)[0].abs(), network().get_parameter("fc1.weight").abs())


def test_the_threshold_stays_and_the_gradient_passes_the_mask() -> None:
    net = network("mlp:widths=64-10")
    applied = SignedSupermask().apply(net, seed=0)
    (scores,) = applied.scores()
    limit = 0.4 * scores.detach().abs().max()
    x, direction = draw(9, 64), draw(9, 10, seed=2)
    (net(x) * direction).sum().backward()
    kernel = net.get_buffer("fc1.parametrizations.weight.0.kernel")
    torch.testing.assert_close(scores.grad, kernel * (direction.T @ x), rtol=1e-5, atol=1e-6)
    scores.data.mul_(10.0)
    expected = scores.detach().sign() * (scores.detach().abs() > limit)
    assert torch.equal(applied.masks()["fc1"], expected)


def test_sgdw_decays_apart_from_the_gradient_with_nesterov_momentum() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = SGDW([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    w, velocity = 2.0, 0.0
    for gradient in (1.0, -0.5, 0.25):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = 0.9 * velocity + gradient
        w = w * (1.0 - 0.1 * 0.5) - 0.1 * (gradient + 0.9 * velocity)
        assert weight.item() == pytest.approx(w, rel=1e-6)


def test_sgd_of_a_recipe_is_sgdw_and_adam_stays() -> None:
    applied = SignedSupermask().apply(network(), seed=0)
    assert isinstance(applied.build_optimizer(Optimization("sgd", weight_decay=1e-4)), SGDW)
    assert isinstance(applied.build_optimizer(Optimization("adam")), torch.optim.Adam)


def test_convolutions_of_every_kind_are_masked_and_released() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), nn.ELU(), nn.ConvTranspose2d(4, 3, 2)
    )
    HeNormal()(net, seed=0)
    for method in (Supermask(), SignedSupermask()):
        applied = method.apply(net, seed=0)
        trained = {name for name, p in net.named_parameters() if p.requires_grad}
        scores = {f"{i}.parametrizations.weight.original" for i in (0, 3)}
        norms = {"1.weight", "1.bias"} if isinstance(method, SignedSupermask) else set()
        assert trained == scores | norms
        net(draw(3, 2, 6, 6)).sum().backward()
        applied.release()
        assert all(p.requires_grad for p in net.parameters())
        assert "0.weight" in dict(net.named_parameters())
