"""Residual networks for small images (the CIFAR networks of He et al. 2016)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.networks.checks import require_image

WIDTHS = (16, 32, 64)
"""Channels of the three stages."""


class ZeroPadShortcut(nn.Module):
    """Option A: every second pixel, and channels of zeros after the given ones; no parameters.

    Input (batch, c, h, w), output (batch, c + added, ceil(h / stride), ceil(w / stride)).
    Source: He et al. 2016, section 3.3 (option A) and 4.2.

    Args:
        added: number of zero channels appended.
        stride: step of the subsampling in both directions.
    """

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added = added
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad `x`; dtype is kept."""
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.added))

    def extra_repr(self) -> str:
        """Show both settings in the module's representation."""
        return f"added={self.added}, stride={self.stride}"


class BasicBlock(nn.Module):
    """``relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`` with 3x3 convolutions, no biases.

    Input (batch, inputs, h, w), output (batch, outputs, ceil(h / stride), ceil(w / stride)).
    Source: He et al. 2016, figure 2 and section 4.2.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: stride of the first convolution and of the shortcut.
        shortcut: ``A`` (`ZeroPadShortcut`) or ``B`` (1x1 convolution and batch normalisation)
            where the shape changes; elsewhere the shortcut is the identity.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif shortcut == "A":
            self.shortcut = ZeroPadShortcut(outputs - inputs, stride)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return cast(Tensor, self.relu(out + self.shortcut(x)))


class ResNet(nn.Module):
    """A residual network of ``depth = 6 n + 2`` layers for small images.

    A 3x3 stem of 16 channels, three stages of n basic blocks with 16, 32 and 64 channels (the
    second and third stage halve the image), the mean over all positions, one Linear layer. Input
    (batch, channels, height, width) floating point of any size, output (batch, num_classes)
    logits. Children: ``conv1, bn1, relu, stage1, stage2, stage3, fc``.

    Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    Trainable parameters for 3x32x32 and 10 classes at depth 20: 269 722 (option A), 272 474 (B).

    Args:
        input_shape: (channels, height, width).
        num_classes: number of logits.
        depth: number of convolutions in stem and blocks, plus one: 8, 14, 20, 26, 32, 44, 56, ...
        shortcut: ``A``, without parameters (the paper's choice), or ``B``; see `BasicBlock`.

    Raises:
        ValueError: another depth or shortcut, or an input that is no image.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        depth: int = 20,
        shortcut: str = "A",
    ) -> None:
        super().__init__()
        blocks = blocks_per_stage("ResNet", depth)
        if shortcut not in ("A", "B"):
            raise ValueError(f"shortcut={shortcut!r} of a ResNet must be 'A' or 'B'.")
        channels, _, _ = require_image(f"resnet{depth}", input_shape)
        block = functools.partial(BasicBlock, shortcut=shortcut)
        stem, middle, top = WIDTHS
        self.conv1 = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.stage1 = stage(block, stem, stem, blocks, 1)
        self.stage2 = stage(block, stem, middle, blocks, 2)
        self.stage3 = stage(block, middle, top, blocks, 2)
        self.fc = nn.Linear(top, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return cast(Tensor, self.fc(x.mean(dim=(2, 3))))


def blocks_per_stage(kind: str, depth: int) -> int:
    """Return n of a network of three stages of n blocks of two convolutions: (depth - 2) / 6.

    Raises:
        ValueError: a depth that is not 6 n + 2 with n >= 1; names `kind`, the class.
    """
    if type(depth) is not int or depth < 8 or (depth - 2) % 6:
        raise ValueError(
            f"depth={depth!r} of a {kind} must be 6 n + 2 with n >= 1: 8, 14, 20, 32, 44, 56."
        )
    return (depth - 2) // 6


def stage(
    block: Callable[[int, int, int], nn.Module], inputs: int, outputs: int, blocks: int, stride: int
) -> nn.Sequential:
    """Build a stage: the first block changes width and resolution, the others keep both.

    Args:
        block: called with channels in, channels out and stride.
        inputs: channels that come in.
        outputs: channels of all blocks.
        blocks: how many, >= 1.
        stride: of the first block.
    """
    rest = [block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(block(inputs, outputs, stride), *rest)
