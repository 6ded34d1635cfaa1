"""Masks around any initialiser: which weights survive, and what the network restarts from.

>>> from torch import nn
>>> masked = Masked("he_normal", criterion="large_init", density=0.2, ones="signed_constant")
>>> record = masked(nn.Linear(50, 20), seed=0)
>>> record.layers[0].zero_fraction
0.8
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from initializers import validate
from initializers.context import LayerContext
from initializers.job import Job
from initializers.lookup import get_initializer
from initializers.mask_actions import ONES_ACTIONS, ZEROS_ACTIONS, action_needs_final, restart
from initializers.mask_criteria import MASK_CRITERIA, needs_final
from initializers.mask_layers import SCOPES, kept_masks, masks_of_parameters
from initializers.pretrained import StoredWeights
from initializers.transform import Transform


@dataclass(frozen=True)
class Masked(Transform):
    """A mask over the base's weights, after Zhou, Lan, Liu and Yosinski 2019.

    The base gives the initial weights, ``final`` the trained ones for criteria that look at them.
    Both may come from files: ``Masked("pretrained:path=init.pt", "pretrained:path=trained.pt")``.
    Biases and norm layers are the base's and are never masked. This sets where training starts
    from; ``lightning_modules.pruning.FrozenWeights`` keeps the masked weights there in training.

    Formula:
        w = m * ones(w_base) + (1 - m) * zeros(w_base),  m = [score in the top n * density]

    Args:
        base: The initialiser of the initial weights; object, name, spec or dict.
        final: The trained weights: ``Pretrained``, ``FromState``, or a spec or dict of these. None
            if neither criterion nor action looks at them.
        criterion: One of ``MASK_CRITERIA``; see ``initializers.mask_criteria``.
        density: Share of the weights that is kept, in (0, 1]; of n weights,
            ``int(n * (1 - density))`` are masked.
        conv_density: The same for convolutions; None takes ``density``.
        last_density: The same for the output layer; None takes what its kind has.
        scope: ``layer`` ranks and counts within each layer, ``global`` over all layers together,
            with one density.
        ones: What surviving weights become; see ``initializers.mask_actions``.
        zeros: What the masked ones become.
        rescale: Whether surviving weights are multiplied by numel(M) / sum(M) of their layer.

    Raises:
        TypeError: If a value has the wrong type, or final holds no stored weights.
        ValueError: If a value is outside its range, two exclude each other, or final is missing.
    """

    family: ClassVar[str] = "signs and masks"
    citation: ClassVar[str] = "Zhou, Lan, Liu, Yosinski 2019, Deconstructing Lottery Tickets"

    final: StoredWeights | None = None
    criterion: str = "large_init"
    density: float = 0.2
    conv_density: float | None = None
    last_density: float | None = None
    scope: str = "layer"
    ones: str = "rewind"
    zeros: str = "zero"
    rescale: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.final is not None:
            object.__setattr__(self, "final", get_initializer(self.final))
            if not isinstance(self.final, StoredWeights):
                raise TypeError(
                    "Masked: final must be trained weights, such as "
                    f"'pretrained:path=trained.pt', got {self.final!r}."
                )
        validate.choice(self, "criterion", MASK_CRITERIA)
        validate.number(self, "density", "(0, 1]")
        validate.number(self, "conv_density", "(0, 1]", optional=True)
        validate.number(self, "last_density", "(0, 1]", optional=True)
        validate.choice(self, "scope", SCOPES)
        validate.choice(self, "ones", ONES_ACTIONS)
        validate.choice(self, "zeros", ZEROS_ACTIONS)
        validate.flag(self, "rescale")
        for field, looks in (
            ("criterion", needs_final(self.criterion)),
            ("zeros", action_needs_final(self.zeros)),
        ):
            if looks and self.final is None:
                raise ValueError(
                    f"Masked: {field}={getattr(self, field)!r} looks at trained weights; give them "
                    "as final, such as 'pretrained:path=trained.pt'."
                )
        if self.scope == "global" and (self.conv_density or self.last_density):
            raise ValueError(
                "Masked: scope='global' has one density for all layers; drop conv_density and "
                "last_density."
            )

    def check(self, job: Job) -> None:
        """Refuse what the base refuses, or trained weights that do not fit the module."""
        super().check(job)
        if self.final is not None:
            self.final.check_weights(job)

    def nominal_std(self, context: LayerContext) -> None:
        """Return None: it depends on which weights survive."""

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        """Mask one weight by itself; see ``Transform.rewrite``."""
        self.rewrite_all([weight], [context])

    def rewrite_all(self, weights: Sequence[Tensor], contexts: Sequence[LayerContext]) -> None:
        """Mask all weights; see ``Transform.rewrite_all``."""
        finals = self._finals(weights, contexts)
        masks = self._choose(weights, finals, contexts)
        for weight, final, mask, context in zip(weights, finals, masks, contexts, strict=True):
            context.note(f"{int(mask.sum())} of {mask.numel()} weights kept")
            generator = context.stream("ones")
            weight.copy_(
                restart(weight, final, mask, self.ones, self.zeros, generator, rescale=self.rescale)
            )

    def masks(
        self,
        module: nn.Module,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        batch: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the masks that a call with the same arguments applies; changes nothing.

        Returns:
            Bool tensors of the parameters' shapes under their names, True for surviving weights.

        Raises:
            TypeError: As ``Initializer.__call__``.
            ValueError: As ``Initializer.__call__``.
        """
        twin = copy.deepcopy(module)  # a base that looks at the whole module works on it
        job = Job.of(type(self).__name__, twin, seed, generator, batch)
        with torch.no_grad():
            self.check(job)
            weights, contexts = self.base_weights(job), self.own_contexts(job)
            chosen = self._choose(weights, self._finals(weights, contexts), contexts)
        names = [layer.weight.name for layer in job.layers]
        return masks_of_parameters(twin, dict(zip(names, chosen, strict=True)))

    def density_of(self, context: LayerContext) -> float:
        """Return the share of a layer's weights that is kept."""
        density = self.density
        if context.kind.startswith("conv") and self.conv_density is not None:
            density = self.conv_density
        if context.is_last and self.last_density is not None:
            density = self.last_density
        return density

    def _finals(
        self, weights: Sequence[Tensor], contexts: Sequence[LayerContext]
    ) -> list[Tensor | None]:
        if self.final is None:
            return [None] * len(weights)
        pairs = zip(weights, contexts, strict=True)
        return [self.final.weight(context).to(weight) for weight, context in pairs]

    def _choose(
        self,
        weights: Sequence[Tensor],
        finals: Sequence[Tensor | None],
        contexts: Sequence[LayerContext],
    ) -> list[Tensor]:
        return kept_masks(
            self.criterion,
            weights,
            finals,
            [torch.ones_like(weight, dtype=torch.bool) for weight in weights],
            [1.0 - self.density_of(context) for context in contexts],
            self.scope,
            [context.stream("mask") for context in contexts],
        )
