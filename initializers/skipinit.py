"""SkipInit and ReZero: a trainable multiplier at the end of each residual branch."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar

from initializers import validate
from initializers.base import Initializer
from initializers.classical import HeNormal
from initializers.job import Job
from initializers.scalars import set_scalars
from initializers.wrapper import Wrapper


@dataclass(frozen=True)
class SkipInit(Wrapper):
    """Set the multipliers of residual branches to 0 (De, Smith 2020; Bachlechner et al. 2020).

    A block is ``x + alpha f(x)`` with a trainable scalar alpha, so that the network is its
    shortcut path at first. The weights are the base's. The formulas are recalled. For networks
    with such parameters: ``lightning_modules`` has ``skipinit_resnet20``.

    Formula:
        x + alpha * f(x) with alpha = 0

    Args:
        base: Initialiser of the weights.
        alpha: Start of the multipliers: a number, or ``depth`` for 1 / sqrt(their number).
        names: Pattern of the multipliers' names: one-element parameters.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range, or on the call if no parameter fits names.
    """

    base: Initializer = field(default_factory=HeNormal)
    alpha: float | str = 0.0
    names: str = "*alpha"

    needs: ClassVar[tuple[str, ...]] = ("topology",)
    family: ClassVar[str] = "structural"
    citation: ClassVar[str] = "De, Smith 2020, SkipInit; Bachlechner et al. 2020, ReZero"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.alpha, str):
            validate.choice(self, "alpha", ("depth",))
        else:
            validate.number(self, "alpha", "(-inf, inf)")

    def check(self, job: Job) -> None:
        """Refuse networks without multipliers."""
        super().check(job)
        if not self._found(job):
            raise ValueError(
                f"SkipInit: no one-element parameter of {type(job.module).__name__} fits names "
                f"{self.names!r}; skipinit_resnet20 is a network with such multipliers."
            )

    def run(self, job: Job) -> None:
        """Let the base act, with the multipliers among what is set to a constant."""
        found = self._found(job)
        value = len(found) ** -0.5 if isinstance(self.alpha, str) else self.alpha
        set_scalars(job, lambda name: value if name in found else None)
        self.base.run(job)

    def _found(self, job: Job) -> frozenset[str]:
        return frozenset(
            skip.name
            for skip in job.plan.skipped
            if fnmatchcase(skip.name, self.names)
            and job.module.get_parameter(skip.name).numel() == 1
        )
