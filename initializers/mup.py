"""The maximal update parametrisation: one learning rate for networks of every width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from initializers import validate
from initializers.base import Initializer
from initializers.classical import LeCunNormal
from initializers.context import LayerContext
from initializers.job import Job, draw_buffer
from initializers.layers import plan_module
from initializers.wrapper import Wrapper

OUTPUTS: tuple[str, ...] = ("scaled", "zero")


@dataclass(frozen=True)
class MuP(Wrapper):
    """Another initialiser's weights with muP's output layer and learning rates (Yang et al. 2021).

    With b the base width, the rules (recalled), for a base of variance ~ 1 / fan_in:

    ========== ======================== ===================== ====================
    weight     variance                 rate for Adam         rate for SGD
    ========== ======================== ===================== ====================
    first      the base's               1                     fan_out / b
    hidden     the base's               b / fan_in            1
    last       times b / fan_in, or 0   b / fan_in            b / fan_in
    biases     the base's               1                     fan_out / b, last 1
    ========== ======================== ===================== ====================

    A layer whose fan is b keeps the textbook's values, so a learning rate tuned at width b serves
    for all widths. The first and last weight are those in order of registration; norm layers
    have rate 1. Attention logits over d instead of sqrt(d) are a matter of the network.
    ``Classifier`` trains with these rates.

    Formula:
        Var w_last = Var w_base * base_width / fan_in;  Adam's rates * base_width / fan_in

    Args:
        base: Initialiser of the weights.
        base_width: b, at least 1.
        output: Last weight ``scaled`` as above, or ``zero``.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    base: Initializer = field(default_factory=LeCunNormal)
    base_width: int = 128
    output: str = "scaled"

    family: ClassVar[str] = "structural"
    citation: ClassVar[str] = "Yang et al. 2021, Tensor programs V"

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.integer(self, "base_width", "[1, inf)")
        validate.choice(self, "output", OUTPUTS)

    def rates(self, module: nn.Module, optimizer: str) -> dict[str, float]:
        """Return the factors of the learning rate; see ``Initializer.rates``."""
        plan = plan_module(module, type(self).__name__)
        found: dict[str, float] = {}
        for weight in plan.weights:
            first, last = weight is plan.weights[0], weight is plan.weights[-1]
            narrower = self.base_width / weight.fans.fan_in
            if optimizer == "sgd":
                factor = weight.fans.fan_out / self.base_width if first else 1.0
                factor = narrower if last else factor
            else:
                factor = 1.0 if first else narrower
            found[weight.name.partition("[")[0]] = factor
        output = plan.weights[-1].module if plan.weights else None
        for bias in plan.biases:
            if optimizer == "sgd" and bias.module is not output:
                found[bias.name] = bias.fans.fan_out / self.base_width
        return found

    def run(self, job: Job) -> None:
        """Let the base act and rescale the last weight."""
        self.base.run(job)
        for layer in (layer for layer in job.layers if layer.context.is_last):
            values = draw_buffer(layer.weight.shape, layer.weight.segments[0])
            values.copy_(layer.weight.read())
            layer.weight.write(values.mul_(self._factor(layer.context)))
            layer.context.note(f"output layer times {self._factor(layer.context):.4g}")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Let the base fill the weight, and rescale the last; see ``Initializer.fill``."""
        self.base.fill(weight, context)
        weight.mul_(self._factor(context))

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return what the base aims at, rescaled for the last weight."""
        std = self.base.nominal_std(context)
        return None if std is None else std * self._factor(context)

    def _factor(self, context: LayerContext) -> float:
        if not context.is_last:
            return 1.0
        return 0.0 if self.output == "zero" else (self.base_width / context.fan_in) ** 0.5
