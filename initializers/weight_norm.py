"""Initialisation of weight-normalised networks (Arpit, Campos and Bengio 2019).

A weight-normalised unit computes ``g * <v, x> / |v|`` (Salimans and Kingma 2016): its row of the
weight has norm g whatever v. The rules give the norms; the directions are unit vectors, orthogonal
to each other where there is room. On layers with torch's ``parametrizations.weight_norm`` v gets
unit rows and g the norms; other layers get the product, so that both compute the same.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.branch_gains import RULES, assign_roles, role_of
from initializers.context import LayerContext
from initializers.job import Job
from initializers.orthogonal import Orthogonal
from initializers.torch_default import TorchDefault

DIRECTIONS: tuple[str, ...] = ("orthogonal", "normal")
OUTPUTS: tuple[str, ...] = ("torch_default", "rule")


@dataclass(frozen=True)
class _RowNorms(Initializer):
    """Common part of the two rules; a subclass states gamma and the fan of a layer."""

    scale: float = 1.0
    directions: str = "orthogonal"
    output: str = "torch_default"

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "residual"
    citation: ClassVar[str] = (
        "Arpit, Campos, Bengio 2019, How to Initialize your Network? Robust Initialization for "
        "WeightNorm & ResNets (arXiv 1906.02341)"
    )

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")
        validate.choice(self, "directions", DIRECTIONS)
        validate.choice(self, "output", OUTPUTS)

    @abstractmethod
    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan and ``sqrt(gamma)``."""

    @abstractmethod
    def _is_output(self, context: LayerContext) -> bool:
        """Return whether the weight is the output layer's."""

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        if self._default(context):
            TorchDefault().fill(weight, context)
            return
        fill_directions(weight, self.directions, context)
        weight.mul_(self.nominal_std(context) * math.sqrt(context.columns))

    def nominal_std(self, context: LayerContext) -> float:
        """Return ``scale * sqrt(gamma / fan)``: the norm of a row by the root of its length."""
        if self._default(context):
            return TorchDefault().nominal_std(context)
        fan, gain = self.reference(context)
        return self.scale * gain / math.sqrt(fan)

    def run(self, job: Job) -> None:
        """Set everything; then give v of weight-normalised layers unit rows."""
        super().run(job)
        for layer in job.layers:
            if layer.weight.norm is not None:
                layer.weight.norm.make_directions_units()

    def _default(self, context: LayerContext) -> bool:
        if self.output != "torch_default" or not self._is_output(context):
            return False
        context.note("output layer: torch's default law")
        return True


@dataclass(frozen=True)
class WeightNormForward(_RowNorms):
    """Row norms for feed-forward ReLU networks: ``g = scale * sqrt(2 fan_in / fan_out)``.

    The norm of the signal is preserved layer by layer: unit rows of random direction give
    ``E|V h|^2 = n_out / n_in * |h|^2``, and a ReLU halves it. For convolutions the fans are the
    channels: the size of the kernel cancels, and the stride is not considered.

    Formula:
        w = g v / |v|,  g = scale * sqrt(2 fan_in / fan_out)

    Args:
        scale: Multiplier of the norms, in (0, inf).
        directions: ``orthogonal`` (the paper's recommendation; rows of a semi-orthogonal matrix,
            divided by their norms) or ``normal`` (independent).
        output: ``torch_default`` gives the last weight the law of a new torch layer,
            U(+-1/sqrt(fan_in)) (the paper's for ResNets; for feed-forward networks our reading),
            ``rule`` the same norms as the others.
        rule: ``forward``, as above, or ``backward``: ``g = scale * sqrt(2)``, which preserves the
            norm of gradients and which the paper found inferior.

    Raises:
        TypeError: If scale is no number.
        ValueError: If a value is outside its range.
    """

    rule: str = "forward"

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice(self, "rule", ("forward", "backward"))

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return fan_out (``backward``: the weights of a row) and the root of 2."""
        fan = context.fan_out if self.rule == "forward" else float(context.columns)
        return fan, math.sqrt(2.0)

    def _is_output(self, context: LayerContext) -> bool:
        return context.is_last


@dataclass(frozen=True)
class WeightNormResNet(_RowNorms):
    """Row norms for residual networks: ``g = scale * sqrt(gamma fan_in / fan_out)``.

    gamma depends on what a layer is in its residual block: see ``initializers.branch_gains``. A
    network without blocks is initialised as by ``WeightNormForward``, except that a layer without
    a rectifier after it has gamma 1.

    Formula:
        w = g v / |v|,  g = scale * sqrt(gamma fan_in / fan_out)

    Args:
        scale: Multiplier of the norms, in (0, inf).
        directions: See ``WeightNormForward``.
        output: See ``WeightNormForward``; the ordinary Linear layer is the paper's.
        rule: ``proposed`` (1/B at the end of a branch) or ``hanin`` ((0.9^b)^2).
        ends: The last layers of all branches, patterns of layer names separated by blanks, one
            per stage, such as ``"stage1.*.conv2 stage2.*.conv2"``; None to find them by tracing
            the forward pass.
        linear: With ``ends``: patterns of layers with gamma 1 (shortcuts, a stem without ReLU).

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range, or ``linear`` is given without ``ends``; when
            called, if the blocks cannot be worked out or a pattern matches no layer.
    """

    rule: str = "proposed"
    ends: str | None = None
    linear: str | None = None

    needs: ClassVar[tuple[str, ...]] = ("topology",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_roles(self)

    def check(self, job: Job) -> None:
        """Work out the role of every layer; see ``Initializer.check``."""
        assign_roles(type(self).__name__, job, self.rule, self.ends, self.linear)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``."""
        super().fill(weight, context)
        if not self._default(context):
            context.note(role_of(context).text)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return fan_out and the root of gamma."""
        return context.fan_out, math.sqrt(role_of(context).gamma)

    def _is_output(self, context: LayerContext) -> bool:
        return role_of(context).output


def check_roles(owner: Initializer) -> None:
    """Check the fields ``rule``, ``ends`` and ``linear`` of a frozen dataclass.

    Raises:
        TypeError: If patterns are no text.
        ValueError: If the rule is unknown, patterns are empty, or ``linear`` stands without
            ``ends``.
    """
    validate.choice(owner, "rule", RULES)
    name = type(owner).__name__
    for field in ("ends", "linear"):
        value = getattr(owner, field)
        if value is not None and not isinstance(value, str):
            raise TypeError(
                f"{name}: {field} must be text, patterns of layer names separated by blanks, "
                f"got {value!r}."
            )
        if value is not None and not value.split():
            raise ValueError(f"{name}: {field} must name a layer, got {value!r}.")
    if getattr(owner, "linear") is not None and getattr(owner, "ends") is None:  # noqa: B009
        raise ValueError(
            f"{name}: linear goes with ends; without ends all roles are worked out by tracing."
        )


def fill_directions(weight: Tensor, directions: str, context: LayerContext) -> None:
    """Fill with rows of norm 1.

    Args:
        weight: Contiguous float32 or float64 CPU tensor (units, inputs...).
        directions: ``orthogonal`` or ``normal``.
        context: Gives the generator and the groups.
    """
    if directions == "orthogonal":
        Orthogonal().fill(weight, context)
    else:
        draws.fill_normal(weight, 1.0, context.generator)
    matrix = weight.flatten(1)
    norms = torch.linalg.vector_norm(matrix, dim=1, keepdim=True, dtype=torch.float64)
    matrix.div_(norms)
