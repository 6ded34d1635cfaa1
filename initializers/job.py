"""One call of an initialiser: what there is to set, what it draws from and what it reports."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from initializers.batch import split_batch
from initializers.branches import branch_ends
from initializers.context import LayerContext
from initializers.layers import Bias, Plan, Weight, plan_module
from initializers.record import LayerRecord, measure
from initializers.seeding import Streams


@dataclass(frozen=True, eq=False)
class Layer:
    """A weight of the module together with its context."""

    weight: Weight
    context: LayerContext

    def record(self, nominal_std: float | None, fan: float, gain: float) -> LayerRecord:
        """Measure the weight as it is now.

        Args:
            nominal_std: Standard deviation that the method aimed at, if it has one.
            fan: Fan by which the effective gain is judged.
            gain: Gain by which it is judged.
        """
        weight, context = self.weight, self.context
        realised = measure(weight.read().cpu())
        notes = list(context.notes)
        if weight.norm is not None:
            notes.append("weight-normalised: g and v are set so that g v / |v| is this weight")
        if weight.aliases:
            notes.append(f"shared with {', '.join(weight.aliases)}")
        return LayerRecord(
            name=weight.name,
            type=type(weight.module).__name__,
            shape=weight.shape,
            fan_in=context.fan_in,
            fan_out=context.fan_out,
            nominal_std=nominal_std,
            std=realised.std,
            zero_fraction=realised.zeros / (context.rows * context.columns),
            empty_rows=realised.empty_rows,
            kurtosis=realised.kurtosis,
            effective_gain=realised.std * fan**0.5 / gain,
            note="; ".join(notes),
        )


@dataclass(frozen=True, eq=False)
class Job:
    """One call of an initialiser.

    Attributes:
        module: The module that the initialiser was called on.
        plan: All its parameters, sorted.
        layers: Its weights in order of registration, each with its context.
        streams: Random streams by name.
        batch: The inputs that were passed, or None.
        labels: Their labels, or None.
    """

    module: nn.Module
    plan: Plan
    layers: tuple[Layer, ...]
    streams: Streams
    batch: Tensor | None = None
    labels: Tensor | None = None

    @classmethod
    def of(
        cls,
        owner: str,
        module: nn.Module,
        seed: int | None,
        generator: torch.Generator | None,
        batch: object,
    ) -> Job:
        """Sort the module's parameters and open a random stream for each; changes nothing.

        Raises:
            TypeError: If module, seed, generator or batch have the wrong type.
            ValueError: If seed and generator are both or neither given, a parameter has no memory
                yet, or the batch is empty.
        """
        plan = plan_module(module, owner)
        streams = Streams.of(owner, seed, generator)
        ends = branch_ends(module)
        layers = tuple(
            Layer(weight, _context(weight, streams, plan.weights, ends)) for weight in plan.weights
        )
        return cls(module, plan, layers, streams, *split_batch(owner, batch))

    def subset(self, names: Collection[str], *, rest: bool) -> Job:
        """Return the job of some layers of the same module.

        Args:
            names: Names of their weights. Biases go with the first weight of their layer.
            rest: Whether norm layers and padding rows are part of the job.
        """
        layers = tuple(layer for layer in self.layers if layer.weight.name in names)
        first: dict[int, Layer] = {}
        for layer in self.layers:
            first.setdefault(id(layer.weight.module), layer)
        owners = {key for key, layer in first.items() if layer.weight.name in names}
        known = set(first)
        plan = replace(
            self.plan,
            weights=[layer.weight for layer in layers],
            biases=[
                bias
                for bias in self.plan.biases
                if id(bias.module) in owners or (rest and id(bias.module) not in known)
            ],
        )
        if not rest:
            plan = replace(plan, norms=[], running=[], padding=[])
        return replace(self, plan=plan, layers=layers)

    def bias_context(self, bias: Bias) -> LayerContext:
        """Return the context of a bias, with its own random stream and its weight's fans."""
        return LayerContext(
            name=bias.name,
            shape=tuple(bias.parameter.shape),
            fans=bias.fans,
            generator=self.streams.generator(bias.name),
            kind=bias.kind,
            module=bias.module,
        )


def draw_buffer(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return an empty CPU tensor to draw into: float64 for float64 parameters, else float32."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.empty(shape, dtype=dtype)


def _context(
    weight: Weight, streams: Streams, weights: list[Weight], ends: frozenset[str]
) -> LayerContext:
    return LayerContext(
        name=weight.name,
        shape=weight.shape,
        fans=weight.fans,
        generator=streams.generator(weight.name),
        kind=weight.kind,
        groups=weight.groups,
        depthwise=weight.depthwise,
        is_first=weight is weights[0],
        is_last=weight is weights[-1],
        ends_branch=weight.name in ends,
        module=weight.module,
    )
