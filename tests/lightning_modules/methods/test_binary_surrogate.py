"""Surrogates of binary networks against mean-field theory and against sampled networks."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initializers import BetaMeans, HeNormal, TwoPointMeans, get_initializer
from initializers.theory import activation, binary_surrogate, lrt_surrogate
from lightning_modules import build_network
from lightning_modules.methods import BinarySurrogate
from lightning_modules.methods.binary_layers import BinaryLayer, Neurons, View
from lightning_modules.methods.binary_surrogate import AppliedBinary
from lightning_modules.methods.sampling import Sampler


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def chain(width: int, depth: int) -> nn.Sequential:
    layers = [(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)]
    return nn.Sequential(*(module for pair in layers for module in pair), nn.Linear(width, 2))


def activity(net: nn.Module, applied: AppliedBinary, x: Tensor) -> list[Tensor]:
    """What each layer with weights gives, in order."""
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.double()))
        for layer in applied.layers.values()
    ]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return seen


def test_a_wide_deterministic_surrogate_follows_the_maps() -> None:
    m2, b2, width = 0.9, 0.1, 2000
    net = chain(width, 6)
    TwoPointMeans(m2, b2)(net, seed=0)
    applied = BinarySurrogate(neuron="sign").apply(net, seed=0)
    first = functional.normalize(draw(width), dim=0) * math.sqrt(width)
    other = draw(width, seed=2)
    other -= (other @ first) / width * first
    second = 0.6 * first + 0.8 * functional.normalize(other, dim=0) * math.sqrt(width)
    maps = binary_surrogate("sign", m2, b2)
    q, c = 10.0, (m2 * 0.6 + b2) / (m2 + b2)  # known inputs of unit second moment
    for u in activity(net, applied, torch.stack([first, second]))[:-1]:
        measured = u.square().mean(1)
        assert measured.mean().item() == pytest.approx(q, rel=0.1)
        cosine = (u[0] * u[1]).mean() / measured.prod().sqrt()
        assert cosine.item() == pytest.approx(c, abs=0.03)
        q, c = maps.variance(q), maps.correlation(c, q)


def test_second_moments_of_lrt_do_not_depend_on_the_means() -> None:
    width, b2 = 1000, 0.05
    x = draw(100, width)
    for m2 in (0.2, 0.99):
        net = chain(width, 4)
        TwoPointMeans(m2, b2)(net, seed=0)
        applied = BinarySurrogate("lrt").apply(net, seed=0)
        q = x.square().mean().item()
        layers = list(applied.layers.values())[:-1]
        for h, layer in zip(activity(net, applied, x)[:-1], layers, strict=True):
            assert layer.bias is not None
            q += layer.bias.square().mean().item()  # as drawn: 1000 draws are 4 % off
            assert h.square().mean().item() == pytest.approx(q, rel=0.03)
            q = lrt_surrogate("tanh", m2).variance(q)


def test_the_mean_of_sampled_sign_neurons_is_phi() -> None:
    samples, units = 600, 40
    layer = nn.Linear(400, units)
    BetaMeans(0.5, bias_variance=0.2)(layer, seed=0)
    x = draw(1, 400)
    total = torch.zeros(units)
    view = View("sampled")
    for seed in range(samples):
        sampled = BinaryLayer(layer, 400, "first", "w", Sampler("", seed), view).eval()
        total += Neurons(activation("sign"), view).eval()(sampled(x))[0].detach()
    surrogate = BinaryLayer(layer, 400, "first", "w", Sampler("", 0), View()).eval()
    expected = activation("sign")(surrogate(x))[0].detach()
    difference = total / samples - expected
    assert difference.abs().max() < 4 / math.sqrt(samples)
    # 4 standard errors of the root mean square; a variance of 1 per sample bounds them.
    spread = ((1 - expected**2) / samples).mean().sqrt()
    assert difference.square().mean().sqrt() < spread * (1 + 4 / math.sqrt(2 * units))


def test_mean_and_variance_of_a_padded_convolution_of_binary_neurons() -> None:
    samples = 2000
    layer = nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=2)
    BetaMeans(0.4)(layer, seed=0)
    x = draw(1, 4, 5, 5).tanh()
    fan_in = 18
    hidden = BinaryLayer(layer, fan_in, "hidden", "w", Sampler("", 0), View())
    means = hidden.means()
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(samples):
        w, s = (
            torch.where(torch.rand(p.shape, generator=generator) * 2 - 1 < p, 1.0, -1.0)
            for p in (means.detach(), x)
        )
        drawn.append(
            functional.conv2d(s, w, padding=1, stride=2, groups=2)[0] / math.sqrt(fan_in)
        )  # fmt: skip
    h = torch.stack(drawn).double()
    last = BinaryLayer(layer, fan_in, "last", "w", Sampler("", 0), View())
    mean = last(x)[0].detach()
    deviation = (mean / hidden(x)[0].detach()).abs()
    assert ((h.mean(0) - mean).abs() / h.std(0)).max() < 4.5 / math.sqrt(samples)
    # Relative standard error of a variance: sqrt(2 / n); 54 of them, within 4.5 of it.
    torch.testing.assert_close(
        h.var(0), deviation.double() ** 2, rtol=4.5 * math.sqrt(2 / samples), atol=0.0
    )


def test_means_are_taken_from_any_initialiser_and_clipped() -> None:
    for spec, m2 in (("glorot_normal", None), ("he_constant:scale=100", 1 - 2e-6)):
        plain = build_network("mlp:hidden=30-20", input_shape=(12,), num_classes=5)
        get_initializer(spec)(plain, seed=0)
        weight = plain.get_parameter("fc1.weight").detach().clone()
        applied = BinarySurrogate().apply(plain, seed=0)
        expected = weight.clamp(-1 + 1e-6, 1 - 1e-6)
        torch.testing.assert_close(applied.layers["fc1"].means().detach(), expected)
        if m2 is not None:
            assert applied.metrics()["mean_square"] == pytest.approx(m2, abs=1e-6)
    assert set(applied.report()["layers"]) == {"fc1", "fc2", "fc3"}


def test_nothing_uncertain_is_no_division_by_zero() -> None:
    for surrogate in ("deterministic", "lrt"):
        net = build_network("mlp:hidden=30-20", input_shape=(12,), num_classes=5)
        TwoPointMeans(1.0)(net, seed=0)
        BinarySurrogate(surrogate, "sign").apply(net, seed=0)
        x = torch.cat([draw(3, 12), torch.zeros(1, 12)])
        net(x).square().sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_views_of_one_network() -> None:
    net = build_network("mlp:hidden=30-20,bias=false", input_shape=(12,), num_classes=5)
    TwoPointMeans(0.5)(net, seed=0)
    signs = [net.get_parameter(f"fc{i}.weight").detach().sign() for i in (1, 2, 3)]
    applied = BinarySurrogate(evaluate="sampled").apply(net, seed=0)
    assert applied.views == ("surrogate", "sign")
    x = draw(6, 12)
    h = x
    for sign in signs[:2]:
        h = torch.where(h @ sign.T < 0, -1.0, 1.0)
    with applied.viewed_as("sign"):
        trained = net(x)
        net.eval()
        torch.testing.assert_close(net(x), h @ signs[2].T / math.sqrt(20))
        sampled_weight = applied.layers["fc1"].weights(applied.layers["fc1"].means())
        assert torch.equal(sampled_weight, signs[0])
    default = net(x)
    with applied.viewed_as("sampled"):
        assert torch.equal(net(x), default)
    with applied.viewed_as("surrogate"):
        assert torch.equal(net(x), trained)  # training always works with the surrogate
    weight = applied.layers["fc1"].weights(applied.layers["fc1"].means()).detach()
    assert weight.unique().tolist() == [-1.0, 1.0]
    agree = (weight == signs[0]).double().mean()
    p = (1 + math.sqrt(0.5)) / 2
    assert abs(agree - p) < 4 * math.sqrt(p * (1 - p) / weight.numel())


def test_lrt_noise_is_fresh_in_every_step_and_fixed_in_evaluation() -> None:
    net = build_network("mlp:hidden=30-20,activation=tanh", input_shape=(12,), num_classes=5)
    TwoPointMeans(0.5)(net, seed=0)
    applied = BinarySurrogate("lrt").apply(net, seed=0)
    x = draw(1, 12).expand(4, 12)
    first = net(x)
    assert not torch.equal(first[0], first[1])  # each example draws its own
    applied.at(0, 1)
    assert not torch.equal(net(x), first)
    applied.at(0, 0)
    assert torch.equal(net(x), first)
    assert torch.equal(net.eval()(x), net(x))


def test_release_gives_the_mean_network() -> None:
    net = build_network("mlp:hidden=30-20,activation=tanh", input_shape=(12,), num_classes=5)
    TwoPointMeans(0.5, 0.1)(net, seed=0)
    kinds = [type(module) for module in net]
    keys = list(net.state_dict())
    applied = BinarySurrogate("lrt").apply(net, seed=0)
    means = applied.layers["fc2"].means().detach()
    applied.release()
    assert [type(module) for module in net] == kinds
    assert list(net.state_dict()) == keys
    torch.testing.assert_close(net.get_parameter("fc2.weight").detach(), means / math.sqrt(30))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc(x)


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (nn.Sequential(Residual(), nn.ReLU(), nn.Linear(4, 2)), "0 is a Residual; .*surrogate=lrt"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), "no activation between 0 and 1"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)), "1 is a"),
        (nn.Linear(4, 2), "a single Linear; wrap it"),
        (nn.Sequential(nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")), "zero padding"),
        (nn.Sequential(nn.ConvTranspose1d(2, 2, 3)), "ConvTranspose1d"),
    ],
)
def test_networks_of_which_the_surrogate_is_not_known_are_refused(
    net: nn.Module, sentence: str
) -> None:
    HeNormal()(net, seed=0)
    keys = list(net.state_dict())
    with pytest.raises(ValueError, match=sentence):
        BinarySurrogate().apply(net, seed=0)
    assert list(net.state_dict()) == keys


def test_lrt_takes_any_graph() -> None:
    net = nn.Sequential(Residual(), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    HeNormal()(net, seed=0)
    applied = BinarySurrogate("lrt").apply(net, seed=0)
    assert set(applied.layers) == {"0.fc", "3"}
    net(draw(8, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
