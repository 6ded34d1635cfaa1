"""Deterministic weights: partial identities at a kernel's centre, and Hadamard matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initializers import validate
from initializers.base import Initializer
from initializers.context import LayerContext

BRANCH_ENDS: tuple[str, ...] = ("zero", "same")


@dataclass(frozen=True)
class Dirac(Initializer):
    """Pass the input on: 1 from input i to unit i, 0 elsewhere (``torch.nn.init.dirac_``).

    A kernel has its 1 at the centre tap (size // 2), so that a convolution with equal numbers of
    channels, odd kernel and padding is the identity. Groups are done one by one. Unlike torch's,
    it sets linear and embedding weights, too: they become partial identities.

    Formula:
        W[i, j, tap] = [i = j] * [tap is the centre]

    Args:
        scale: The value in place of 1, in (0, inf).

    Raises:
        TypeError: If scale is no number.
        ValueError: If it is outside its range.
    """

    scale: float = 1.0

    stochastic: ClassVar[bool] = False
    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "structural"
    citation: ClassVar[str] = "Zagoruyko, Komodakis 2017, DiracNets"

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Set the weight; see ``Initializer.fill``."""
        for matrix in centre_taps(weight, context.groups):
            matrix.fill_diagonal_(self.scale)

    def nominal_std(self, context: LayerContext) -> float:
        """Return the root mean square, met exactly."""
        rows = context.rows // context.groups
        ones = context.groups * min(rows, context.shape[1])
        return self.scale * math.sqrt(ones / (context.rows * context.columns))


@dataclass(frozen=True)
class ZerO(Initializer):
    """Zeros and ones up to a factor: identities and Hadamard matrices (Zhao et al. 2021).

    A weight of m units and n inputs (per group) with m <= n is a partial identity. With m > n it
    holds the first m rows and n columns of the Hadamard matrix of size p = 2^k, k = ceil(log2 m),
    over 2^(k / 2). A kernel is zero outside of its centre tap. The singular values are 1 if m <= n
    or m is a power of two, else in (0.7, 1]. That is the factor of the authors' code; the paper's
    formula is said to be sqrt(2) larger.

    Formula:
        W = I (m <= n), else H_p[:m, :n] / 2^(k/2) with p = 2^k, k = ceil(log2 m)

    Args:
        branch_ends: The last weight of each residual branch (see ``residual_branches``): ``zero``,
            as is said of the paper, or the ``same`` rule.

    Raises:
        ValueError: If branch_ends is neither.
    """

    branch_ends: str = "zero"

    stochastic: ClassVar[bool] = False
    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "structural"
    citation: ClassVar[str] = "Zhao et al. 2021, ZerO initialization"

    def __post_init__(self) -> None:
        validate.choice(self, "branch_ends", BRANCH_ENDS)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Set the weight; see ``Initializer.fill``."""
        if self._is_zero(context):
            weight.zero_()
            context.note("end of a residual branch set to 0")
            return
        for matrix in centre_taps(weight, context.groups):
            rows, columns = matrix.shape
            if rows <= columns:
                matrix.fill_diagonal_(1.0)
            else:
                matrix.copy_(hadamard(rows, columns, matrix.dtype).div_(_hadamard_norm(rows)))

    def nominal_std(self, context: LayerContext) -> float:
        """Return the root mean square, met exactly."""
        if self._is_zero(context):
            return 0.0
        rows, columns = context.rows // context.groups, context.shape[1]
        squares = rows if rows <= columns else rows * columns / _hadamard_norm(rows) ** 2
        return math.sqrt(squares / (rows * context.columns))

    def _is_zero(self, context: LayerContext) -> bool:
        return context.ends_branch and self.branch_ends == "zero"


def centre_taps(weight: Tensor, groups: int) -> list[Tensor]:
    """Set a weight to 0 and return views (units, inputs) of the centre taps of its groups.

    Args:
        weight: (units, inputs, taps...), with any number of axes of taps.
        groups: Number of groups, a divisor of the units.
    """
    weight.zero_()
    centre = weight
    for size in reversed(weight.shape[2:]):
        centre = centre[..., size // 2]
    return list(centre.chunk(groups))


def hadamard(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Return the upper left part (rows, columns) of a large enough Hadamard matrix (Sylvester's).

    Entry (i, j) is -1 to the number of ones that i and j have in common in binary. No larger
    matrix is built.
    """
    common = torch.arange(rows).unsqueeze(1) & torch.arange(columns)
    for shift in (32, 16, 8, 4, 2, 1):  # the parity of the ones gathers in the lowest bit
        common ^= common >> shift
    return (1 - 2 * (common & 1)).to(dtype)


def _hadamard_norm(rows: int) -> float:
    """Return the norm of a row of the Hadamard matrix with at least so many rows."""
    return math.sqrt(2.0 ** (rows - 1).bit_length())
