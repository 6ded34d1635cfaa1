"""Data-dependent initialisation of weight-normalised networks (Salimans and Kingma 2016)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from initializers import validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.job import Job, draw_buffer
from initializers.layers import Weight, plan_module
from initializers.weight_norm import DIRECTIONS, fill_directions

_KINDS = ("linear", "bilinear", "conv", "conv_transpose")


@dataclass(frozen=True)
class WeightNormData(Initializer):
    """Row norms and biases that give every pre-activation mean 0 and standard deviation 1.

    Layer by layer in order of execution, with unit rows and bias 0, a batch gives each channel's
    mean mu and standard deviation sigma over examples and positions; then g = 1/sigma and
    b = -mu/sigma, and the layers behind see the normalised signal. A layer without bias keeps its
    mean. The baseline that Arpit, Campos and Bengio 2019 compare their rules with.

    The batch is passed to a copy of the network in evaluation mode (dropout is off, batch
    normalisation is the identity), so that the network itself gets no hooks and keeps its buffers.
    What cannot be measured keeps unit rows and bias 0, with a note: channels without any variance,
    layers that the batch does not pass through, embeddings, attention. A layer that is used
    several times is set by its first use.

    Formula:
        w = g v / |v|,  g = 1 / sigma(z),  b = -mu(z) / sigma(z)

    Args:
        directions: ``normal`` (the paper's) or ``orthogonal``.

    Raises:
        ValueError: If directions are unknown; when called, if there is no batch or the network
            cannot process it.
    """

    directions: str = "normal"

    needs: ClassVar[tuple[str, ...]] = ("data",)
    family: ClassVar[str] = "data-driven"
    citation: ClassVar[str] = (
        "Salimans, Kingma 2016, Weight Normalization: A Simple Reparameterization to Accelerate "
        "Training of Deep Neural Networks"
    )

    def __post_init__(self) -> None:
        validate.choice(self, "directions", DIRECTIONS)

    def check(self, job: Job) -> None:
        """Refuse a call without a batch; see ``Initializer.check``."""
        if job.batch is None:
            raise ValueError(
                "WeightNormData needs data: call it with batch=inputs, for instance the first "
                "training batch."
            )

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw unit rows; see ``Initializer.fill``."""
        fill_directions(weight, self.directions, context)

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return None: it follows from the data."""
        return None

    def run(self, job: Job) -> None:
        """Draw the directions, measure on a copy, then set everything."""
        directions = []
        for layer in job.layers:
            rows = draw_buffer(layer.weight.shape, layer.weight.segments[0])
            self.fill(rows, layer.context)
            directions.append(rows)
        measured = _measure(job.module, directions, job.batch)
        for number, (layer, rows) in enumerate(zip(job.layers, directions, strict=True)):
            found = measured.get(number)
            if found is None:
                layer.context.note("not measured: the batch does not pass through it")
            else:
                rows.mul_(found.factor.to(rows.dtype).view(-1, *[1] * (rows.ndim - 1)))
                if found.constant:
                    layer.context.note(f"{found.constant} constant channels keep row norm 1")
            layer.weight.write(rows)
            if layer.weight.norm is not None:
                layer.weight.norm.make_directions_units()
        shifts = {id(job.layers[n].weight.module): found.shift for n, found in measured.items()}
        for bias in job.plan.biases:
            shift = shifts.get(id(bias.module))
            bias.write(torch.zeros_like(bias.parameter) if shift is None else shift)
        job.plan.reset_norms_and_padding()


@dataclass(frozen=True, eq=False)
class _Found:
    """What the first use of a layer gave.

    Attributes:
        factor: 1/sigma of each unit, float64 on the CPU; 1 where there is no variance.
        shift: -mu/sigma of each unit; 0 where there is no variance, or no bias to hold it.
        constant: Number of units without variance.
    """

    factor: Tensor
    shift: Tensor
    constant: int


def _measure(module: nn.Module, directions: list[Tensor], batch: object) -> dict[int, _Found]:
    """Pass the batch through a copy of the network; return what was found by weight number."""
    inputs = batch[0] if isinstance(batch, tuple | list) and batch else batch  # without labels
    if not isinstance(inputs, Tensor):
        raise TypeError(
            "WeightNormData: batch must be a tensor of inputs or a pair (inputs, labels), got "
            f"{type(inputs).__name__}."
        )
    double = any(parameter.dtype == torch.float64 for parameter in module.parameters())
    twin = copy.deepcopy(module).to(torch.float64 if double else torch.float32).eval()
    plan = plan_module(twin)
    for weight, rows in zip(plan.weights, directions, strict=True):
        weight.write(rows)
    for bias in plan.biases:
        bias.parameter.zero_()
    plan.reset_norms_and_padding()
    found: dict[int, _Found] = {}
    for number, weight in enumerate(plan.weights):
        if weight.kind in _KINDS:
            weight.module.register_forward_hook(_observer(number, weight, found))
    like = plan.weights[0].segments[0] if plan.weights else torch.empty(0)
    inputs = inputs.to(like.device, like.dtype) if inputs.is_floating_point() else inputs
    with torch.random.fork_rng(devices=[]):  # a network may draw even in evaluation mode
        try:
            twin(inputs)
        except _NotFiniteError as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # whatever a forward pass raises
            reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            raise ValueError(
                f"WeightNormData: {type(module).__name__} cannot process the batch of shape "
                f"{tuple(inputs.shape)} ({type(error).__name__}: {reason})."
            ) from error
    return found


class _NotFiniteError(ValueError):
    """A pre-activation that is infinite or no number."""


_Hook = Callable[[nn.Module, Any, Tensor], Tensor]


def _observer(number: int, weight: Weight, found: dict[int, _Found]) -> _Hook:
    """Return a forward hook that measures the first output and normalises every output."""

    def observe(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        spatial = len(weight.shape) - 2 if weight.kind.startswith("conv") else 0
        channels = output.movedim(output.ndim - 1 - spatial, -1)
        if number not in found:
            values = channels.reshape(-1, channels.shape[-1]).double()
            found[number] = _statistics(weight.name, values, getattr(module, "bias", None))
        factor, shift = found[number].factor, found[number].shift
        normalised = channels * factor.to(output) + shift.to(output)
        return normalised.movedim(-1, output.ndim - 1 - spatial)

    return observe


def _statistics(name: str, values: Tensor, bias: Tensor | None) -> _Found:
    """Return factor and shift for pre-activations (samples, units)."""
    if not bool(values.isfinite().all()):
        raise _NotFiniteError(
            f"WeightNormData: the pre-activation of {name} is not finite on this batch; check the "
            "inputs."
        )
    mean, std = values.mean(0).cpu(), values.std(0, correction=0).cpu()
    constant = std <= 1e-6 * values.square().mean(0).sqrt().cpu()  # rounding leaves a rest
    factor = torch.where(constant, 1.0, 1.0 / std.where(~constant, 1.0))
    shift = torch.zeros_like(mean) if bias is None else -mean * factor
    return _Found(factor, shift.where(~constant, 0.0), int(constant.sum()))
