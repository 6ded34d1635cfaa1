"""Transforms: initialisers that rewrite the weights which another initialiser drew.

To write your own, subclass ``Transform`` as a frozen dataclass and override ``rewrite``:

>>> from torch import nn
>>> @dataclass(frozen=True)
... class Clipped(Transform):
...     limit: float = 0.1
...     draws: ClassVar[bool] = False
...
...     def rewrite(self, weight: Tensor, context: LayerContext) -> None:
...         weight.clamp_(-self.limit, self.limit)
>>> record = Clipped("he_normal", limit=0.2)(nn.Linear(50, 20), seed=0)
>>> Clipped(Clipped("he_normal"), limit=0.2).base == Clipped("he_normal")
True

The base is given by name, spec string, dict or object, and draws exactly what it draws by itself
with the same seed. Transforms nest, and keep the full precision of the draws throughout the nest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from initializers.base import Initializer
from initializers.classical import GlorotNormal
from initializers.context import LayerContext
from initializers.job import Job, draw_buffer
from initializers.rehearsal import unchanged_on_failure
from initializers.wrapper import Wrapper


@dataclass(frozen=True)
class Transform(Wrapper):
    """An initialiser that lets ``base`` act and then rewrites each weight.

    Biases and norm layers are the base's. Own draws come from ``context.generator``, which is a
    stream apart from the base's: it depends on the seed, the parameter's name, the class and the
    depth of the nest alone, so that two bases are transformed by the same random numbers. A
    subclass that overrides ``__post_init__`` or ``check`` calls the inherited method, too.

    Args:
        base: The initialiser whose weights are rewritten: an object, name, spec or dict; by
            default ``GlorotNormal()``.

    Raises:
        TypeError: If base is no initialiser.
        ValueError: If base names an unknown one, or an option of it is refused.
    """

    base: Initializer = field(default_factory=GlorotNormal)

    draws: ClassVar[bool] = True

    @abstractmethod
    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Rewrite one weight in place.

        Args:
            weight: The base's values, as a contiguous float32 or float64 CPU tensor of shape
                ``context.shape``, output units first.
            context: As for ``Initializer.fill``, except that its generator is the transform's.
        """

    def rewrite_all(self, weights: Sequence[Tensor], contexts: Sequence[LayerContext]) -> None:
        """Rewrite all weights of the module in place; one by one unless overridden.

        Override it where a weight's fate depends on the others. Nothing is written into the module
        before it returns, or else the module is set back: it may raise ValueError.

        Args:
            weights: As for ``rewrite``, in order of registration.
            contexts: The context of each.
        """
        for weight, context in zip(weights, contexts, strict=True):
            self.rewrite(weight, context)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Let the base fill one weight and rewrite it; see ``Initializer.fill``."""
        self.base.fill(weight, context)
        self.rewrite_all([weight], [self.own(context)])

    def run(self, job: Job) -> None:
        """Let the base act on the module, then rewrite every weight, layer after layer."""
        root = self._chain()[0].base
        if type(root).run is Initializer.run:  # it draws weight by weight: all on the side
            weights = self.base_weights(job)
            self.rewrite_all(weights, self.own_contexts(job))
            root.run(replace(job, layers=()))  # biases and norm layers
            _write(job, weights)
            return
        with unchanged_on_failure(job.module):
            weights = self.base_weights(job)
            self.rewrite_all(weights, self.own_contexts(job))
        _write(job, weights)

    def base_weights(self, job: Job) -> list[Tensor]:
        """Return the base's values of every weight of the job, in memory of their own.

        A base that draws weight by weight leaves the module alone. One that overrides ``run`` sets
        the module, from which its values are read, rounded to the module's precision.
        """
        chain = self._chain()
        root = chain[0].base
        weights = [
            draw_buffer(layer.weight.shape, layer.weight.segments[0]) for layer in job.layers
        ]
        if type(root).run is Initializer.run:
            for layer, values in zip(job.layers, weights, strict=True):
                root.fill(values, layer.context)
        else:
            root.run(job)
            for layer, values in zip(job.layers, weights, strict=True):
                values.copy_(layer.weight.read())
        for inner in chain[:-1]:
            inner.rewrite_all(weights, inner.own_contexts(job))
        return weights

    def own(self, context: LayerContext) -> LayerContext:
        """Return the context with the transform's own random stream in place of the base's."""
        label = f"{type(self).__name__}/{self._depth()}"
        return replace(context, generator=context.stream(label))

    def own_contexts(self, job: Job) -> list[LayerContext]:
        """Return ``own`` of every layer's context."""
        return [self.own(layer.context) for layer in job.layers]

    def _depth(self) -> int:
        """Return how many transforms the base is made of."""
        return self.base._depth() + 1 if isinstance(self.base, Transform) else 0

    def _chain(self) -> list[Transform]:
        """Return the nest of transforms with the common ``run``, the innermost first."""
        if isinstance(self.base, Transform) and type(self.base).run is Transform.run:
            return [*self.base._chain(), self]
        return [self]


def _write(job: Job, weights: Sequence[Tensor]) -> None:
    for layer, values in zip(job.layers, weights, strict=True):
        layer.weight.write(values)
