"""Strength of inputs and outputs, and drawing many times to even it out.

The strength of a unit is the signed sum of its weights: of an input, down its column of the weight
matrix (units, inputs of a unit); of an output, along its row (Scabini, De Baets and Bruno 2022,
arXiv 2207.08148). In a kernel every pair of channel and tap is an input; the inputs of different
groups are different inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from initializers import validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.job import Job
from initializers.orthogonal import Orthogonal
from initializers.transform import Transform


class StrengthVariance(NamedTuple):
    """Population variances of the strengths of one weight.

    Attributes:
        inputs: Of the column sums of all groups.
        outputs: Of the row sums.
    """

    inputs: float
    outputs: float

    @property
    def mean(self) -> float:
        """Mean of both."""
        return (self.inputs + self.outputs) / 2.0


def strength_variance(weight: Tensor, groups: int = 1) -> StrengthVariance:
    """Measure how unequal the strengths of a weight are; sums are taken in float64.

    Args:
        weight: Tensor (units, inputs...), float32 or float64.
        groups: Groups of a convolution.
    """
    matrices = weight.reshape(groups, weight.shape[0] // groups, -1)
    inputs, outputs = (
        float(matrices.sum(axis, dtype=torch.float64).var(correction=0)) for axis in (1, 2)
    )
    return StrengthVariance(inputs, outputs)


@dataclass(frozen=True)
class StrengthStabilized(Transform):
    """The draw of the base, out of many, whose strengths are the most equal.

    Random strength minimisation of Scabini, De Baets and Bruno 2022 (arXiv 2207.08148; as in the
    authors' public code): every weight is drawn ``tries`` times, and the draw with the smallest
    mean of the two variances (``strength_variance``) is kept. The first draw is the base's own with
    the same seed; the others come from streams of their own. It can be followed by ``Rewired``.

    The law of a single weight hardly changes; the gain is small for large layers, whose variances
    hardly differ between draws. The cost is ``tries`` times the base's. Embeddings keep the first
    draw.

    Formula:
        w = argmin over tries of  (Var of the row sums + Var of the column sums) / 2

    Args:
        base: The initialiser that draws; one that sets each weight by itself;
            ``orthogonal`` by default.
        tries: Draws per weight, at least 1; the paper's are 100.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range; on a call, if the base treats the module as a
            whole.
    """

    base: Initializer = field(default_factory=Orthogonal)
    tries: int = 100

    draws: ClassVar[bool] = False
    family: ClassVar[str] = "rewiring"
    citation: ClassVar[str] = (
        "Scabini, De Baets, Bruno 2022, Improving random initialization through neuronal rewiring"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.integer(self, "tries", "[1, inf)")

    def check(self, job: Job) -> None:
        """Refuse a base whose weights depend on one another; see ``Initializer.check``."""
        super().check(job)
        part: Initializer = self.base
        while isinstance(part, Transform) and type(part).run is Transform.run:
            if type(part).rewrite_all is not Transform.rewrite_all:
                break
            part = part.base
        if type(part).run is not Initializer.run:
            raise ValueError(
                f"StrengthStabilized draws each weight anew, but {type(part).__name__} sets all "
                "weights of a module together; put StrengthStabilized inside of it."
            )

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Draw again, and keep the best; see ``Transform.rewrite``."""
        if context.kind == "embedding":
            context.note("embedding: the first draw is kept")
            return
        first = best = strength_variance(weight, context.groups)
        trial = torch.empty_like(weight)
        for number in range(1, self.tries):
            generator = context.stream(f"StrengthStabilized/draw {number}")
            self.base.fill(trial, replace(context, generator=generator))
            found = strength_variance(trial, context.groups)
            if found.mean < best.mean:
                best = found
                weight.copy_(trial)
        context.note(f"strength variance {first.mean:.4g} to {best.mean:.4g} ({self.tries} draws)")
