"""Which layers of a network a looks-linear initialisation mirrors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from initializers.job import Job, Layer
from initializers.topology import layer_name, trace

#: activations with phi(z) - phi(-z) = z
MIRRORING = frozenset(("relu", "gelu", "silu"))
_INSTEAD = "if its weights form a chain with ReLU between them, give order='registered'"
_KINDS = ("linear", "conv", "conv_transpose")


@dataclass(frozen=True)
class Links:
    """How one weight is connected to its neighbours.

    Attributes:
        inputs: Units (channels) of the signal that it takes.
        row_blocks: Mirrored blocks of its units, 0 if they are not mirrored.
        column_blocks: Mirrored blocks of its inputs, 0 if they are not mirrored.
    """

    inputs: int
    row_blocks: int = 0
    column_blocks: int = 0


def find_links(job: Job, *, traced: bool) -> list[Links]:
    """Return the links of every weight.

    Args:
        job: The call.
        traced: Whether to work out by tracing what follows what; otherwise the weights form a
            chain in order of registration.

    Raises:
        ValueError: If the network cannot be traced or has residual blocks, a layer is no linear
            layer or convolution, or does not fit the layer before it.
    """
    for layer in job.layers:
        if layer.context.kind not in _KINDS:
            raise ValueError(
                f"LooksLinear: {layer.context.name} belongs to a layer of kind "
                f"{layer.context.kind}, for which there is no mirrored form."
            )
    links = _traced_pairs(job) if traced else _registered_pairs(job)
    users: dict[int, list[int]] = {}
    for number, before in enumerate(links):
        if before is not None:
            users.setdefault(before, []).append(number)
    blocks = [_row_blocks(job.layers, number, users) for number in range(len(links))]
    return [
        _link(layer, job.layers[before] if before is not None else None, blocks, number, before)
        for number, (layer, before) in enumerate(zip(job.layers, links, strict=True))
    ]


def _registered_pairs(job: Job) -> list[int | None]:
    return [None, *range(len(job.layers) - 1)]


def _traced_pairs(job: Job) -> list[int | None]:
    """Return for each weight the one whose mirrored units it takes, or None."""
    topology = trace("LooksLinear", job.module, [layer.weight for layer in job.layers], _INSTEAD)
    if topology.blocks:
        raise ValueError(
            f"LooksLinear: {topology.blocks[0].branch[-1]} ends a residual block, for which the "
            "method is not defined; use a network without shortcuts."
        )
    names = [layer_name(layer.weight.name) for layer in job.layers]
    number = {name: position for position, name in enumerate(names)}
    pairs: list[int | None] = []
    for name in names:
        source = topology.source.get(name, "")  # a layer that is never reached stands alone
        if source is None:
            raise ValueError(
                f"LooksLinear: {name} joins several signals or is used more than once, for which "
                "the method is not defined; use a network whose layers form a chain."
            )
        mirrored = source != "" and topology.activation[source] in MIRRORING
        pairs.append(number[source] if mirrored else None)
    return pairs


def _row_blocks(layers: Sequence[Layer], number: int, users: dict[int, list[int]]) -> int:
    """Return the blocks in which a layer's units are mirrored: a multiple of all groups."""
    if number not in users:
        return 0
    groups = [layers[number].context.groups]
    groups += [layers[user].context.groups for user in users[number]]
    return math.lcm(*groups)


def _link(
    layer: Layer, before: Layer | None, blocks: list[int], number: int, source: int | None
) -> Links:
    context = layer.context
    inputs = context.shape[1] * context.groups
    if before is None or source is None:
        return Links(inputs, blocks[number], 0)
    units = before.context.rows
    fits = inputs % units == 0 if context.kind == "linear" else inputs == units
    if not fits:
        raise ValueError(
            f"LooksLinear: {context.name} takes {inputs} inputs, which do not fit the {units} "
            f"units of {before.context.name}, the layer before it."
        )
    return Links(units, blocks[number], blocks[source])
