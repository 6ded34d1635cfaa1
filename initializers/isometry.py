"""Looks-linear initialisation: ReLU networks that are exactly linear when training starts.

Burkholz and Dubatovka 2019 ("Initialization of ReLUs for Dynamical Isometry") share parameters in
a 2x2 block structure, which they call Gaussian submatrix; Balduzzi et al. 2017 call it
looks-linear. The block form follows them; first and last layer, variances, convolutions and
groups are derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.classical import LeCunNormal
from initializers.context import LayerContext
from initializers.fans import Fans
from initializers.job import Job
from initializers.lookup import get_initializer
from initializers.mirrored import Halves, write_mirrored
from initializers.mirrored_chain import Links, find_links
from initializers.orthogonal import Orthogonal
from initializers.ternary import Ternary
from initializers.variance_scaling import VarianceScaling

ORDERS: tuple[str, ...] = ("traced", "registered")


@dataclass(frozen=True)
class LooksLinear(Initializer):
    """Mirrored weights, so that the network is linear at initialisation.

    With a submatrix U drawn by ``base`` in each layer the weights are::

        first  [ U ]      hidden  [  U  -U ]      last  [ U  -U ]
               [-U ]              [ -U   U ]

    Because ``relu(z) - relu(-z) = z``, half of the units of a layer carry the positive and the
    other half the negative part of z, and the network computes ``U_L ... U_1 x``. The same holds
    for GELU and SiLU. ``base`` is told the fans of U, half of the layer's: a gain of 1 preserves
    the variance, because no half of the energy is lost; not the root of 2. Convolutions have the
    structure over channels, grouped ones per group. Max-pooling and dropout break exact linearity.

    A layer's units are mirrored where a rectifier of that kind follows, its inputs where the
    layer before it has mirrored units; other layers get U itself. Both are worked out by tracing
    the forward pass. The method is not defined for residual blocks.

    Formula:
        W = [[U, -U], [-U, U]];  first [U; -U],  last [U, -U]

    Args:
        base: Draws U, weight by weight; with a gain of 1. ``Orthogonal()`` preserves norms and
            angles (dynamical isometry), ``DeltaOrthogonal()`` does so for convolutions.
        odd: What becomes of the last unit of an odd width: ``he`` (it gets Gaussian weights of
            variance 2/fan_in, and the network is linear only but for it) or ``refuse``.
        order: ``traced``, or ``registered`` for networks that cannot be traced: the weights form
            a chain in order of registration, with a ReLU after each but the last.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If a value is outside its range or base does not draw weight by weight; when
            called, if the network cannot be traced, has residual blocks, or a layer does not fit
            the one before it.
    """

    base: Initializer = Orthogonal()  # noqa: RUF009  (immutable)
    odd: str = "he"
    order: str = "traced"

    family: ClassVar[str] = "isometry"
    citation: ClassVar[str] = (
        "Burkholz, Dubatovka 2019, Initialization of ReLUs for Dynamical Isometry "
        "(arXiv 1806.06362)"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", get_initializer(self.base))
        validate.choice(self, "odd", ("he", "refuse"))
        validate.choice(self, "order", ORDERS)
        kind = type(self.base)
        if kind.run is not Initializer.run or kind.check is not Initializer.check:
            raise ValueError(
                f"LooksLinear: base must draw every weight by itself, but {self.base!r} looks at "
                "the whole network."
            )

    def check(self, job: Job) -> None:
        """Work out which units are mirrored; see ``Initializer.check``."""
        for layer, links in zip(
            job.layers, find_links(job, traced=self.order == "traced"), strict=True
        ):
            layer.context.facts["links"] = links
            if self.odd == "refuse" and self._alone(layer.context):
                raise ValueError(
                    f"LooksLinear: {layer.context.name} of shape {layer.context.shape} has an odd "
                    "number of units or inputs to mirror; choose an even width, or odd='he'."
                )

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Draw U and mirror it; see ``Initializer.fill``."""
        rows, columns = self._halves(context)
        sub = self._submatrix(context)
        if self._alone(context):
            draws.fill_normal(weight, math.sqrt(2.0 / context.fan_in), context.generator)
            context.note("the odd unit is not mirrored: Gaussian weights of variance 2/fan_in")
        matrix = weight.new_empty(sub.shape)
        if matrix.numel():  # else there is a single unit, or a single channel per group
            self.base.fill(matrix, sub)
            cube = weight.view(context.rows, _links(context).inputs // context.groups, -1)
            parts = matrix.view(context.groups, len(rows.plus), len(columns.plus), -1)
            for group, part in zip(cube.chunk(context.groups), parts, strict=True):
                write_mirrored(group, part, rows, columns)
        context.note(_describe(_links(context)))

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return that of U."""
        return self.base.nominal_std(self._submatrix(context))

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan and gain of U."""
        return self.base.reference(self._submatrix(context))

    def _halves(self, context: LayerContext) -> tuple[Halves, Halves]:
        """Return the halves of one group's units and inputs."""
        links, groups = _links(context), context.groups
        rows = Halves.of(context.rows // groups, links.row_blocks // groups)
        return rows, Halves.of(links.inputs // groups, links.column_blocks // groups)

    def _alone(self, context: LayerContext) -> bool:
        return any(len(halves.alone) for halves in self._halves(context))

    def _submatrix(self, context: LayerContext) -> LayerContext:
        """Return the context of U: its shape and fans, and the generator of the weight."""
        rows, columns = self._halves(context)
        inputs = _links(context).inputs // context.groups
        row_share = len(rows.plus) * context.groups / context.rows
        column_share = len(columns.plus) / inputs
        if context.kind.startswith("conv"):
            shape = (context.groups * len(rows.plus), len(columns.plus), *context.shape[2:])
        else:
            shape = (len(rows.plus), len(columns.plus) * (context.columns // inputs))
        fans = Fans(context.fan_in * column_share, context.fan_out * row_share)
        if not rows.plus.numel() or not columns.plus.numel():
            fans = context.fans  # nothing to mirror: one unit, or one channel per group
        return replace(context, shape=shape, fans=fans)


def gaussian_submatrix(scale: float = 1.0, mode: str = "fan_in") -> LooksLinear:
    """Return the Gaussian submatrix method: U ~ N(0, 1/fan of U), times ``scale``.

    Every hidden weight then has variance 2/fan_in, as He's.

    Formula:
        W = [[U, -U], [-U, U]],  U ~ N(0, scale^2 / fan of U)

    Args:
        scale: Multiplier of the standard deviation, in (0, inf).
        mode: ``fan_in``, or ``fan_out`` to preserve the norm where widths change.

    Raises:
        TypeError: If scale is no number.
        ValueError: If a value is outside its range.
    """
    if mode == "fan_in":
        return LooksLinear(LeCunNormal(scale))
    return LooksLinear(VarianceScaling(scale, mode=mode))


def orthogonal_submatrix(scale: float = 1.0) -> LooksLinear:
    """Return the method with semi-orthogonal U, times ``scale``: dynamical isometry.

    Formula:
        W = [[U, -U], [-U, U]],  U semi-orthogonal with rows or columns of norm scale

    Raises:
        TypeError: If scale is no number.
        ValueError: If it is outside its range.
    """
    return LooksLinear(Orthogonal(scale))


def ternary_submatrix(
    zero_proportion: float | None = None,
    density: float | None = None,
    degree: float | None = None,
    scale: float = 1.0,
    unscaled: bool = False,
    sampling: str = "exact",
    signs: str = "balanced",
) -> LooksLinear:
    """Return the method with ternary U of gain 1 (ours): ternary weights, a linear network.

    Formula:
        W = [[U, -U], [-U, U]],  U in {-s, 0, +s} with Var U = 1 / fan of U

    Args:
        zero_proportion: See ``Ternary``; this and the others hold for U and its fans.
        density: See ``Ternary``.
        degree: See ``Ternary``.
        scale: See ``Ternary``.
        unscaled: See ``Ternary``.
        sampling: See ``Ternary``.
        signs: See ``Ternary``.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range or two values exclude each other.
    """
    return LooksLinear(
        Ternary(
            zero_proportion, density, degree, scale, unscaled, gain="linear",
            sampling=sampling, signs=signs,
        )
    )  # fmt: skip


def _links(context: LayerContext) -> Links:
    links = context.facts.get("links")
    if links is None:  # a bare tensor counts as a hidden layer
        inputs = context.shape[1] * context.groups
        links = Links(inputs=inputs, row_blocks=context.groups, column_blocks=context.groups)
    assert isinstance(links, Links)
    return links


def _describe(links: Links) -> str:
    if links.row_blocks and links.column_blocks:
        return "[[U, -U], [-U, U]]"
    if links.row_blocks:
        return "[U; -U]"
    return "[U, -U]" if links.column_blocks else "U (no mirrored neighbour)"
