import math

import pytest
import torch
from torch import nn

from initializers import Fans, fans

TABLE = [
    (nn.Linear(784, 300), 784, 300),
    (nn.Conv1d(8, 16, 5), 40, 80),
    (nn.Conv2d(3, 64, 3), 27, 576),
    (nn.Conv2d(3, 64, (3, 5)), 45, 960),
    (nn.Conv3d(2, 4, (1, 2, 3)), 12, 24),
    (nn.Conv2d(64, 128, 3, groups=4), 144, 288),
    (nn.Conv2d(64, 64, 3, groups=64), 9, 9),
    (nn.Conv2d(64, 128, 3, groups=64), 9, 18),
    (nn.Conv2d(64, 128, 3, stride=2), 576, 1152),
    (nn.ConvTranspose1d(6, 4, 3), 18, 12),
    (nn.ConvTranspose2d(64, 128, 4, stride=2), 256, 2048),
    (nn.ConvTranspose2d(64, 128, 4, stride=2, groups=2), 128, 1024),
    (nn.ConvTranspose2d(3, 8, 3, stride=2), 6.75, 72),
    (nn.Embedding(1000, 64), 1, 64),
    (nn.EmbeddingBag(1000, 64), 1, 64),
    (nn.MultiheadAttention(32, 4), 32, 32),
    (nn.Bilinear(3, 5, 7), 15, 28),
]


@pytest.mark.parametrize(("module", "fan_in", "fan_out"), TABLE, ids=lambda x: str(x)[:40])
def test_table(module: nn.Module, fan_in: float, fan_out: float) -> None:
    assert fans(module) == (fan_in, fan_out)


def test_separate_attention_projections() -> None:
    attention = nn.MultiheadAttention(32, 4, kdim=10, vdim=20)
    assert fans(attention, "q_proj_weight") == (32, 32)
    assert fans(attention, "k_proj_weight") == (10, 32)
    assert fans(attention, "v_proj_weight") == (20, 32)


def test_backward_stride_divides_the_fan_out_of_a_strided_convolution_only() -> None:
    assert fans(nn.Conv2d(64, 128, 3, stride=2), backward_stride=True) == (576, 288)
    assert fans(nn.Conv1d(4, 8, 3, stride=3), backward_stride=True) == (12, 8)
    assert fans(nn.Linear(4, 8), backward_stride=True) == (4, 8)


@pytest.mark.parametrize(
    ("stride", "groups", "kernel"), [(1, 1, 3), (2, 1, 4), (2, 2, 2), (4, 1, 4)]
)
def test_transposed_fan_in_keeps_the_output_variance(stride: int, groups: int, kernel: int) -> None:
    """In the interior of a long signal the output variance is Var w * fan_in, by measurement."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.ConvTranspose1d(16, 32, kernel, stride=stride, groups=groups, bias=False)
    layer.weight.data.normal_(generator=generator)
    with torch.no_grad():
        out = layer(torch.randn(64, 16, 400, generator=generator))[:, :, 20:-20]
        measured = float(out.square().mean() / layer.weight.square().mean())
    assert measured == pytest.approx(fans(layer).fan_in, rel=0.03)


def test_modes() -> None:
    both = Fans(4.0, 9.0)
    assert [both.of(mode) for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo")] == [4, 9, 6.5, 6]
    assert both.of("fan_geo") == math.sqrt(36.0)
    with pytest.raises(ValueError, match="mode must be one of fan_in"):
        both.of("fan_inn")


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(TypeError, match="no rule for LSTM"):
        fans(nn.LSTM(3, 4))
