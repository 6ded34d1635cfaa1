"""The initialiser: an immutable value that is called on a module.

To write your own, subclass ``Initializer`` as a frozen dataclass and override ``fill``:

>>> @dataclass(frozen=True)
... class Laplace(Initializer):
...     scale: float = 1.0
...
...     def fill(self, weight: Tensor, context: LayerContext) -> None:
...         uniform = torch.rand(weight.shape, generator=context.generator) - 0.5
...         draw = -uniform.sign() * torch.log1p(-2.0 * uniform.abs())
...         weight.copy_(draw * self.nominal_std(context) / 2.0**0.5)
...
...     def nominal_std(self, context: LayerContext) -> float:
...         return self.scale / context.fan_in**0.5
>>> record = Laplace(scale=2.0)(nn.Linear(50, 20), seed=0)
>>> record.layers[0].nominal_std == 2.0 / 50**0.5
True

It works on every network, serialises, and is accepted as ``"my_package.my_module:Laplace"``
wherever an initialiser is asked for; ``initializers.testing`` holds the checks it should pass.

A method that looks at more than one weight (the topology, a batch of data) overrides ``run``; one
that cannot handle a module overrides ``check``, which runs before anything is changed. A wrapper
around another initialiser subclasses ``initializers.wrapper.Wrapper``.
"""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from initializers.batch import Batch, require
from initializers.catalogue import CATALOGUE
from initializers.context import LayerContext
from initializers.job import Job, draw_buffer
from initializers.layers import Bias, Weight
from initializers.record import InitRecord


