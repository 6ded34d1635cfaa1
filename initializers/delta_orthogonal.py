"""Delta-orthogonal initialisation of convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from initializers import validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.gains import check_gain, gain_value
from initializers.orthogonal import Orthogonal


@dataclass(frozen=True)
class DeltaOrthogonal(Initializer):
    """Kernels that are 0 except for the centre tap, an orthogonal matrix (Xiao et al. 2018).

    The matrix (C_out, C_in) of the centre tap has orthonormal columns, times ``scale * gain``: a
    convolution of stride 1 with circular padding then multiplies the norm of every input by just
    that. The groups of a convolution are filled one by one. A kernel of even size k has no centre;
    tap k // 2 is taken. Layers that are no convolutions get ``Orthogonal``.

    Formula:
        W[:, :, tap] = scale * gain * Q * [tap is the centre],  Q^T Q = I

    Args:
        scale: Multiplier, in (0, inf).
        gain: Positive number or the name of a nonlinearity (see ``gain_value``).
        convention: ``torch`` or ``moment`` gains.
        contracting: A convolution with more input than output channels cannot preserve norms:
            ``refuse`` it, or take orthonormal ``rows``.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range; when called, if a convolution has more input
            than output channels and ``contracting`` is ``refuse``.
    """

    scale: float = 1.0
    gain: float | str = "linear"
    convention: str = "torch"
    contracting: str = "refuse"

    family: ClassVar[str] = "isometry"
    citation: ClassVar[str] = (
        "Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, Dynamical Isometry and a Mean "
        "Field Theory of CNNs"
    )

    def __post_init__(self) -> None:
        validate.number(self, "scale", "(0, inf)")
        validate.choice(self, "contracting", ("refuse", "rows"))
        check_gain(self)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw the weight; see ``Initializer.fill``.

        Raises:
            ValueError: If it is a kernel with too many input channels.
        """
        if not _is_kernel(context):
            self._matrix().fill(weight, context)
            return
        rows, columns = _tap(context)
        if columns > rows and self.contracting == "refuse":
            raise ValueError(
                f"DeltaOrthogonal: {context.name} has more input than output channels ({columns} "
                f"to {rows} per group), so that no centre tap preserves norms; "
                "contracting='rows' takes orthonormal rows instead."
            )
        sizes = context.shape[2:]
        if any(size % 2 == 0 for size in sizes):
            context.note(f"kernel {'x'.join(map(str, sizes))} has no centre: tap k // 2")
        tap = weight.new_empty(context.shape[:2])
        self._matrix().fill(tap, replace(context, shape=context.shape[:2]))
        weight.zero_()
        centre = weight
        for axis, size in enumerate(sizes, start=2):
            centre = centre.narrow(axis, size // 2, 1)
        centre.copy_(tap.view(centre.shape))

    def nominal_std(self, context: LayerContext) -> float:
        """Return the root mean square over the whole kernel, met exactly."""
        fan, gain = self.reference(context)
        return self.scale * gain / math.sqrt(fan)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the longer side of the centre tap's matrix times the taps, and the gain."""
        if not _is_kernel(context):
            return self._matrix().reference(context)
        gain = gain_value(self.gain, self.convention)
        return float(max(_tap(context)) * math.prod(context.shape[2:])), gain

    def _matrix(self) -> Orthogonal:
        return Orthogonal(self.scale, self.gain, self.convention)


def _is_kernel(context: LayerContext) -> bool:
    return context.kind.startswith("conv")


def _tap(context: LayerContext) -> tuple[int, int]:
    """Return rows and columns of the centre tap of one group."""
    return context.rows // context.groups, context.shape[1]
