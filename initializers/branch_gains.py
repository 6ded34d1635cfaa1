"""The factor gamma of every layer of a residual network (Arpit, Campos and Bengio 2019).

A layer's weights get the variance ``gamma / fan``. With B blocks in a stage every block then adds
``1 / B`` of the squared norm of its input, so that a stage multiplies it by ``(1 + 1/B)^B``, which
lies between 2 and e.

======================================================  =========================
layer                                                   gamma
======================================================  =========================
last layer of a branch                                  1 / B, B blocks per stage
layer of a shortcut                                     1
other layer whose output goes through a rectifier       2
other layer (a stem followed by a sum, for instance)    1
======================================================  =========================

The paper has branches of two layers; that all but the last layer of a longer branch follow the
table's last two rows is our reading. The rule ``hanin``, the paper's stage-wise baseline (after
Hanin and Rolnick 2018), gives ``(0.9^b)^2`` to the end of the b-th block of a stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from initializers.context import LayerContext
from initializers.job import Job
from initializers.topology import RECTIFIERS, Topology, layer_name, trace
from initializers.validate import suggestion

RULES: tuple[str, ...] = ("proposed", "hanin")
HANIN_DECAY = 0.9
_INSTEAD = "name the last layers of the branches yourself, as in ends='stage1.*.conv2'"


@dataclass(frozen=True)
class Role:
    """What a layer is in the network.

    Attributes:
        gamma: Factor of its weight variance.
        text: The same in words.
        output: Whether it is the output layer.
    """

    gamma: float = 2.0
    text: str = "gamma 2"
    output: bool = False


def assign_roles(owner: str, job: Job, rule: str, ends: str | None, linear: str | None) -> None:
    """Work out the role of every layer and leave it in the layer's context, with a note.

    Args:
        owner: Who asks, for the messages.
        job: The call.
        rule: One of ``RULES``.
        ends: None to work out the blocks from the forward pass (``initializers.topology``).
            Otherwise the last layers of all branches: patterns of layer names (``*`` and ``?``)
            separated by blanks, **one pattern per stage**.
        linear: With ``ends``: patterns of the layers with gamma 1 (shortcuts, a stem without
            rectifier), separated by blanks.

    Raises:
        ValueError: If the blocks cannot be worked out, a pattern matches no layer, or a layer is
            matched twice or has two roles.
    """
    names = tuple(dict.fromkeys(layer_name(layer.weight.name) for layer in job.layers))
    if ends is None:
        weights = [layer.weight for layer in job.layers]
        gammas = _traced(owner, trace(owner, job.module, weights, _INSTEAD), names, rule)
    else:
        gammas = _named(owner, names, rule, ends.split(), (linear or "").split())
    for layer in job.layers:
        gamma, text, in_block = gammas[layer_name(layer.weight.name)]
        output = layer.context.is_last and not in_block
        layer.context.facts["role"] = Role(gamma, text, output)


def role_of(context: LayerContext) -> Role:
    """Return the role that ``assign_roles`` found; that of a plain ReLU layer for a bare tensor."""
    role = context.facts.get("role", Role())
    assert isinstance(role, Role)
    return role


_Gamma = tuple[float, str, bool]  # gamma, text, whether it is in a block


def _traced(owner: str, topology: Topology, names: Iterable[str], rule: str) -> dict[str, _Gamma]:
    found: dict[str, _Gamma] = {}

    def give(name: str, gamma: _Gamma) -> None:
        if found.setdefault(name, gamma) != gamma:
            raise ValueError(
                f"{owner}: {name} is used in several places ({found[name][1]}; {gamma[1]}), which "
                f"ask for different weights; {_INSTEAD}."
            )

    for block in topology.blocks:
        count = topology.blocks_in(block.stage)
        give(block.branch[-1], _end(rule, block.stage, block.number, count))
        for name in block.branch[:-1]:
            give(name, _inner(topology, name, in_block=True))
        for name in block.shortcut:
            give(name, (1.0, "gamma 1 (shortcut)", True))
    for name in names:
        if name not in found:
            give(name, _inner(topology, name, in_block=False))
    return found


def _inner(topology: Topology, name: str, *, in_block: bool) -> _Gamma:
    rectified = topology.activation.get(name, "") in RECTIFIERS
    return (2.0, "gamma 2", in_block) if rectified else (1.0, "gamma 1 (no rectifier)", in_block)


def _end(rule: str, stage: int, number: int, count: int) -> _Gamma:
    gamma = 1.0 / count if rule == "proposed" else HANIN_DECAY ** (2 * number)
    text = f"gamma {gamma:.4g} (end of block {number} of {count} in stage {stage})"
    return gamma, text, True


def _named(
    owner: str, names: tuple[str, ...], rule: str, ends: list[str], linear: list[str]
) -> dict[str, _Gamma]:
    found: dict[str, _Gamma] = {}
    patterns: dict[str, str] = {}

    def matches(pattern: str) -> list[str]:
        hits = [name for name in names if fnmatchcase(name, pattern)]
        if not hits:
            raise ValueError(
                f"{owner}: pattern {pattern!r} matches no layer{suggestion(pattern, names)}; the "
                f"layers are {', '.join(names)}."
            )
        for name in hits:
            if name in patterns:
                raise ValueError(
                    f"{owner}: {name} is matched by {patterns[name]!r} and by {pattern!r}; give "
                    "each layer one role."
                )
            patterns[name] = pattern
        return hits

    for stage, pattern in enumerate(ends, start=1):
        hits = matches(pattern)
        for number, name in enumerate(hits, start=1):
            found[name] = _end(rule, stage, number, len(hits))
    for pattern in linear:
        found.update(dict.fromkeys(matches(pattern), (1.0, "gamma 1 (linear)", True)))
    return {name: found.get(name, (2.0, "gamma 2", False)) for name in names}
