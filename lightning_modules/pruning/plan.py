"""How a network is pruned round by round, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from initializers import validate
from initializers.context import LayerContext
from initializers.mask_actions import ONES_ACTIONS, ZEROS_ACTIONS
from initializers.mask_criteria import MASK_CRITERIA
from initializers.mask_layers import SCOPES

_PAPER: dict[str, float | None] = {"fc": None, "conv2": 0.1, "conv4": 0.1, "conv6": 0.15}


@dataclass(frozen=True)
class PruningPlan:
    """Rates, criterion and restart of iterative pruning, after Zhou, Lan, Liu and Yosinski 2019.

    Args:
        rounds: Prunings, at least 1; each is followed by a training from the rewound weights.
        rate: Share of a layer's living weights pruned in each round, in [0, 1); of a weights,
            ``int(a * rate)``.
        conv_rate: The same for convolutions; None takes ``rate``.
        last_rate: The same for the output layer; None takes half of ``rate``.
        scope: ``layer``, or ``global`` to rank all layers together with ``rate`` for all.
        criterion: One of ``initializers.mask_criteria.MASK_CRITERIA``.
        ones: What surviving weights restart from; one of ``ONES_ACTIONS``.
        zeros: What pruned weights become and stay; one of ``ZEROS_ACTIONS``. The decision is taken
            when a weight is pruned.
        rescale: Whether surviving weights are multiplied by numel(M) / sum(M) of their layer.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range, or a rate is given that ``scope`` excludes.
    """

    rounds: int = 24
    rate: float = 0.2
    conv_rate: float | None = None
    last_rate: float | None = None
    scope: str = "layer"
    criterion: str = "large_final"
    ones: str = "rewind"
    zeros: str = "zero"
    rescale: bool = False

    def __post_init__(self) -> None:
        validate.integer(self, "rounds", "[1, inf)")
        validate.number(self, "rate", "[0, 1)")
        validate.number(self, "conv_rate", "[0, 1)", optional=True)
        validate.number(self, "last_rate", "[0, 1)", optional=True)
        validate.choice(self, "scope", SCOPES)
        validate.choice(self, "criterion", MASK_CRITERIA)
        validate.choice(self, "ones", ONES_ACTIONS)
        validate.choice(self, "zeros", ZEROS_ACTIONS)
        validate.flag(self, "rescale")
        extra = self.conv_rate is not None or self.last_rate is not None
        if self.scope == "global" and extra:
            raise ValueError(
                "PruningPlan: scope='global' has one rate for all layers; drop conv_rate and "
                "last_rate."
            )

    @classmethod
    def of_paper(cls, network: str, **changes: object) -> Self:
        """Return the paper's rates for ``fc``, ``conv2``, ``conv4`` or ``conv6``.

        Dense layers lose 20 % of their living weights per round and the output layer 10 %;
        convolutions 10 %, and 15 % in conv6.

        Raises:
            ValueError: If the network is another.
        """
        if network not in _PAPER:
            raise ValueError(f"PruningPlan: network must be one of {', '.join(_PAPER)}.")
        values: dict[str, object] = {"conv_rate": _PAPER[network], "last_rate": 0.1, **changes}
        return cls(**values)  # type: ignore[arg-type]

    def rate_of(self, context: LayerContext) -> float:
        """Return the share of a layer's living weights pruned in each round."""
        if self.scope == "global":
            return self.rate
        if context.is_last:
            return self.rate / 2 if self.last_rate is None else self.last_rate
        if context.kind.startswith("conv") and self.conv_rate is not None:
            return self.conv_rate
        return self.rate
