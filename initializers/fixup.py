"""Fixup: residual networks without normalisation that start as their shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from initializers import validate
from initializers.base import Initializer
from initializers.branches import residual_branches
from initializers.classical import HeNormal
from initializers.context import LayerContext
from initializers.job import Job, draw_buffer
from initializers.scalars import set_scalars

SCALAR_RATE = 0.1
_STARTS = {"bias": 0.0, "scale": 1.0, "multiplier": 1.0}


@dataclass(frozen=True)
class Fixup(Initializer):
    """He's law with fan_out, shrunk on the residual branches (Zhang, Dauphin, Ma 2019).

    With L residual blocks and m weights on a branch: the last weight of each branch is 0, the
    others have He's standard deviation ``sqrt(2 / fan_out)`` times ``L^(-1 / (2 m - 2))``. The
    network's last weight and all biases are 0. All other weights are He's. Scalar parameters of
    the blocks start at 0 if their name has ``bias`` in it, at 1 if it has ``scale`` or
    ``multiplier``. So all logits are 0 and every block passes a non-negative input on.

    For networks without norm layers, with scalar biases and multipliers:
    ``lightning_modules`` has ``fixup_resnet20``. The scalars are trained with a tenth of the
    learning rate (see ``rates``).

    Formula:
        std = sqrt(2 / fan_out) * L^(-1 / (2 m - 2)) in a branch; its last weight is 0

    Args:
        blocks: Pattern of the names of the residual blocks; None finds them by their structure
            (see ``residual_branches``).
        scale: Multiplier of the standard deviation, in (0, inf).

    Raises:
        TypeError: If scale is no number.
        ValueError: If it is outside its range, or on the call if the module has norm layers, no
            residual blocks, or a branch with a single weight.
    """

    blocks: str | None = None
    scale: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("topology",)
    family: ClassVar[str] = "structural"
    citation: ClassVar[str] = "Zhang, Dauphin, Ma 2019, Fixup initialization"

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")

    def rates(self, module: nn.Module, optimizer: str) -> dict[str, float]:
        """Return a tenth for scalar biases and multipliers; see ``Initializer.rates``."""
        return {
            name: SCALAR_RATE
            for name, parameter in module.named_parameters()
            if parameter.numel() == 1 and parameter.dim() < 2 and _start(name) is not None
        }

    def check(self, job: Job) -> None:
        """Refuse networks with norm layers, and branches that the rule does not cover."""
        kind = type(job.module).__name__
        if job.plan.norms or job.plan.running:
            name = job.plan.norms[0][0] if job.plan.norms else "one without parameters"
            raise ValueError(
                f"Fixup is for residual networks without norm layers, but {kind} has {name}; "
                "fixup_resnet20 is such a network."
            )
        branches = residual_branches(job.module, self.blocks)
        if not branches:
            raise ValueError(
                f"Fixup found no residual block in {kind}; name them by a pattern, for instance "
                "blocks='layers.*'."
            )
        for branch in branches:
            if len(branch.weights) < 2:
                raise ValueError(
                    f"Fixup needs two or more weights on a residual branch, but {branch.block} has "
                    f"{branch.weights[0]} alone."
                )

    def run(self, job: Job) -> None:
        """Draw He's weights and multiply those on the branches."""
        set_scalars(job, _start)
        factors = self._factors(job)
        drawn = []
        for layer in job.layers:
            values = draw_buffer(layer.weight.shape, layer.weight.segments[0])
            self.fill(values, layer.context)
            factor = 0.0 if layer.context.is_last else factors.get(layer.weight.name, 1.0)
            if layer.context.is_last:
                layer.context.note("output layer set to 0")
            elif layer.weight.name in factors:
                layer.context.note(f"on a residual branch: times {factor:.4g}")
            drawn.append(values.mul_(factor))
        super().run(replace(job, layers=()))  # biases and scalars
        for layer, values in zip(job.layers, drawn, strict=True):
            layer.weight.write(values)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw He's weights with fan_out; see ``Initializer.fill``."""
        HeNormal(self.scale, mode="fan_out").fill(weight, context)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return fan_out and the gain of ReLU."""
        return HeNormal(mode="fan_out").reference(context)

    def _factors(self, job: Job) -> Mapping[str, float]:
        branches = residual_branches(job.module, self.blocks)
        factors = {}
        for branch in branches:
            *inner, last = branch.weights
            factor = len(branches) ** (-0.5 / len(inner))  # m = len(inner) + 1
            factors.update(dict.fromkeys(inner, factor) | {last: 0.0})
        return factors


def _start(name: str) -> float | None:
    """Return the start of a scalar parameter, by its name; None for an unknown one."""
    short = name.rpartition(".")[2]
    return next((value for part, value in _STARTS.items() if part in short), None)
