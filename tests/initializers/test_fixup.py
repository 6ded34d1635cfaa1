"""Fixup and SkipInit on the networks that they are for."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from initializers import Dirac, Fixup, HeNormal, SkipInit
from initializers.testing_modules import network, same, state_of
from lightning_modules import build_network


def built(name: str) -> nn.Module:
    return build_network(name, input_shape=(3, 8, 8), num_classes=10)


def images(count: int = 4, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def test_fixup_starts_with_the_loss_of_equal_chances() -> None:
    module = built("fixup_resnet20")
    Fixup()(module, seed=0)
    logits = module(images())
    assert not logits.any()
    loss = cross_entropy(logits.double(), torch.arange(4))
    assert float(loss.detach()) == pytest.approx(2.302585092994046, rel=1e-12)


def test_fixup_blocks_pass_non_negative_inputs_on() -> None:
    module = built("fixup_resnet20")
    Fixup()(module, seed=0)
    x = images(channels=16).abs()
    for name in ("stage1.0", "stage1.1", "stage1.2"):
        assert torch.equal(module.get_submodule(name)(x), x)


@pytest.mark.parametrize(("depth", "blocks"), [(8, 3), (20, 9)])
def test_fixup_weights_are_hes_times_the_factor(depth: int, blocks: int) -> None:
    module, plain = built(f"fixup_resnet:depth={depth}"), built(f"fixup_resnet:depth={depth}")
    HeNormal(mode="fan_out")(plain, seed=0)
    record = Fixup()(module, seed=0)
    state = state_of(module)
    for name, start in state_of(plain).items():
        if name.endswith("conv1.weight") and "stage" in name:
            torch.testing.assert_close(state[name], start * blocks**-0.5, rtol=1e-6, atol=0)
        elif name == "conv1.weight":
            assert torch.equal(state[name], start)
        elif "scale" in name:
            assert state[name].eq(1.0).all()
        else:  # branch ends, output layer, scalar biases
            assert not state[name].any(), name
    # all weights of inner branch layers together: 2 / fan_out / L within 4 standard errors
    squares = [
        state[layer.name].square().double() * layer.fan_out * blocks / 2
        for layer in record.layers
        if "stage" in layer.name and layer.name.endswith("conv1.weight")
    ]
    ratios = torch.cat([square.flatten() for square in squares])
    assert float(ratios.mean()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / len(ratios)))
    gains = [layer.effective_gain for layer in record.layers if "stage" in layer.name]
    assert sum(gain == 0.0 for gain in gains) == blocks
    assert not record.skipped
    assert len([name for name in record.norms if "scale" in name]) == blocks


class Bottleneck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def test_three_weights_on_a_branch_take_the_fourth_root() -> None:
    module = nn.Sequential(Bottleneck(), Bottleneck(), nn.Linear(4, 2))
    plain = nn.Sequential(Bottleneck(), Bottleneck(), nn.Linear(4, 2))
    HeNormal(mode="fan_out")(plain, seed=0)
    Fixup(blocks="?")(nn.Sequential(Bottleneck(), Bottleneck()), seed=0)
    Fixup(blocks="[01]")(module, seed=0)
    for index, factor in ((0, 2**-0.25), (1, 2**-0.25), (2, 0.0)):
        name = f"0.layers.{index}.weight"
        torch.testing.assert_close(state_of(module)[name], state_of(plain)[name] * factor)


@pytest.mark.parametrize(
    ("module", "blocks", "sentence"),
    [
        (network(), None, r"without norm layers, but Sequential has 1\.weight"),
        (nn.Sequential(nn.Linear(3, 2)), None, "found no residual block in Sequential"),
        (nn.Sequential(nn.Linear(3, 2)), "0", r"two or more weights .* but 0 has 0\.weight alone"),
        (nn.Sequential(nn.BatchNorm1d(3, affine=False)), None, "has one without parameters"),
    ],
)
def test_fixup_says_what_does_not_fit(module: nn.Module, blocks: str | None, sentence: str) -> None:
    before = state_of(module)
    with pytest.raises(ValueError, match=sentence):
        Fixup(blocks)(module, seed=0)
    assert same(before, state_of(module))


def test_skipinit_makes_the_network_its_shortcut_path() -> None:
    module = built("skipinit_resnet20")
    record = SkipInit()(module, seed=0)
    assert sum(name.endswith("alpha") for name in record.norms) == 9
    assert not record.skipped
    logits = module(images())
    assert logits.abs().min() > 0
    for name, parameter in module.named_parameters():
        if "stage" in name and "conv" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    assert torch.equal(module(images()), logits)
    module.get_parameter("stage1.0.alpha").data.fill_(0.1)
    assert not torch.equal(module(images()), logits)


def test_skipinit_weights_are_the_bases() -> None:
    module, plain = built("skipinit_resnet:depth=8"), built("skipinit_resnet:depth=8")
    HeNormal()(plain, seed=0)
    SkipInit(alpha="depth")(module, seed=0)
    for name, value in state_of(module).items():
        if name.endswith("alpha"):
            assert float(value) == pytest.approx(1 / math.sqrt(3), rel=1e-6)
        else:
            assert torch.equal(value, state_of(plain)[name])
    assert SkipInit().stochastic is True
    assert SkipInit(Dirac()).stochastic is False


def test_skipinit_says_what_it_misses() -> None:
    with pytest.raises(
        ValueError, match=r"no one-element parameter of Sequential fits names '\*alpha'"
    ):
        SkipInit()(network(), seed=0)
    with pytest.raises(ValueError, match="alpha must be one of depth"):
        SkipInit(alpha="deep")
