"""What an initialiser is told about the weight that it fills."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from initializers.fans import Fans
from initializers.seeding import Streams


@dataclass(frozen=True, eq=False)
class LayerContext:
    """One weight, seen as ``(output units, inputs of a unit...)``.

    Attributes:
        name: Qualified name of the parameter, e.g. ``"layers.0.weight"``; the query, key and value
            parts of a packed attention projection carry ``[query]`` and so on.
        shape: Shape of the tensor that ``fill`` receives: the first axis counts output units
            (tokens of an embedding), the others the inputs of one unit within its group.
        fans: Fan-in and fan-out, from ``fans(module)``.
        generator: CPU generator of this parameter alone.
        kind: ``linear``, ``bilinear``, ``conv``, ``conv_transpose``, ``embedding`` or
            ``attention``.
        groups: Groups of a convolution; unit ``i`` belongs to group ``i // (units / groups)``.
        depthwise: Whether every group has a single input channel (and there are several groups).
        is_last: Whether this is the network's last weight in order of registration, which is
            taken for the output layer.
        is_first: Whether it is the first one.
        ends_branch: Whether it is the last weight of a residual branch (see
            ``initializers.branches``).
        module: The layer, or None for a bare tensor.
        notes: What the record shall say about this layer; see ``note``.
        facts: What a method that looks at the whole module found out about this layer, under
            names of its own; written in its ``check``, read in ``fill`` and ``nominal_std``.
    """

    name: str
    shape: tuple[int, ...]
    fans: Fans
    generator: torch.Generator
    kind: str = "linear"
    groups: int = 1
    depthwise: bool = False
    is_last: bool = False
    is_first: bool = False
    ends_branch: bool = False
    module: nn.Module | None = None
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def fan_in(self) -> float:
        """Number of weighted inputs summed into one output value."""
        return self.fans.fan_in

    @property
    def fan_out(self) -> float:
        """Number of output values that one input value feeds."""
        return self.fans.fan_out

    @property
    def rows(self) -> int:
        """Number of output units."""
        return self.shape[0]

    @property
    def columns(self) -> int:
        """Number of weights of one output unit."""
        return math.prod(self.shape[1:])

    def note(self, text: str) -> None:
        """Add a remark to the record of this layer, once."""
        if text not in self.notes:
            self.notes.append(text)

    def stream(self, label: str) -> torch.Generator:
        """Return a fresh generator of another random stream of this parameter.

        It depends on the seed, the parameter's name and ``label``, not on what was drawn from
        ``generator``. A bare tensor has no name: there, one number is drawn from ``generator``.

        Args:
            label: Who draws and what for.
        """
        if self.module is None:
            return Streams.of(label, generator=self.generator).generator(label)
        return Streams(self.generator.initial_seed()).generator(label)
