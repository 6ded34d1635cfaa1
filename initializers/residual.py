"""Initialisation of residual networks without normalisation, stage by stage.

The counterpart for plain weights of the rule for weight-normalised residual networks of Arpit,
Campos and Bengio 2019 (derived).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.branch_gains import assign_roles, role_of
from initializers.context import LayerContext
from initializers.fans import MODES
from initializers.job import Job
from initializers.orthogonal import Orthogonal
from initializers.torch_default import TorchDefault
from initializers.weight_norm import DIRECTIONS, OUTPUTS, check_roles


@dataclass(frozen=True)
class ResidualScaling(Initializer):
    """Weights of variance ``scale^2 gamma / fan``, where gamma follows from the residual blocks.

    gamma is 2 in a branch, 1/B at its end (B blocks per stage), 1 in a shortcut; see
    ``initializers.branch_gains``. The squared norm of the signal grows by ``(1 + 1/B)^B`` per
    stage, at most by e, whatever the depth.

    Formula:
        Var w = scale^2 * gamma / fan,  gamma = 2 | 1/B at a branch's end | 1 in a shortcut

    Args:
        scale: Multiplier of the standard deviation, in (0, inf).
        mode: ``fan_in`` (preserves the second moment per unit), ``fan_out`` (the norm),
            ``fan_avg`` or ``fan_geo``.
        directions: ``normal`` (independent weights) or ``orthogonal`` (a semi-orthogonal matrix of
            the same mean square).
        output: ``torch_default`` gives the output layer the law of a new torch layer, ``rule``
            gamma 1.
        rule: ``proposed`` (1/B) or ``hanin`` ((0.9^b)^2) at the end of a branch.
        ends: See ``WeightNormResNet``.
        linear: See ``WeightNormResNet``.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range, or ``linear`` is given without ``ends``; when
            called, if the blocks cannot be worked out or a pattern matches no layer.
    """

    scale: float = 1.0
    mode: str = "fan_in"
    directions: str = "normal"
    output: str = "torch_default"
    rule: str = "proposed"
    ends: str | None = None
    linear: str | None = None

    fills_in_place: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("topology",)
    family: ClassVar[str] = "residual"
    citation: ClassVar[str] = "derived from Arpit, Campos, Bengio 2019 (arXiv 1906.02341)"

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")
        validate.choice(self, "mode", MODES)
        validate.choice(self, "directions", DIRECTIONS)
        validate.choice(self, "output", OUTPUTS)
        check_roles(self)

    def check(self, job: Job) -> None:
        """Work out the role of every layer; see ``Initializer.check``."""
        assign_roles(type(self).__name__, job, self.rule, self.ends, self.linear)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        std = self.nominal_std(context)
        if self._default(context):
            context.note("output layer: torch's default law")
            TorchDefault().fill(weight, context)
            return
        context.note(role_of(context).text)
        if self.directions == "orthogonal":
            Orthogonal().fill(weight, context)
            weight.mul_(std / Orthogonal().nominal_std(context))
        else:
            draws.fill_normal(weight, std, context.generator)

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``scale * sqrt(gamma / fan)``."""
        if self._default(context):
            return TorchDefault().nominal_std(context)
        fan, gain = self.reference(context)
        return self.scale * gain / math.sqrt(fan)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan of the mode and the root of gamma."""
        return context.fans.of(self.mode), math.sqrt(role_of(context).gamma)

    def _default(self, context: LayerContext) -> bool:
        return self.output == "torch_default" and role_of(context).output
