"""Weight-normalised networks: a perceptron and residual networks without batch normalisation."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from initializers import Zeros
from lightning_modules.networks.checks import require_image
from lightning_modules.networks.mlp import MLP, Widths, mlp
from lightning_modules.networks.resnet import WIDTHS, blocks_per_stage, stage


def wn_mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    widths: Widths | None = None,
    hidden: Widths | None = None,
    activation: str = "relu",
    bias: bool = True,
) -> MLP:
    """Build an `MLP` whose hidden layers are weight-normalised.

    The output layer stays an ordinary Linear layer, as in the residual networks of Arpit et al.
    2019. A hidden layer of n units has n parameters more than without weight normalisation.

    Args:
        input_shape: shape of one example.
        num_classes: number of classes of the data.
        widths: all widths, see `mlp`.
        hidden: hidden widths alone, see `mlp`.
        activation: see `MLP`.
        bias: see `MLP`.

    Raises:
        ValueError: see `mlp`.
    """
    network = mlp(input_shape, num_classes, widths, hidden, activation, bias)
    linear = [layer for layer in network.children() if isinstance(layer, nn.Linear)]
    for layer in linear[:-1]:
        weight_norm(layer)
    _start_at_zero(network)
    return network


class WNBlock(nn.Module):
    """``shortcut(x) + conv2(relu(conv1(x)))`` with weight-normalised convolutions.

    No ReLU follows the sum. Input (batch, inputs, h, w), output (batch, outputs,
    ceil(h / stride), ceil(w / stride)). Source: Arpit, Campos, Bengio 2019, section 4.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: stride of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = weight_norm(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1))
        self.relu = nn.ReLU()
        self.conv2 = weight_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = weight_norm(nn.Conv2d(inputs, outputs, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.conv2(self.relu(self.conv1(x)))
        return cast(Tensor, out + self.shortcut(x))


class WNResNet(nn.Module):
    """A weight-normalised residual network of ``depth = 6 n + 2`` layers for small images.

    A 3x3 stem without ReLU, three stages of n blocks (`WNBlock`) with 16, 32 and 64 channels times
    ``widen`` (the second and third stage halve the image), ReLU, the mean over all positions, an
    ordinary Linear layer. All convolutions have biases. Where a block changes the shape its
    shortcut is a 1x1 convolution. Input (batch, channels, height, width), output (batch,
    num_classes) logits. Children: ``conv1, stage1, stage2, stage3, relu, fc``.

    Source: Arpit, Campos, Bengio 2019; that a ReLU comes before the mean, as in wide residual
    networks, is our reading. `WeightNormResNet` of `initializers` is made for it.

    Args:
        input_shape: (channels, height, width).
        num_classes: number of logits.
        depth: 8, 14, 20, 26, 32, 44, 56, 110 ...
        widen: factor of all widths, >= 1.

    Raises:
        ValueError: another depth or factor, or an input that is no image.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        depth: int = 20,
        widen: int = 1,
    ) -> None:
        super().__init__()
        blocks = blocks_per_stage("WNResNet", depth)
        if type(widen) is not int or widen < 1:
            raise ValueError(f"widen={widen!r} of a WNResNet must be a whole number >= 1.")
        channels, _, _ = require_image(f"wn_resnet{depth}", input_shape)
        one, two, three = (width * widen for width in WIDTHS)
        self.conv1 = weight_norm(nn.Conv2d(channels, WIDTHS[0], 3, padding=1))
        self.stage1 = stage(WNBlock, WIDTHS[0], one, blocks, 1)
        self.stage2 = stage(WNBlock, one, two, blocks, 2)
        self.stage3 = stage(WNBlock, two, three, blocks, 2)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(three, num_classes)
        _start_at_zero(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, num_classes)."""
        x = self.stage3(self.stage2(self.stage1(self.conv1(x))))
        return cast(Tensor, self.fc(self.relu(x).mean(dim=(2, 3))))


def _start_at_zero(network: nn.Module) -> None:
    """Set all weights to 0 by g = 0: a v of zeros would make them 0 / 0."""
    Zeros()(network, seed=0)
