"""Layer-sequential unit-variance initialisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from initializers import validate
from initializers.base import Initializer
from initializers.data_driven import DataDriven
from initializers.job import Layer
from initializers.orthogonal import Orthogonal
from initializers.rehearsal import RefusalError, Rehearsal

_NORMALISED = ("linear", "conv", "conv_transpose", "bilinear")


@dataclass(frozen=True)
class LSUV(DataDriven):
    """Divide each layer's weight by the standard deviation of its output (Mishkin, Matas 2016).

    Layer after layer, in the order in which the network runs them, the weight is multiplied by
    ``std / s`` with s the standard deviation of the layer's output over examples, units and
    positions, until ``|s - std| <= tolerance`` or after ``tries`` times. Without a bias one
    division is exact. All layers are done in a single pass through the network, whose norm layers
    use the batch's statistics and whose dropout is off.

    A layer that runs several times is normalised by its first run. Embeddings, attention's input
    projections and layers that the batch does not reach keep the base's weights; the record says
    so. With ``base="ternary:density=0.1", tolerance=0`` this is ternary initialisation normalised
    by data instead of by its fan (derived).

    Needs ``batch``: inputs.

    Formula:
        w <- w * std / std(z),  until |std(z) - std| <= tolerance

    Args:
        base: Weights to start from; the paper's are orthogonal.
        std: Standard deviation to reach, in (0, inf).
        tolerance: Deviation from it that is left alone, in [0, inf); the paper's is 0.1.
        tries: Most divisions per layer, at least 1; the paper's are 10.
        center: Shift the biases so that the mean of each layer's output is 0, as the authors'
            code does and the paper does not.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    base: Initializer = field(default_factory=Orthogonal)
    std: float = 1.0
    tolerance: float = 0.1
    tries: int = 10
    center: bool = False

    needs: ClassVar[tuple[str, ...]] = ("data",)
    citation: ClassVar[str] = "Mishkin, Matas 2016, All you need is a good init"

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "std", "(0, inf)")
        validate.number(self, "tolerance", "[0, inf)")
        validate.integer(self, "tries", "[1, inf)")
        validate.flag(self, "center")

    def correct(self, trial: Rehearsal) -> None:
        """Run the copy once and normalise each layer when it is reached."""
        waiting = {
            layer.weight.module: layer
            for layer in trial.job.layers
            if layer.context.kind in _NORMALISED
        }
        runs = dict.fromkeys(waiting, 0)

        def reached(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:
            runs[module] += 1
            if runs[module] > 1:
                return output
            return self._normalize(waiting[module], args, kwargs, output)

        for module in waiting:
            module.register_forward_hook(reached, with_kwargs=True)
        assert trial.job.batch is not None
        trial.outputs(trial.job.batch)
        for layer in trial.job.layers:
            count = runs.get(layer.weight.module, 0)
            if count != 1:
                layer.context.note(f"normalised by the first of {count} runs" if count else _LEFT)

    def _normalize(self, layer: Layer, args: Any, kwargs: Any, output: Tensor) -> Tensor:
        """Rescale one layer for these inputs and return its output with the new weight."""
        module, weight = layer.weight.module, layer.weight
        bias = getattr(module, "bias", None)
        first = last = self._spread(layer, output)
        divisions = 0
        while abs(last - self.std) > self.tolerance and divisions < self.tries:
            weight.write(weight.read() * (self.std / last))
            divisions += 1
            output = module.forward(*args, **kwargs)
            if self.center and bias is not None:
                bias.sub_(output.mean())
                output = module.forward(*args, **kwargs)
            last = self._spread(layer, output)
        if self.center and bias is not None and not divisions:
            bias.sub_(output.mean())
            output = module.forward(*args, **kwargs)
        layer.context.note(f"output std {first:.4g} to {last:.4g} in {divisions} division(s)")
        return output

    def _spread(self, layer: Layer, output: Tensor) -> float:
        spread = float(output.std(correction=0))
        if not 0.0 < spread < math.inf:
            raise RefusalError(
                f"LSUV: the output of {layer.weight.name} has standard deviation {spread:g}, which "
                f"no factor brings to {self.std:g}; start from other weights than {self.base}."
            )
        return spread


_LEFT = "not normalised: its output is not seen"
