"""What initialisers do to a network, without training: records, sampled weights, text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from initializers.base import Initializer
from initializers.batch import Batch
from initializers.figures import Panel
from initializers.layers import plan_module
from initializers.record import InitRecord, Skipped
from initializers.seeding import Streams
from initializers.texttable import text_table, wrapped

EXAMPLES = 64
"""Examples of the synthetic batch."""
_MOST_VALUES = 2**17  # of a weight that are kept for its histogram


@dataclass(frozen=True, eq=False)
class Shown:
    """One initialiser on the network.

    Attributes:
        label: The initialiser as it was asked for.
        record: What it did.
        samples: Values of each weight in the order of the record; of a large weight a random
            sample.
    """

    label: str
    record: InitRecord
    samples: tuple[Tensor, ...]


def synthetic_batch(input_shape: tuple[int, ...], num_classes: int, seed: int) -> Batch:
    """Return ``EXAMPLES`` standard normal inputs and labels that are uniform over the classes.

    Args:
        input_shape: Shape of one example.
        num_classes: Number of classes.
        seed: The same seed gives the same batch.
    """
    generator = Streams.of("show", seed).generator("synthetic batch")
    inputs = torch.randn(EXAMPLES, *input_shape, generator=generator)
    return inputs, torch.randint(num_classes, (EXAMPLES,), generator=generator)


def show(
    module: nn.Module, initializers: Sequence[tuple[str, Initializer]], batch: Batch, seed: int
) -> list[Shown]:
    """Let each initialiser act on the module, one after the other.

    Args:
        module: The network; it keeps what the last one set.
        initializers: Pairs of a label and an initialiser.
        batch: Data for those that need them.
        seed: Seed of all of them.

    Raises:
        ValueError: If one of them cannot handle the module; the message begins with its label
            where there are several.
    """
    found = []
    for label, initializer in initializers:
        try:
            record = initializer(module, seed=seed, batch=batch)
        except ValueError as error:
            if len(initializers) == 1:
                raise
            raise ValueError(f"{label}: {error}") from error
        weights = {weight.name: weight for weight in plan_module(module, label).weights}
        samples = tuple(_sample(weights[layer.name].read()) for layer in record.layers)
        found.append(Shown(label, record, samples))
    return found


def panels(shown: Sequence[Shown]) -> list[Panel]:
    """Return one panel per layer, with a histogram of every initialiser."""
    names = [layer.name for layer in shown[0].record.layers]
    return [
        Panel(name, tuple(one.samples[number] for one in shown))
        for number, name in enumerate(names)
    ]


def needs_data(initializers: Sequence[tuple[str, Initializer]]) -> list[str]:
    """Return the labels of those that look at the batch."""
    return [label for label, one in initializers if "data" in one.requirements()]


def record_text(record: InitRecord, width: int) -> str:
    """Return a record as text: a row per weight, what else was set, what was skipped and why.

    Args:
        record: What an initialiser did.
        width: Columns of the terminal.
    """
    rows = record.rows()
    if not any(layer.note for layer in record.layers):
        rows = [row[:-1] for row in rows]
    lines = [text_table(rows, width)] if record.layers else []
    return "\n".join([*lines, *_others(record, width)])


def comparison_text(shown: Sequence[Shown], width: int) -> str:
    """Return several records side by side: per weight the std and the zeros of each.

    Args:
        shown: The initialisers, all on the same network.
        width: Columns of the terminal.
    """
    letters = [chr(ord("A") + number) for number in range(len(shown))]
    legend = [f"{letter}  {one.label}" for letter, one in zip(letters, shown, strict=True)]
    names = [layer.name for layer in shown[0].record.layers]
    columns = [_column(letter, one.record) for letter, one in zip(letters, shown, strict=True)]
    room = width - max(map(len, names), default=0)
    step = max(1, room // (len(columns[0][0]) + 2))
    tables = [
        text_table(list(zip(["layer", *names], *columns[start : start + step], strict=True)))
        for start in range(0, len(columns), step)
    ]
    notes = []
    for letter, one in zip(letters, shown, strict=True):
        notes += [f"{letter}: {line}" for line in _others(one.record, width - 3)]
    return "\n".join([*legend, "", "\n\n".join(tables), *notes])


def to_plain(shown: Sequence[Shown], facts: dict[str, Any]) -> dict[str, Any]:
    """Return all of it as plain data, fit for JSON."""
    return {**facts, "records": [one.record.to_dict() for one in shown]}


def _column(letter: str, record: InitRecord) -> list[str]:
    """Return one initialiser's cells of a comparison, the head first."""
    head = f"{letter}: std".ljust(9) + "zeros".rjust(6)
    return [head, *(f"{one.std:<9.3g}{one.zero_fraction:>6.1%}" for one in record.layers)]


def _others(record: InitRecord, width: int) -> list[str]:
    """Return lines about everything of a network that is no weight."""
    counts = [f"{len(record.biases)} biases"] if record.biases else []
    counts += [f"{len(record.norms)} parameters of norm layers"] if record.norms else []
    lines = [f"also set: {' and '.join(counts)}"] if counts else []
    reasons: dict[str, list[Skipped]] = {}
    for skip in record.skipped:
        reasons.setdefault(skip.reason, []).append(skip)
    for reason, skips in reasons.items():
        names = ", ".join(skip.name for skip in skips)
        lines += wrapped(f"skipped ({reason}): {names}", width)
    return lines


def _sample(weight: Tensor) -> Tensor:
    flat = weight.detach().flatten().cpu()
    if flat.numel() <= _MOST_VALUES:
        return flat.clone()
    # places at random: evenly spaced ones could all lie in one column of the matrix
    generator = torch.Generator().manual_seed(0)
    return flat[torch.randint(flat.numel(), (_MOST_VALUES,), generator=generator)]
