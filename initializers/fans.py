"""Fans: how many weighted inputs feed one output value, and the converse, for every layer kind.

Worked out in this one place from the layer's own attributes, not guessed from the memory layout:
groups count, transposed convolutions are not swapped and their stride counts, an embedding reads
one row (derived).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd

MODES: tuple[str, ...] = ("fan_in", "fan_out", "fan_avg", "fan_geo")


class Fans(NamedTuple):
    """The two fans of a weight.

    Attributes:
        fan_in: Mean number of weighted inputs summed into one output value.
        fan_out: Mean number of output values that one input value feeds.
    """

    fan_in: float
    fan_out: float

    def of(self, mode: str) -> float:
        """Return the fan of a mode.

        Args:
            mode: ``fan_in``, ``fan_out``, ``fan_avg`` (arithmetic mean, Glorot and Bengio 2010) or
                ``fan_geo`` (geometric mean).

        Raises:
            ValueError: If the mode is unknown.
        """
        if mode == "fan_in":
            return self.fan_in
        if mode == "fan_out":
            return self.fan_out
        if mode == "fan_avg":
            return (self.fan_in + self.fan_out) / 2.0
        if mode == "fan_geo":
            return math.sqrt(self.fan_in * self.fan_out)
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}.")


def fans(module: nn.Module, parameter: str | None = None, *, backward_stride: bool = False) -> Fans:
    """Return the fans of a layer's weight.

    ======================= ============================= =======================
    layer                   fan_in                        fan_out
    ======================= ============================= =======================
    Linear                  n_in                          n_out
    Conv, g groups          (C_in/g) * taps               (C_out/g) * taps
    ConvTranspose           (C_in/g) * taps / stride      (C_out/g) * taps
    Embedding (V, d)        1                             d
    attention projections   columns of q, k or v          rows of q, k or v
    Bilinear                in1 * in2                     out * (in1 + in2) / 2
    ======================= ============================= =======================

    ``taps`` and ``stride`` are products over the spatial axes. The fans of Bilinear are derived
    for inputs of unit second moment; its fan_out is the mean over its two inputs.

    Args:
        module: Linear, Bilinear, Conv1d/2d/3d, ConvTranspose1d/2d/3d, Embedding, EmbeddingBag or
            MultiheadAttention (or a subclass).
        parameter: Name of the weight; only attention has more than one: ``in_proj_weight``
            (default), ``q_proj_weight``, ``k_proj_weight``, ``v_proj_weight``. The packed
            ``in_proj_weight`` counts as three separate matrices.
        backward_stride: Divide a strided convolution's fan_out by its stride, as a rule that
            preserves the backward signal needs; textbook fan_out and fan_avg do not.

    Raises:
        TypeError: If the layer kind has no rule.
    """
    if isinstance(module, nn.Linear):
        return Fans(float(module.in_features), float(module.out_features))
    if isinstance(module, _ConvNd):
        taps, stride = math.prod(module.kernel_size), math.prod(module.stride)
        fan_in = module.in_channels // module.groups * taps
        fan_out = module.out_channels // module.groups * taps
        if module.transposed:
            return Fans(fan_in / stride, float(fan_out))
        return Fans(float(fan_in), fan_out / stride if backward_stride else float(fan_out))
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return Fans(1.0, float(module.embedding_dim))
    if isinstance(module, nn.MultiheadAttention):
        columns = {"k_proj_weight": module.kdim, "v_proj_weight": module.vdim}
        return Fans(float(columns.get(parameter or "", module.embed_dim)), float(module.embed_dim))
    if isinstance(module, nn.Bilinear):
        one, two = module.in1_features, module.in2_features
        return Fans(float(one * two), module.out_features * (one + two) / 2.0)
    raise TypeError(
        f"fans: no rule for {type(module).__name__}; known are Linear, Bilinear, Conv1d/2d/3d, "
        "ConvTranspose1d/2d/3d, Embedding, EmbeddingBag and MultiheadAttention."
    )
