"""Weight normalisation as torch does it: a weight ``g * v / |v|`` in the place of a parameter.

``torch.nn.utils.parametrizations.weight_norm`` keeps the magnitude g as ``original0`` and the
direction v as ``original1`` (Salimans and Kingma 2016).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

_ORIGINAL = re.compile(r"(^|\.)parametrizations\.(\w+)\.original\d*$")


@dataclass(frozen=True, eq=False)
class WeightNormed:
    """The two parameters behind a weight-normalised weight.

    Attributes:
        magnitude: g, one number per slice of v along ``dim`` (one in all if ``dim`` is -1).
        direction: v, in the layout of the weight.
        dim: The axis whose slices have norms of their own; -1 for one norm over everything.
        rule: torch's module that computes the weight.
    """

    magnitude: Tensor
    direction: Tensor
    dim: int
    rule: nn.Module

    def effective(self) -> Tensor:
        """Return ``g * v / |v|``, as the layer computes it."""
        weight: Tensor = self.rule(self.magnitude, self.direction)
        return weight

    def adopt(self) -> None:
        """Make v the weight by setting g to its norms.

        An empty slice gets g = 0, and a unit vector as v, the i-th slice the i-th one: with v = 0
        the weight would be 0 / 0.
        """
        norms = self._norms()
        for number in (norms.view(-1) == 0).nonzero().view(-1).tolist():
            one = self._slices()[number]
            place = torch.unravel_index(torch.tensor(number % one.numel()), one.shape)
            one[place] = 1.0
        self.magnitude.copy_(norms.view_as(self.magnitude))

    def make_directions_units(self) -> None:
        """Divide v by its norms: the weight stays as it is, to rounding."""
        slices = self._slices()
        slices.div_(self._norms().view(-1, *[1] * (slices.ndim - 1)))

    def _slices(self) -> Tensor:
        """Return a view of v whose first axis counts the norms."""
        if self.dim == -1:
            return self.direction.unsqueeze(0)
        return self.direction.movedim(self.dim, 0)

    def _norms(self) -> Tensor:
        precise = torch.promote_types(self.direction.dtype, torch.float32)
        norms: Tensor = torch.linalg.vector_norm(self._slices().flatten(1), dim=1, dtype=precise)
        return norms


def weight_norms(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module, WeightNormed]]:
    """Find what ``torch.nn.utils.parametrizations.weight_norm`` did to the layers of a module.

    Weights with a second re-parametrisation on top, and tensors that are called otherwise than
    ``weight``, are left out.

    Yields:
        The container of g and v, the layer's qualified name, the layer, and g and v.
    """
    for name, layer in module.named_modules():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        container = layer.get_submodule("parametrizations.weight")
        rules = list(container.children())
        if len(rules) == 1 and isinstance(rules[0], parametrizations._WeightNorm):
            magnitude = container.get_parameter("original0").detach()
            direction = container.get_parameter("original1").detach()
            dim = rules[0].dim if rules[0].dim >= -1 else rules[0].dim + direction.ndim
            yield container, name, layer, WeightNormed(magnitude, direction, dim, rules[0])


def plain_name(name: str) -> str:
    """Return the name that a re-parametrised parameter has for the layer.

    >>> plain_name("fc1.parametrizations.weight.original0"), plain_name("fc1.bias")
    ('fc1.weight', 'fc1.bias')
    """
    return _ORIGINAL.sub(r"\1\2", name)
