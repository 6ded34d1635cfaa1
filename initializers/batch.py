"""The batch of data that an initialiser may be given: inputs, or inputs and labels."""

from __future__ import annotations

from collections.abc import Set

from torch import Tensor

Batch = Tensor | tuple[Tensor, Tensor] | list[Tensor]
"""Inputs (n, ...), or a pair of inputs and labels: (n,) int64 classes."""


def split_batch(owner: str, batch: object) -> tuple[Tensor | None, Tensor | None]:
    """Return inputs and labels of a batch, None for what it does not hold.

    Args:
        owner: Who asks, for the messages.
        batch: See ``Batch``; None holds nothing.

    Raises:
        TypeError: If it is something else.
        ValueError: If the batch is empty, or inputs and labels differ in number.
    """
    if batch is None:
        return None, None
    parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    pair = len(parts) == (1 if isinstance(batch, Tensor) else 2)
    if not pair or len(tensors) < len(parts):
        got = type(batch).__name__
        raise TypeError(
            f"{owner}: batch must be a tensor of inputs or a pair (inputs, labels), got {got}."
        )
    inputs, labels = tensors[0], tensors[1] if len(tensors) == 2 else None
    if inputs.dim() == 0 or len(inputs) == 0:
        raise ValueError(f"{owner}: batch holds no examples, its shape is {tuple(inputs.shape)}.")
    if labels is not None and (labels.dim() == 0 or len(labels) != len(inputs)):
        raise ValueError(
            f"{owner}: batch holds {len(inputs)} inputs but labels of shape {tuple(labels.shape)}."
        )
    return inputs, labels


def require(owner: str, needs: Set[str], inputs: Tensor | None, labels: Tensor | None) -> None:
    """Refuse a call without the data that the method needs.

    Args:
        owner: Who asks, for the messages.
        needs: See ``Initializer.requirements``.
        inputs: The inputs that were given, if any.
        labels: The labels that were given, if any.

    Raises:
        ValueError: If inputs or labels are needed and missing.
    """
    if "labels" in needs and labels is None:
        missing, spelling = "labelled data", "batch=(inputs, labels)"
    elif "data" in needs and inputs is None:
        missing, spelling = "data", "batch=inputs"
    else:
        return
    raise ValueError(
        f"{owner} needs {missing}: call it with {spelling}, for instance the first training batch."
    )
