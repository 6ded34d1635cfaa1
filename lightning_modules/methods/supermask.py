"""Learned supermasks: fixed weights, of which training chooses a random part.

Zhou, Lan, Liu & Yosinski, "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask",
NeurIPS 2019 (arXiv 1905.01067).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from initializers import validate
from lightning_modules.methods.base import TrainingMethod
from lightning_modules.methods.layers import trainable_weights
from lightning_modules.methods.masks import AppliedMasks, Mask, straight_through
from lightning_modules.methods.sampling import Sampler

WEIGHTS = ("signed_constant", "initial")


class BernoulliMask(Mask):
    """Every connection is there with probability sigmoid(logit), anew at every training step.

    Args:
        kernel: See ``Mask``.
        scores: The initial logits.
        name: Names the layer's random stream.
        sampler: The network's random streams.
        rescale: Multiply the mask by numel / (number of kept connections); 1 where none is kept.
    """

    def __init__(
        self, kernel: Tensor, scores: Tensor, name: str, sampler: Sampler, rescale: bool
    ) -> None:
        super().__init__(kernel, scores)
        self.name = name
        self.sampler = sampler
        self.rescale = rescale

    def mask(self, scores: Tensor) -> Tensor:
        """Return the sampled mask; its gradient by the logits is sigmoid' (straight-through).

        The factor of a rescaled mask counts as a constant (our reading).
        """
        probability = torch.sigmoid(scores)
        with torch.no_grad():
            drawn = self.sampler.uniform(self.name, scores, self.training)
            sample = (drawn < probability).to(scores.dtype)
        mask = straight_through(probability, sample)
        if self.rescale:
            mask = mask * (sample.numel() / sample.sum().clamp_min(1.0))
        return mask


@dataclass(frozen=True)
class Supermask(TrainingMethod):
    """Weights stay fixed; the probability of every connection to be there is trained.

    A mask is drawn from Bernoulli(sigmoid(m)) at every step, in evaluation as well (there always
    from the same random numbers). Only the logits m are trained; biases stay as initialised and
    norm layers the identity.

    Dynamic weight rescaling (``rescale``) divides by the share of kept connections, not by its
    root: the signal's second moment grows by 1 / share.

    Args:
        weights: "signed_constant" (alpha * sign(W) with alpha the standard deviation of the
            layer's initial weights about their mean; zeros stay zero) or "initial" (W itself).
        rescale: Multiply by numel / (kept connections) of the sampled mask.
        logit: Initial logit m, any finite number; 0 keeps half of the connections.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    weights: str = "signed_constant"
    rescale: bool = True
    logit: float = 0.0

    paper_recipe: ClassVar[Mapping[str, Any]] = {
        "optimizer": "sgd", "lr": 100.0, "momentum": 0.9, "batch_size": 250, "epochs": 2000
    }  # fmt: skip

    def __post_init__(self) -> None:
        validate.choice(self, "weights", WEIGHTS)
        validate.flag(self, "rescale")
        validate.number(self, "logit", "(-inf, inf)")

    def apply(self, network: nn.Module, *, seed: int) -> AppliedMasks:
        """Put logits beside the network's weights; see ``TrainingMethod.apply``."""
        owner = type(self).__name__
        sampler = Sampler(owner, seed)
        weights = trainable_weights(network, owner)
        masks: list[Mask] = []
        for weight in weights:
            kernel = weight.module.get_parameter("weight").detach()
            if self.weights == "signed_constant":
                kernel = signed_constant(kernel)
            logits = torch.full_like(kernel, self.logit)
            masks.append(BernoulliMask(kernel, logits, weight.name, sampler, self.rescale))
        return AppliedMasks(network, sampler, weights, masks, norms=False)


def signed_constant(weight: Tensor) -> Tensor:
    """Return sign(W) times the standard deviation of W, measured in float64; zeros stay zero."""
    alpha = weight.double().std(correction=0)
    return weight.sign() * alpha.to(weight.dtype)
