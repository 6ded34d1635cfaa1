"""Signed supermasks: weights of one magnitude that are kept, hidden or inverted.

Koster, Grothe & Rettinger, "Signing the Supermask: Keep, Hide, Invert", ICLR 2022
(arXiv 2201.13361).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from initializers import GlorotUniform, initialize_, validate
from initializers.layers import Weight
from lightning_modules.methods.base import TrainingMethod
from lightning_modules.methods.layers import trainable_weights
from lightning_modules.methods.masks import AppliedMasks, Mask, straight_through
from lightning_modules.methods.sampling import Sampler
from lightning_modules.methods.supermask import WEIGHTS
from lightning_modules.optimization import Optimization


class SignedMask(Mask):
    """sign(score) where |score| exceeds the layer's threshold, else 0.

    Args:
        kernel: See ``Mask``.
        scores: The initial scores.
        threshold: Multiple of the largest initial |score| that the threshold is set to, for good.
    """

    limit: Tensor

    def __init__(self, kernel: Tensor, scores: Tensor, threshold: float) -> None:
        super().__init__(kernel, scores)
        self.register_buffer("limit", threshold * scores.abs().max())

    def mask(self, scores: Tensor) -> Tensor:
        """Return the mask; its gradient by the scores is the identity (straight-through)."""
        with torch.no_grad():
            values = torch.sign(scores) * (scores.abs() > self.limit)
        return straight_through(scores, values)


@dataclass(frozen=True)
class SignedSupermask(TrainingMethod):
    """Weights +-c stay fixed; a mask of -1, 0 and +1 is trained: the effective ones are ternary.

    The signs are those of the initial weights; c = sqrt(2 * variance / fan_in). Mask scores start
    Glorot-uniform; a layer's threshold is ``threshold`` times its largest initial |score|, so that
    about that share of connections starts hidden. Made for ELU networks without biases; biases
    stay as initialised, norm layers are trained.

    With optimiser "sgd" this is the paper's SGDW: Nesterov momentum, and a weight decay of the
    scores that is decoupled from the gradient (lr * weight_decay * score per step).

    Args:
        weights: "signed_constant" or "initial" (the initial weights themselves).
        variance: f^2 in c = f sqrt(2 / fan_in), in (0, inf): the paper's ELUS has 3/2, i.e.
            c = sqrt(3 / fan_in); an older configuration of theirs 3.
        threshold: tau in [0, 1).

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    weights: str = "signed_constant"
    variance: float = 1.5
    threshold: float = 0.4

    paper_recipe: ClassVar[Mapping[str, Any]] = {
        "optimizer": "sgd", "lr": 5e-3, "momentum": 0.9, "weight_decay": 3e-4, "epochs": 100,
        "schedule": "steps", "gamma": 0.9, "milestones": (10, 20, 30, 40, 50, 60, 70, 80, 90),
    }  # fmt: skip

    def __post_init__(self) -> None:
        validate.choice(self, "weights", WEIGHTS)
        validate.number(self, "variance", "(0, inf)")
        validate.number(self, "threshold", "[0, 1)")

    def apply(self, network: nn.Module, *, seed: int) -> AppliedSignedMasks:
        """Put scores beside the network's weights; see ``TrainingMethod.apply``."""
        owner = type(self).__name__
        sampler = Sampler(owner, seed)
        weights = trainable_weights(network, owner)
        masks: list[Mask] = []
        for weight in weights:
            kernel = weight.module.get_parameter("weight").detach()
            if self.weights == "signed_constant":
                kernel = kernel.sign() * math.sqrt(2.0 * self.variance / weight.fans.fan_in)
            scores = _glorot_scores(weight, kernel, sampler)
            masks.append(SignedMask(kernel, scores, self.threshold))
        return AppliedSignedMasks(network, sampler, weights, masks)


class AppliedSignedMasks(AppliedMasks):
    """A network whose signed masks are trained."""

    def build_optimizer(self, optimization: Optimization) -> Optimizer:
        """Build the optimiser; "sgd" stands for SGDW with Nesterov momentum."""
        if optimization.optimizer != "sgd":
            return super().build_optimizer(optimization)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        return SGDW(
            trained,
            lr=optimization.lr,
            momentum=optimization.momentum,
            weight_decay=optimization.weight_decay,
        )


class SGDW(SGD):
    """SGD with Nesterov momentum and decoupled weight decay (Loshchilov & Hutter 2019).

    Every step first multiplies a parameter by 1 - lr * weight_decay.

    Args:
        params: Parameters.
        lr: Learning rate.
        momentum: In [0, 1); 0 is plain SGD.
        weight_decay: >= 0.
    """

    def __init__(
        self, params: list[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = weight_decay
        self.register_step_pre_hook(_decay)


@torch.no_grad()
def _decay(optimizer: Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        keep = 1.0 - group["lr"] * group["decoupled_weight_decay"]
        for parameter in group["params"]:
            if keep != 1.0 and parameter.grad is not None:
                parameter.mul_(keep)


def _glorot_scores(weight: Weight, kernel: Tensor, sampler: Sampler) -> Tensor:
    fans, generator = weight.fans, sampler.start(weight.name)
    scores = torch.empty(kernel.shape)
    initialize_(
        scores, GlorotUniform(), generator=generator, fan_in=fans.fan_in, fan_out=fans.fan_out
    )
    return scores.to(kernel)
