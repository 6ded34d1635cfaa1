"""What torch's own layers do when they are built, from our random streams."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from initializers import draws
from initializers.base import Initializer
from initializers.context import LayerContext


@dataclass(frozen=True)
class TorchDefault(Initializer):
    """The rules of torch's ``reset_parameters``, layer by layer, with one stream per parameter.

    * Linear, Conv: weight and bias U(+-1/sqrt(fan_in)), i.e. Var = 1 / (3 fan_in), neither Glorot
      nor He. For ConvTranspose torch takes (C_out/g) * taps in place of fan_in; so does this.
    * Bilinear: weight and bias U(+-1/sqrt(in1)).
    * Embedding: N(0, 1).
    * MultiheadAttention: projections of the input Glorot-uniform, the packed one with the fans of
      the whole (3d, d) matrix; its biases 0.

    Formula:
        w, b ~ U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))
    """

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "default"
    citation: ClassVar[str] = "torch.nn, reset_parameters"

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        law = draws.fill_normal if context.kind == "embedding" else draws.fill_uniform
        law(weight, self.nominal_std(context), context.generator)

    def fill_bias(self, bias: Tensor, context: LayerContext) -> None:
        """Draw the bias; see ``Initializer.fill_bias``."""
        if context.kind == "attention":
            bias.zero_()
        else:
            draws.fill_uniform(bias, _uniform_std(context), context.generator)

    def nominal_std(self, context: LayerContext) -> float:
        """Return the standard deviation of torch's law."""
        if context.kind == "embedding":
            return 1.0
        if context.kind == "attention":
            rows = context.rows * (3 if "[" in context.name else 1)
            return math.sqrt(2.0 / (context.columns + rows))
        return _uniform_std(context)


def _uniform_std(context: LayerContext) -> float:
    """Return the standard deviation of U(+-1/sqrt(fan)) with the fan that torch would take."""
    fan = context.fan_in
    if context.kind == "conv_transpose":
        fan = context.fan_out
    elif isinstance(context.module, nn.Bilinear):
        fan = float(context.module.in1_features)
    return 1.0 / math.sqrt(3.0 * fan) if fan else 0.0
