"""Residual networks without normalisation, with scalar parameters in its place."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from lightning_modules.networks.checks import require_image
from lightning_modules.networks.resnet import WIDTHS, ZeroPadShortcut, blocks_per_stage, stage


class FixupBlock(nn.Module):
    """``relu(scale * conv2(h + bias2a) + bias2b + shortcut(x))``, 3x3 convolutions without biases.

    Here ``h = relu(conv1(x + bias1a) + bias1b)``. The four biases and the multiplier are single
    numbers, 0 and 1 at first. Shapes as `BasicBlock`; the shortcut has no parameters.

    Source: Zhang, Dauphin, Ma 2019, "Fixup Initialization".

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: stride of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bias1a = _scalar(0.0)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bias1b = _scalar(0.0)
        self.relu = nn.ReLU()
        self.bias2a = _scalar(0.0)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.scale = _scalar(1.0)
        self.bias2b = _scalar(0.0)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.relu(self.conv1(x + self.bias1a) + self.bias1b)
        out = self.conv2(out + self.bias2a) * self.scale + self.bias2b
        return cast(Tensor, self.relu(out + self.shortcut(x)))


class SkipInitBlock(nn.Module):
    """``relu(alpha * conv2(relu(conv1(x))) + shortcut(x))``, 3x3 convolutions with biases.

    The multiplier alpha is a single number, 0 at first. Shapes as `BasicBlock`; the shortcut has
    no parameters.

    Source: De, Smith 2020, "Batch Normalization Biases Residual Blocks Towards the Identity" (the
    formula is recalled).

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: stride of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.alpha = _scalar(0.0)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.conv2(self.relu(self.conv1(x)))
        return cast(Tensor, self.relu(self.alpha * out + self.shortcut(x)))


BLOCKS: dict[str, type[FixupBlock | SkipInitBlock]] = {
    "fixup": FixupBlock,
    "skipinit": SkipInitBlock,
}
"""Blocks by name."""


class NormFreeResNet(nn.Module):
    """`ResNet` of ``depth = 6 n + 2`` layers with blocks that need no normalisation.

    A 3x3 stem of 16 channels, three stages of n blocks with 16, 32 and 64 channels, shortcuts by
    subsampling and zero channels, the mean over all positions, one Linear layer. Fixup's network
    has a scalar bias after the stem and one before the last layer. Input (batch, channels, height,
    width) floating point of any size, output (batch, num_classes) logits.

    Trainable parameters for 3x32x32 and 10 classes at depth 20: 268 393 (fixup), 269 043
    (skipinit).

    Args:
        input_shape: (channels, height, width).
        num_classes: number of logits.
        depth: 8, 14, 20, 26, 32, 44, 56, ...
        block: a key of `BLOCKS`.

    Raises:
        ValueError: another depth or block, or an input that is no image.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        depth: int = 20,
        block: str = "fixup",
    ) -> None:
        super().__init__()
        count = blocks_per_stage("NormFreeResNet", depth)
        if block not in BLOCKS:
            raise ValueError(
                f"block={block!r} of a NormFreeResNet must be {' or '.join(map(repr, BLOCKS))}."
            )
        channels, _, _ = require_image(f"{block}_resnet{depth}", input_shape)
        kind, fixup = BLOCKS[block], block == "fixup"
        stem, middle, top = WIDTHS
        self.conv1 = nn.Conv2d(channels, stem, 3, padding=1, bias=not fixup)
        self.bias1 = _scalar(0.0) if fixup else None
        self.relu = nn.ReLU()
        self.stage1 = stage(kind, stem, stem, count, 1)
        self.stage2 = stage(kind, stem, middle, count, 2)
        self.stage3 = stage(kind, middle, top, count, 2)
        self.bias2 = _scalar(0.0) if fixup else None
        self.fc = nn.Linear(top, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, num_classes)."""
        x = self.conv1(x)
        x = self.relu(x if self.bias1 is None else x + self.bias1)
        x = self.stage3(self.stage2(self.stage1(x))).mean(dim=(2, 3))
        return cast(Tensor, self.fc(x if self.bias2 is None else x + self.bias2))


def _scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.full((1,), value))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return ZeroPadShortcut(outputs - inputs, stride)
