"""A training method: an immutable value that turns an initialised network into the one trained.

The network's initial weights come from an injected initialiser. A method then decides what is
trained instead of them: which connections exist, which sign they have, the mean of a random
weight. To write your own, subclass ``TrainingMethod`` as a frozen dataclass with an ``apply`` that
returns an ``Applied``; "my_package.my_module:MyMethod" is accepted wherever a name is.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.methods.registry import METHODS
from lightning_modules.methods.sampling import Sampler
from lightning_modules.optimization import Optimization


@dataclass(frozen=True)
class TrainingMethod(ABC):
    """What is trained of a network, as a value.

    Subclasses are frozen dataclasses whose fields are the hyperparameters; they check their fields
    in ``__post_init__`` (see ``initializers.validate``). ``repr`` is the constructor call with the
    fields that differ from their defaults; equality and hash go by class and fields.
    """

    #: Length, batch size and optimiser settings of the paper, as fields of a study's recipe.
    paper_recipe: ClassVar[Mapping[str, Any]] = {}
    #: Shortest training that the method can do, in epochs.
    least_epochs: ClassVar[int] = 1

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__repr__" not in cls.__dict__:  # else the dataclass decorator writes its own
            cls.__repr__ = TrainingMethod.__repr__  # type: ignore[method-assign]

    @abstractmethod
    def apply(self, network: nn.Module, *, seed: int) -> Applied:
        """Make an initialised network the one that this method trains, in place.

        Args:
            network: Initialised, of Linear and convolution layers.
            seed: Integer >= 0, of everything that is drawn now and at every training step.

        Returns:
            The handle by which training and evaluation work with the changed network.

        Raises:
            ValueError: If the network has a part that the method cannot train; nothing has been
                changed then.
        """

    def paper_optimization(self) -> dict[str, Any]:
        """Return those settings of the paper that are `Optimization`'s: overrides for an arm."""
        names = {field.name for field in dataclasses.fields(Optimization)}
        return {name: value for name, value in self.paper_recipe.items() if name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: ``{"name": ..., **fields that differ from their defaults}``.

        Raises:
            ValueError: If the class is defined inside a function.
        """
        return {"name": METHODS.name_of(type(self)), **self._changed()}

    def __repr__(self) -> str:
        fields = (f"{name}={value!r}" for name, value in self._changed().items())
        return f"{type(self).__name__}({', '.join(fields)})"

    def _changed(self) -> dict[str, Any]:
        values = ((field, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {field.name: value for field, value in values if value != field.default}


class Applied(ABC):
    """A network under a training method.

    Args:
        network: The changed network.
        sampler: The streams of random numbers that its layers draw from.
    """

    #: Other ways to evaluate the network; each adds val_accuracy_NAME and test_accuracy_NAME.
    views: tuple[str, ...] = ()

    def __init__(self, network: nn.Module, sampler: Sampler) -> None:
        self.network = network
        self.sampler = sampler

    def begin(self, epochs: int | None) -> None:  # noqa: B027  (most methods need not know)
        """Learn, when training starts, how many epochs it will have; None if nobody knows.

        Raises:
            ValueError: If the method cannot do with so many.
        """

    def at(self, epoch: int, batch: int) -> None:
        """Say which training step comes next: it alone decides, with the seed, what is drawn."""
        self.sampler.step = (epoch, batch)

    def build_optimizer(self, optimization: Optimization) -> Optimizer:
        """Build the optimiser of everything that is trained."""
        return optimization.build_optimizer(self.network.parameters())

    def penalty(self) -> Tensor | None:
        """Return a scalar to be added to the loss of a training step, or None."""
        return None

    def metrics(self) -> dict[str, float]:
        """Return figures of the network as it is, for the end of an epoch."""
        return {}

    def report(self) -> dict[str, Any]:
        """Return plain data about every layer, for the end of training."""
        return {}

    @contextmanager
    def viewed_as(self, view: str) -> Iterator[None]:
        """Evaluate the network in the way of one of ``views`` within the block.

        Raises:
            ValueError: If there is no such view.
        """
        if view not in self.views:
            raise ValueError(f"{type(self).__name__} has no view {view!r}: {self.views}.")
        yield

    @abstractmethod
    def release(self) -> None:
        """Give the network its plain layers back, with the weights that it now works with."""
