"""Another initialiser for some of the layers.

>>> from torch import nn
>>> network = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
>>> record = PerLayer("he_normal", {"last": "zeros"})(network, seed=0)
>>> [layer.zero_fraction for layer in record.layers]
[0.0, 1.0]
>>> get_initializer("per_layer:base=he_normal,rules=(last=zeros)") == PerLayer(
...     "he_normal", {"last": "zeros"}
... )
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from initializers.base import Initializer
from initializers.classical import HeNormal
from initializers.context import LayerContext
from initializers.job import Job
from initializers.lookup import get_initializer
from initializers.rehearsal import unchanged_on_failure
from initializers.selectors import selector_text, selects
from initializers.spec import parse_options

Rule = tuple[str, Initializer]


@dataclass(frozen=True)
class PerLayer(Initializer):
    """One initialiser for most layers, others for those that rules select.

    Each weight belongs to the first rule that selects it, else to the base; the biases of a layer
    go with its first weight, norm layers with the base. Every initialiser acts on its own layers
    exactly as it would by itself with the same seed; those that need data act after the others, on
    the whole network with what has been set by then.

    Spec: ``per_layer:base=he_normal,rules=(first=lecun_normal,*.conv2=(ternary:density=0.1))``.

    Formula:
        w of a layer = that of the first rule that selects it, else of the base

    Args:
        base: Initialiser of the layers that no rule selects.
        rules: Pairs of a selector (see ``initializers.selectors.selects``) and an initialiser, a
            mapping of these, or their text ``"selector=initialiser,selector=(initialiser)"``.
            Initialisers may be given by name, spec, dict or object.

    Raises:
        TypeError: If base or rules are of another type.
        ValueError: If a name is unknown or a selector impossible, or on the call if a rule selects
            no layer.
    """

    base: Initializer = field(default_factory=HeNormal)
    rules: tuple[Rule, ...] = ()

    family: ClassVar[str] = "composition"

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", get_initializer(self.base))
        rules = tuple(
            (selector_text(selector), get_initializer(value))
            for selector, value in _pairs(self.rules)
        )
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "stochastic", any(part.stochastic for part in self.parts()))

    def chosen(self, context: LayerContext) -> int:
        """Return the position of the rule that a weight belongs to, or -1 for the base."""
        for position, (selector, _) in enumerate(self.rules):
            if selects(selector, context):
                return position
        return -1

    def check(self, job: Job) -> None:
        """Refuse a rule that selects nothing, and what any of the initialisers refuses."""
        for selector, _ in self.rules:
            if not any(selects(selector, layer.context) for layer in job.layers):
                names = ", ".join(layer.weight.name for layer in job.layers) or "none"
                raise ValueError(
                    f"PerLayer: rule {selector!r} selects no layer of "
                    f"{type(job.module).__name__}; its weights are: {names}."
                )
        for initializer, part in self._shares(job):
            initializer.check(part)

    def run(self, job: Job) -> None:
        """Let each initialiser act on its layers; all of them or none."""
        with unchanged_on_failure(job.module):
            for initializer, part in self._shares(job):
                initializer.run(part)
                if part.plan.norms is not job.plan.norms:  # scalars that a rule has taken
                    job.plan.norms.extend(part.plan.norms)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Let the initialiser of this weight fill it; see ``Initializer.fill``."""
        self._initializer(self.chosen(context)).fill(weight, context)

    def fill_bias(self, bias: Tensor, context: LayerContext) -> None:
        """Let the base set a bias that stands alone; see ``Initializer.fill_bias``."""
        self.base.fill_bias(bias, context)

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return what the initialiser of this weight aims at."""
        return self._initializer(self.chosen(context)).nominal_std(context)

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan and gain by which the initialiser of this weight is judged."""
        return self._initializer(self.chosen(context)).reference(context)

    def _initializer(self, position: int) -> Initializer:
        return self.base if position < 0 else self.rules[position][1]

    def _shares(self, job: Job) -> list[tuple[Initializer, Job]]:
        """Return each initialiser with its part of the job; those that need data at the end."""
        owners = {layer.weight.name: self.chosen(layer.context) for layer in job.layers}
        shares = []
        for position in range(-1, len(self.rules)):
            names = {name for name, owner in owners.items() if owner == position}
            part = job.subset(names, rest=position < 0)
            if part.layers or position < 0:
                shares.append((self._initializer(position), part))
        return sorted(shares, key=lambda share: "data" in share[0].requirements())


def _pairs(rules: Any) -> Iterable[tuple[Any, Any]]:
    """Return rules of any form as pairs.

    Raises:
        TypeError: If they have no such form.
    """
    if isinstance(rules, str):
        return parse_options(rules).items()
    if isinstance(rules, Mapping):
        return rules.items()
    if isinstance(rules, tuple | list) and all(
        isinstance(rule, tuple | list) and len(rule) == 2 for rule in rules
    ):
        return [(selector, value) for selector, value in rules]
    raise TypeError(
        "PerLayer: rules must be pairs of a selector and an initialiser, a mapping, or text such "
        f"as 'last=zeros', got {rules!r}."
    )
