"""Neuronal rewiring: the weights of another initialiser, rearranged within each layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from initializers import validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.orthogonal import Orthogonal
from initializers.preferential import attach_rows
from initializers.strength import strength_variance
from initializers.transform import Transform


@dataclass(frozen=True)
class Rewired(Transform):
    """The base's weights, rearranged by preferential attachment so that strengths even out.

    Scabini, De Baets and Bruno 2022 (arXiv 2207.08148; the algorithm as in the authors' public
    code), exact in distribution. The strength of an input or output is the signed sum of its
    weights. First the weights are moved within the rows of the matrix (units, inputs of a unit),
    which evens out the inputs and leaves the outputs' strengths as they are; then within the
    columns, which evens out the outputs and leaves the inputs' as the first pass made them. See
    ``initializers.preferential`` for a pass. The first unit in the first pass and the first input
    in the second stay untouched.

    With a seed, each weight holds exactly the values that the base gives with that seed, in another
    order: ternary weights stay ternary with equal counts. What depends on the places is lost:
    orthogonal weights are no longer orthogonal, as the singular values tell (derived), and the row
    counts of ``ternary:sampling=exact_row`` go with the second pass.

    The rule is not invariant to scale: an offset of 1 beside the strengths makes larger weights
    follow them more closely. The groups of a convolution are rewired one by one, so that depthwise
    filters of one unit each stay as they are; so do embeddings.

    Formula:
        a row deals its weights, smallest first, to columns j with odds s_j + |min s| + 1

    Args:
        base: The initialiser whose weights are rearranged; ``orthogonal`` by
            default, which the authors recommend.
        temperature: Odds are raised to ``1 / temperature``: 1 is the published rule, 0 the greedy
            one, which evens out the most, and large values shuffle (our option). In [0, inf).

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    base: Initializer = field(default_factory=Orthogonal)
    temperature: float = 1.0

    family: ClassVar[str] = "rewiring"
    citation: ClassVar[str] = (
        "Scabini, De Baets, Bruno 2022, Improving random initialization through neuronal rewiring"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "temperature", "[0, inf)")

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Rearrange one weight; see ``Transform.rewrite``."""
        if context.kind == "embedding":
            context.note("embedding: not rewired")
            return
        before = strength_variance(weight, context.groups)
        rewire_(weight, context.generator, temperature=self.temperature, groups=context.groups)
        after = strength_variance(weight, context.groups)
        context.note(
            f"strength variance of inputs {before.inputs:.4g} to {after.inputs:.4g}, "
            f"of outputs {before.outputs:.4g} to {after.outputs:.4g}"
        )


def rewire_(
    weight: Tensor, generator: torch.Generator, *, temperature: float = 1.0, groups: int = 1
) -> Tensor:
    """Rearrange a weight in place, inputs first, then outputs, and return it; see ``Rewired``.

    Args:
        weight: Contiguous float32 or float64 CPU tensor (units, inputs...).
        generator: CPU generator.
        temperature: In [0, inf).
        groups: Groups of a convolution.
    """
    matrices = weight.detach().view(groups, weight.shape[0] // groups, -1)
    for axes in ((1, 0, 2), (2, 0, 1)):
        side = matrices.permute(axes)
        rows = side.contiguous()  # the weight's own memory in the first pass without groups
        attach_rows(rows.numpy(), temperature, generator)
        side.copy_(rows)
    return weight
