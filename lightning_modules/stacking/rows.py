"""Tensors of several networks side by side: one row per member of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

# A row is a whole number of the widest vector registers (16 float32): no member's numbers are
# computed by another kernel path, because of its place in the stack, than they would be alone.
_ALIGNMENT = 16


class Rows:
    """How tensors of one shape lie in a matrix (members, width) with aligned rows.

    Args:
        shape: shape of one member's tensor.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.size = prod(self.shape)
        self.width = -(-self.size // _ALIGNMENT) * _ALIGNMENT

    def zeros(self, members: int, like: Tensor) -> Tensor:
        """A matrix of zeros for so many members, with dtype and device of a tensor."""
        return torch.zeros(members, self.width, dtype=like.dtype, device=like.device)

    def view(self, matrix: Tensor) -> Tensor:
        """The tensors in a matrix: a view (members, *shape)."""
        used = matrix if self.width == self.size else matrix[:, : self.size]
        return used.view(len(matrix), *self.shape)
