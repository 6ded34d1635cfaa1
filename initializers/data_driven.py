"""Common part of the methods that run the network on a batch to correct another's weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from initializers.context import LayerContext
from initializers.job import Job
from initializers.rehearsal import Rehearsal
from initializers.wrapper import Wrapper


@dataclass(frozen=True)
class DataDriven(Wrapper):
    """An initialiser that lets ``base`` act on a copy of the network and corrects what it drew.

    The base draws exactly what it draws by itself with the same seed. A subclass overrides
    ``correct``. Biases are the base's unless the method says otherwise; norm layers are the
    identity in the end.

    Args:
        base: The initialiser to start from: an object, name, spec or dict.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If base names an unknown one, or an option of it is refused.
    """

    family: ClassVar[str] = "data-driven"
    #: Whether norm layers use the statistics of the batch while the network is run.
    batch_statistics: ClassVar[bool] = True

    @abstractmethod
    def correct(self, trial: Rehearsal) -> None:
        """Correct the weights of ``trial.job``, which the base has set.

        Raises:
            ValueError: If the method cannot handle the network; nothing has been changed then.
        """

    def run(self, job: Job) -> None:
        """Let the base act on a copy, correct its weights there, and take them over."""
        trial = Rehearsal.of(type(self).__name__, job, training=self.batch_statistics)
        self.base.run(trial.job)
        self.correct(trial)
        trial.adopt()

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Refuse: a single weight is no network that could be run.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{type(self).__name__} has to run the network; call it on a module, not on a tensor."
        )

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return None: the correction has the last word."""
        return None
