"""Wrappers: initialisers that let another one act and change what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.job import Job
from initializers.lookup import get_initializer


@dataclass(frozen=True)
class Wrapper(Initializer):
    """An initialiser around another one, its base, to which it leaves all that it does not change.

    A subclass overrides what it does otherwise. One that overrides ``__post_init__`` or ``check``
    calls the inherited method, too.

    Args:
        base: The initialiser: an object, name, spec or dict.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If base names an unknown one, or an option of it is refused.
    """

    base: Initializer

    #: Whether the wrapper itself draws random numbers.
    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        base = get_initializer(self.base)
        object.__setattr__(self, "base", base)
        # of this value, not of the class: the base has a say in it
        object.__setattr__(self, "stochastic", self.draws or base.stochastic)

    def check(self, job: Job) -> None:
        """Refuse what the base refuses; see ``Initializer.check``."""
        self.base.check(job)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Let the base fill one weight; see ``Initializer.fill``."""
        self.base.fill(weight, context)

    def fill_bias(self, bias: Tensor, context: LayerContext) -> None:
        """Let the base set one bias; see ``Initializer.fill_bias``."""
        self.base.fill_bias(bias, context)

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return what the base aims at."""
        return self.base.nominal_std(context)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan and gain by which the base is judged."""
        return self.base.reference(context)
