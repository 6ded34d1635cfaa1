"""Residual networks without normalisation."""

import pytest
import torch
from torch import nn

from lightning_modules.networks import build_network, weight_count
from lightning_modules.networks.norm_free import FixupBlock, SkipInitBlock

CIFAR = (3, 32, 32)


@pytest.mark.parametrize(
    ("spec", "blocks", "parameters"),
    [
        ("fixup_resnet20", 9, 268_393),
        ("skipinit_resnet20", 9, 269_043),
        ("fixup_resnet:depth=8", 3, 74_810 + 5 * 3 + 2),
        ("skipinit_resnet:depth=8", 3, 74_810 + 16 + 2 * (16 + 32 + 64) + 3),
    ],
)
def test_parameter_counts(spec: str, blocks: int, parameters: int) -> None:
    """Weights as the ResNet with option A; then the scalars, or the biases and multipliers."""
    network = build_network(spec, input_shape=CIFAR, num_classes=10)
    twin = build_network(f"resnet:depth={2 * blocks + 2}", input_shape=CIFAR, num_classes=10)
    assert weight_count(network) == weight_count(twin)
    assert sum(p.numel() for p in network.parameters()) == parameters
    scalars = [name for name, p in network.named_parameters() if p.numel() == 1]
    assert len(scalars) == (5 * blocks + 2 if "fixup" in spec else blocks)
    assert not any("BatchNorm" in type(module).__name__ for module in network.modules())


def test_blocks_compute_their_formulas() -> None:
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    fixup, skip = FixupBlock(4, 4, 1).double(), SkipInitBlock(4, 4, 1).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (*fixup.parameters(), *skip.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        conv = nn.functional.conv2d
        h = (conv(x + fixup.bias1a, fixup.conv1.weight, padding=1) + fixup.bias1b).relu()
        branch = conv(h + fixup.bias2a, fixup.conv2.weight, padding=1)
        expected = (fixup.scale * branch + fixup.bias2b + x).relu()
        torch.testing.assert_close(fixup(x), expected)
        h = conv(x, skip.conv1.weight, skip.conv1.bias, padding=1).relu()
        branch = conv(h, skip.conv2.weight, skip.conv2.bias, padding=1)
        torch.testing.assert_close(skip(x), (skip.alpha * branch + x).relu())


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("fixup_resnet:depth=21", r"depth=21 of a NormFreeResNet must be 6 n \+ 2"),
        ("fixup_resnet20:depth=8", "has no option 'depth'"),
    ],
)
def test_impossible_options(spec: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_network(spec, input_shape=CIFAR, num_classes=10)
