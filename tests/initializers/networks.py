"""The networks of the literature at small width, as torchvision and torch build them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import VGG, make_layers
from torchvision.models.vision_transformer import VisionTransformer

CLASSES = 10
_CUT = 16  # by which the widths of torchvision's ResNet are divided


class NarrowResNet(ResNet):
    def _make_layer(
        self,
        block: type[BasicBlock],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        made: nn.Sequential = super()._make_layer(block, planes // _CUT, blocks, stride, dilate)
        return made


class LanguageModel(nn.Module):
    """Embedding with padding, positions, encoder layers, cross attention and a tied head."""

    def __init__(self, vocabulary: int = 40, width: int = 16, length: int = 12) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        self.places = nn.Parameter(torch.zeros(length, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True) for _ in range(2)
        )
        self.cross = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places
        for layer in self.layers:
            h = layer(h)
        h = h + self.cross(h, h, h)[0]
        out: Tensor = self.head(self.norm(h).mean(1))
        return out


def resnet18() -> nn.Module:
    network = NarrowResNet(BasicBlock, [2, 2, 2, 2])
    network.fc = nn.Linear(512 // _CUT, CLASSES)
    return network


def vgg11() -> nn.Module:
    layers = make_layers([8, "M", 16, "M", 16, 16, "M", 16, 16, "M", 16, 16])
    network = VGG(layers, num_classes=CLASSES)
    network.avgpool = nn.AdaptiveAvgPool2d(2)
    for place, (inputs, outputs) in {0: (64, 32), 3: (32, 32), 6: (32, CLASSES)}.items():
        network.classifier[place] = nn.Linear(inputs, outputs)
    return network


def mobilenet_v3_small() -> nn.Module:
    network: nn.Module = models.mobilenet_v3_small(width_mult=0.25, num_classes=CLASSES)
    return network


def vit() -> nn.Module:
    return VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=CLASSES,
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": resnet18,
    "vgg11": vgg11,
    "mobilenet_v3_small": mobilenet_v3_small,
    "vit": vit,
    "language_model": LanguageModel,
}


def batch_for(name: str) -> tuple[Tensor, Tensor]:
    """Return 8 inputs and labels for a network of ``NETWORKS``."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (8,), generator=generator)
    if name == "language_model":
        return torch.randint(40, (8, 12), generator=generator), labels
    return torch.randn(8, 3, 32, 32, generator=generator), labels