@dataclass(frozen=True)
class Initializer(ABC):
    """An immutable rule that sets the parameters of any ``nn.Module`` in place.

    Subclasses are frozen dataclasses whose fields are the hyperparameters; they check their fields
    in ``__post_init__`` (see ``initializers.validate``). ``repr`` is the constructor call with the
    fields that differ from their defaults; equality and hash go by class and fields.
    """

    #: What it needs beside the weights: ``data`` (a batch of inputs), ``labels`` (of that batch),
    #: ``topology`` (a kind of network: residual, with attention ...), ``second derivatives`` (the
    #: network must be twice differentiable). Of one value, with its parts: ``requirements``.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Which methods it belongs with in a list of the catalogue.
    family: ClassVar[str] = "own"
    #: Where the method was published; empty for our own.
    citation: ClassVar[str] = ""
    #: Whether two seeds may give different weights.
    stochastic: ClassVar[bool] = True
    #: Whether ``fill`` never raises, so that it may write into the parameters directly; a subclass
    #: with a ``fill`` of its own has to declare it anew.
    fills_in_place: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "fill" in cls.__dict__ and "fills_in_place" not in cls.__dict__:
            cls.fills_in_place = False
        if "__repr__" not in cls.__dict__:  # else the dataclass decorator writes its own
            cls.__repr__ = Initializer.__repr__  # type: ignore[method-assign]

    def __call__(
        self,
        module: nn.Module,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        batch: Batch | None = None,
    ) -> InitRecord:
        """Set the parameters of ``module`` in place and report what was done.

        Weights get this method's values, biases 0 and norm layers the identity unless the method
        says otherwise. Each parameter draws from its own stream, which depends on the seed and
        its qualified name alone; draws are made on the CPU, so every device gets the same numbers.
        Shared parameters are set once. Global random generators are never used. A problem raises
        before anything is changed.

        Args:
            module: Any module, on any device, of any floating-point dtype.
            seed: Integer >= 0; exactly one of seed and generator is needed.
            generator: Gives one number that serves as the seed.
            batch: Data for methods that need them (see ``requirements``); the others ignore it.
                Inputs (n, ...), or a pair of inputs and labels ((n,) int64 classes), on any
                device; inputs are brought to the module's device and precision.

        Returns:
            One record per weight, and the list of what was skipped and why.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If seed and generator are both or neither given, the seed is negative, the
                method needs data that are not given, or cannot handle the module.
        """
        owner = type(self).__name__
        job = Job.of(owner, module, seed, generator, batch)
        require(owner, self.requirements(), job.batch, job.labels)
        with torch.no_grad():
            self.check(job)
            # all that can fail comes before run, which changes the module
            described = (
                self.to_dict() if "<" not in type(self).__qualname__ else {"name": repr(self)}
            )
            aims = [
                (self.nominal_std(layer.context), *self.reference(layer.context))
                for layer in job.layers
            ]
            self.run(job)
            record = InitRecord(
                initializer=described,
                seed=job.streams.seed,
                layers=tuple(
                    layer.record(*aim) for layer, aim in zip(job.layers, aims, strict=True)
                ),
                biases=tuple(bias.name for bias in job.plan.biases),
                norms=tuple(name for name, _, _ in job.plan.norms),
                skipped=tuple(job.plan.skipped),
            )
        if record.skipped and not (record.layers or record.biases or record.norms):
            first = record.skipped[0]
            warnings.warn(
                f"{owner} found nothing in {type(module).__name__} that it can set: "
                f"{first.name} is skipped ({first.reason}).",
                stacklevel=2,
            )
        return record

    def requirements(self) -> frozenset[str]:
        """Return what this value needs: its class's ``needs`` and those of all its parts."""
        own = frozenset(self.needs)
        return own.union(*(part.requirements() for part in self.parts()))

    def parts(self) -> tuple[Initializer, ...]:
        """Return the initialisers that its fields hold: the base of a wrapper, the rules."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return tuple(part for value in values for part in _initializers(value))

    @abstractmethod
    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Set one weight in place.

        Args:
            weight: Contiguous float32 or float64 CPU tensor of shape ``context.shape``, output
                units first, whatever the layer's own layout, dtype or device.
            context: Fans, name, generator and so on; draw from ``context.generator`` only.
        """

    def fill_bias(self, bias: Tensor, context: LayerContext) -> None:
        """Set one bias in place; 0 unless overridden. Arguments as for ``fill``."""
        bias.zero_()

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return the standard deviation the method aims at, for the record; None if it has none."""
        return None

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan and gain by which the record judges the effective gain."""
        return context.fan_in, 1.0

    def rates(self, module: nn.Module, optimizer: str) -> dict[str, float]:
        """Return factors of the learning rate by parameter name; those left out have factor 1.

        Those of its parts unless overridden, as methods do that come with learning rates.

        Args:
            module: The module that is or will be initialised.
            optimizer: Name of the optimiser, such as ``sgd`` or ``adam``.
        """
        found: dict[str, float] = {}
        for part in self.parts():
            found |= part.rates(module, optimizer)
        return found

    def sets_rates(self) -> bool:
        """Return whether it, or one of its parts, comes with learning rates."""
        own = type(self).rates is not Initializer.rates
        return own or any(part.sets_rates() for part in self.parts())

    def check(self, job: Job) -> None:  # noqa: B027  (nothing to refuse unless overridden)
        """Raise ValueError, naming the layer and the reason, if the module cannot be handled."""

    def run(self, job: Job) -> None:
        """Set all weights, biases and norm layers of the module."""
        staged: list[tuple[Weight | Bias, Tensor]] = []
        for layer in job.layers:
            target = layer.weight.direct() if self.fills_in_place else None
            if target is None:
                target = draw_buffer(layer.weight.shape, layer.weight.segments[0])
                staged.append((layer.weight, target))
            self.fill(target, layer.context)
        for bias in job.plan.biases:
            values = draw_buffer(tuple(bias.parameter.shape), bias.parameter)
            self.fill_bias(values, job.bias_context(bias))
            staged.append((bias, values))
        for part, values in staged:
            part.write(values)
        job.plan.reset_norms_and_padding()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: ``{"name": ..., **fields that differ from their defaults}``.

        The name is the registered one or the import path; nested initialisers become nested dicts.

        Raises:
            TypeError: If a field holds something other than plain data or an initialiser.
            ValueError: If the class is defined inside a function.
        """
        fields = {name: _to_plain(getattr(self, name)) for name in self._changed_fields()}
        return {"name": CATALOGUE.name_of(type(self)), **fields}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build the initialiser that ``to_dict`` described.

        Raises:
            TypeError: If the data is no mapping with a name, or describes another class.
            ValueError: If the name or an option is unknown, or a value out of range.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
            raise TypeError(f"An initialiser as data needs a 'name' and its options, got {data!r}.")
        options = {key: _from_plain(value) for key, value in data.items() if key != "name"}
        result = CATALOGUE.create(data["name"], options)
        if not isinstance(result, cls):
            raise TypeError(f"{data['name']!r} builds {result!r}, which is no {cls.__name__}.")
        return result

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self._changed_fields())
        return f"{type(self).__name__}({', '.join(fields)})"

    def _changed_fields(self) -> list[str]:
        return [
            field.name
            for field in dataclasses.fields(self)
            if field.init and getattr(self, field.name) != _default(field)
        ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _initializers(value: Any) -> Iterator[Initializer]:
    if isinstance(value, Initializer):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _initializers(item)


def _to_plain(value: Any) -> Any:
    if isinstance(value, Initializer):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"An initialiser serialises to plain data only, but a field holds {value!r}.")


def _from_plain(value: Any) -> Any:
    if isinstance(value, Mapping) and "name" in value:
        return Initializer.from_dict(value)
    if isinstance(value, list):
        return tuple(_from_plain(item) for item in value)
    return value
