"""Weights themselves: their zeros and tails, and how far training has carried them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from initializers.layers import plan_module
from initializers.record import measure
from initializers.strength import strength_variance
from lightning_modules.diagnostics.rows import Diagnosis, Gap, Row


def measure_weights(network: nn.Module) -> Diagnosis:
    """Measure every weight matrix and kernel of a network.

    Per weight: ``weight_second_moment`` E[w^2], ``weight_kurtosis`` E[w^4] / E[w^2]^2 (left out if
    all are 0), ``zero_weights`` (share of weights that are exactly 0) and ``empty_rows`` (share of
    units without any non-zero weight: a ReLU unit of this kind with bias 0 is dead for ever).

    Args:
        network: any module; parameters that belong to no known layer are named as gaps.
    """
    plan = plan_module(network, "Diagnostics")
    rows = []
    for position, weight in enumerate(plan.weights):
        values = weight.read().detach().cpu()
        found = measure(values)
        figures = {
            "weight_second_moment": found.std**2,
            "zero_weights": found.zeros / values.numel(),
            "empty_rows": found.empty_rows / len(values),
        }
        if found.kurtosis is not None:
            figures["weight_kurtosis"] = found.kurtosis
        rows += [
            Row(weight.name, "parameter", position, name, number)
            for name, number in figures.items()
        ]
    gaps = tuple(Gap(skip.name, "its weights", skip.reason) for skip in plan.skipped)
    return Diagnosis(tuple(rows), gaps)


def measure_strengths(network: nn.Module) -> Diagnosis:
    """Measure how unequal the strengths of a network's inputs and outputs are.

    A strength is the signed sum of the weights of an input or of an output. Per weight:
    ``strength_ratio``, their variances over those that independent weights of mean 0 with this
    second moment have, mean of inputs and outputs: about 1 for independent draws. Left out if all
    weights are 0.

    Args:
        network: any module.
    """
    rows = []
    for position, weight in enumerate(plan_module(network, "Diagnostics").weights):
        values = weight.read().detach()
        second_moment = float(values.double().square().mean())
        if second_moment > 0.0:
            variance = strength_variance(values, weight.groups)
            inputs = variance.inputs / (len(values) // weight.groups)
            outputs = variance.outputs / (values.numel() // len(values))
            ratio = (inputs + outputs) / (2.0 * second_moment)
            rows.append(Row(weight.name, "parameter", position, "strength_ratio", ratio))
    return Diagnosis(tuple(rows))


class Start:
    """Remembers a network's parameters, to tell later how they have moved.

    Args:
        network: any module; a copy of its floating-point parameters is kept.

    Attributes:
        values: the copy, by name.
    """

    def __init__(self, network: nn.Module) -> None:
        self.values: Mapping[str, Tensor] = {
            name: parameter.detach().clone()
            for name, parameter in network.named_parameters()
            if parameter.is_floating_point()
        }

    @classmethod
    def of(cls, values: Mapping[str, Tensor]) -> Start:
        """The start whose parameters have these values."""
        start = cls(nn.Identity())
        start.values = values
        return start

    @torch.no_grad()
    def measure(self, network: nn.Module) -> Diagnosis:
        """Compare a network's parameters with those at the start.

        Per parameter: ``distance`` (norm of the difference over the norm at the start; left out if
        it started at 0), ``sign_changes`` (share of the weights that were not 0 and now have the
        other sign; one that became 0 has not changed its sign) and ``revived_zeros`` (share of the
        weights that were 0 and no longer are); the last two are left out where there are none to
        count. For the network: ``distance``, over all parameters together.

        Args:
            network: the same network, or one of its kind, on any device.
        """
        rows, gaps = [], []
        moved = began = 0.0
        current = dict(network.named_parameters())
        for position, (name, start) in enumerate(self.values.items()):
            if name not in current or current[name].shape != start.shape:
                gaps.append(Gap(name, "its change", "it is not there any more"))
                continue
            now = current[name].detach().to(start.device)
            difference = float((now - start).double().square().sum())
            origin = float(start.double().square().sum())
            moved, began = moved + difference, began + origin
            figures = {"distance": (difference / origin) ** 0.5} if origin > 0.0 else {}
            zeros = start == 0
            count = int(zeros.sum())
            if count < start.numel():
                flipped = int((now.sign() * start.sign() < 0).sum())
                figures["sign_changes"] = flipped / (start.numel() - count)
            if count:
                figures["revived_zeros"] = int((zeros & (now != 0)).sum()) / count
            rows += [Row(name, "parameter", position, key, value) for key, value in figures.items()]
        if began > 0.0:
            rows.append(Row("", "network", 0, "distance", (moved / began) ** 0.5))
        return Diagnosis(tuple(rows), tuple(gaps))
