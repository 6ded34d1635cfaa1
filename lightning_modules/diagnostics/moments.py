"""Moments of what flows through a network, forwards and backwards, in one streaming pass."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.diagnostics.calls import (
    Inputs,
    Loss,
    call,
    examples,
    on_device,
    scalar_loss,
)
from lightning_modules.diagnostics.rows import Diagnosis, Gap, Row
from lightning_modules.diagnostics.sites import Site, watched
from lightning_modules.diagnostics.undisturbed import (
    Statistics,
    refuse_one_example,
    undisturbed,
)

Batches = Iterable[tuple[Inputs, Tensor | None]]
"""Pairs of inputs and labels (or None)."""


class Moments:
    """Streaming moments about zero of all values that were added, and the units that were alive.

    Sums are kept in float64 (float32 where the device has none); the values are not kept.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: Tensor | None = None
        self._alive: Tensor | None = None

    def add(self, values: Tensor, axis: int = -1) -> None:
        """Add values whose units stand along `axis`; a scalar per example has one unit.

        Args:
            values: any floating-point tensor; its leading axis holds the examples.
            axis: 1 or -1.
        """
        values = values.detach()
        wide = torch.float32 if values.device.type == "mps" else torch.float64
        flat = values.reshape(-1).to(wide)
        squares = flat.square()
        sums = torch.stack((flat.sum(), squares.sum(), squares.dot(squares)))
        units = values.movedim(axis, -1) if values.dim() > 1 else values.unsqueeze(-1)
        alive = (units != 0).flatten(0, -2).any(0)
        self.count += values.numel()
        self._sums = sums if self._sums is None else self._sums + sums
        same = self._alive is not None and self._alive.shape == alive.shape
        self._alive = self._alive | alive if same and self._alive is not None else alive

    def figures(self) -> dict[str, float]:
        """``mean``, ``second_moment`` E[x^2], ``kurtosis`` E[x^4] / E[x^2]^2 (3 for a Gaussian; NaN
        if all values are 0) and ``dead_units``, the share of units that are exactly 0 on every
        example and place.
        """
        assert self._sums is not None
        assert self._alive is not None
        first, second, fourth = (value / self.count for value in self._sums.tolist())
        return {
            "mean": first,
            "second_moment": second,
            "kurtosis": fourth / second**2 if second**2 > 0.0 else math.nan,
            "dead_units": 1.0 - float(self._alive.double().mean()),
        }


def measure_signals(
    network: nn.Module,
    batches: Batches,
    *,
    statistics: Statistics = "batch",
    loss: Loss | None = None,
    backward: bool = True,
) -> Diagnosis:
    """Measure what flows through a network and back, at every site, in one pass per batch.

    Per site: ``mean``, ``second_moment``, ``kurtosis`` and ``dead_units`` of its output (of a
    ``weight`` site these are pre-activations), see `Moments`; ``gradient_square``, the squared norm
    of the gradient of an example's loss with regard to that output, averaged over examples (of a
    mean loss over n examples the n-fold, so that it does not depend on n): in mean-field networks
    it grows by the factor chi from each layer to the one before, whatever their widths. Per
    parameter: ``gradient_norm``, the Euclidean norm of the gradient of the mean loss over all
    batches, and ``gradient_ratio``, that norm over the parameter's (left out for a parameter that
    is 0). For the network: ``loss`` and ``gradient_norm``.

    Args:
        network: any module, left as it was.
        batches: inputs and labels; batches may differ in size.
        statistics: of normalisation, see `Statistics`; with ``batch`` examples are coupled as in
            training, and every batch has its own.
        loss: see `scalar_loss`.
        backward: whether gradients are measured.

    Raises:
        ValueError: no examples, a batch of one with batch normalisation, or no loss that fits.
    """
    forward: dict[Site, Moments] = {}
    errors: dict[Site, list[Tensor]] = {}
    scale = 1

    def visit(site: Site, output: Tensor) -> None:
        forward.setdefault(site, Moments()).add(output, site.axis)
        if backward and output.requires_grad:

            def arrived(gradient: Tensor) -> None:
                wide = gradient.detach().flatten()
                wide = wide if wide.device.type == "mps" else wide.double()
                errors.setdefault(site, []).append(wide.dot(wide) * scale**2)

            output.register_hook(arrived)  # type: ignore[no-untyped-call]

    names, parameters = _parameters(network)
    totals: list[Tensor | None] = [None] * len(parameters)
    losses, seen = 0.0, 0
    with undisturbed(network, statistics), watched(network, visit) as watch:
        for inputs, labels in batches:
            refuse_one_example(network, inputs)
            inputs = on_device(inputs, network)
            scale = examples(inputs)
            if not backward:
                with torch.no_grad():
                    call(network, inputs)
                seen += scale
                continue
            if labels is not None and parameters:
                labels = labels.to(parameters[0].device)
            value = scalar_loss(call(network, inputs), labels, loss)
            if value.requires_grad and parameters:
                found = torch.autograd.grad(value, parameters, allow_unused=True)
                for index, gradient in enumerate(found):
                    if gradient is not None:
                        weighted = gradient * scale
                        before = totals[index]
                        totals[index] = weighted if before is None else before + weighted
            losses += float(value.detach()) * scale
            seen += scale
        gaps = watch.uncalled()
    if not seen:
        raise ValueError("The batch to measure on holds no examples.")
    rows = [
        Row(site.name, site.kind, site.position, statistic, value)
        for site, moments in sorted(forward.items(), key=lambda item: item[0].position)
        for statistic, value in (moments.figures() | _error(errors.get(site), seen)).items()
    ]
    if backward:
        more = _gradient_rows(names, parameters, totals, seen)
        rows += [*more.rows, Row("", "network", 0, "loss", losses / seen)]
        gaps = (*gaps, *more.gaps)
    return Diagnosis(tuple(rows), gaps)


def _error(parts: list[Tensor] | None, seen: int) -> dict[str, float]:
    if parts is None:
        return {}
    return {"gradient_square": float(torch.stack(parts).sum()) / seen}


def _parameters(network: nn.Module) -> tuple[list[str], list[nn.Parameter]]:
    pairs = [(name, p) for name, p in network.named_parameters() if p.is_floating_point()]
    return [name for name, _ in pairs], [parameter for _, parameter in pairs]


def _gradient_rows(
    names: list[str], parameters: list[Any], totals: list[Tensor | None], seen: int
) -> Diagnosis:
    """Norms of the summed gradients, all taken off the device at once."""
    there = [index for index, total in enumerate(totals) if total is not None]
    gaps = tuple(
        Gap(name, "its gradient", "the loss does not depend on it")
        for name, total in zip(names, totals, strict=True)
        if total is None
    )
    if not there:
        return Diagnosis((), gaps)
    norms = torch._foreach_norm([total for total in totals if total is not None])
    sizes = torch._foreach_norm([parameters[index].detach() for index in there])
    found = torch.stack([norm.double() for norm in norms]) / seen
    ratios = found / torch.stack([size.double() for size in sizes])
    rows = []
    for index, norm, ratio in zip(there, found.tolist(), ratios.tolist(), strict=True):
        rows.append(Row(names[index], "parameter", index, "gradient_norm", norm))
        if math.isfinite(ratio):
            rows.append(Row(names[index], "parameter", index, "gradient_ratio", ratio))
    whole = math.sqrt(float(found.square().sum()))
    rows.append(Row("", "network", 0, "gradient_norm", whole))
    return Diagnosis(tuple(rows), gaps)
