"""Training the connections of fixed weights, by removing or by flipping them.

Ivan & Florian, "Training highly effective connectivities within neural networks with randomly
initialized, fixed weights" (arXiv 2006.16627).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from initializers import validate
from initializers.layers import Weight
from lightning_modules.methods.base import TrainingMethod
from lightning_modules.methods.kernels import SCALINGS, scale_input, scale_kernels
from lightning_modules.methods.layers import trainable_weights
from lightning_modules.methods.masks import AppliedMasks, Mask, straight_through
from lightning_modules.methods.sampling import Sampler
from lightning_modules.optimization import Optimization

CHANGES = ("prune", "flip")


class ConnectivityMask(Mask):
    """A connection is as initialised while its score is above 0, and changed below.

    Args:
        kernel: See ``Mask``.
        scores: See ``Mask``.
        off: Mask of a changed connection: 0 (pruned) or -1 (flipped). A score of exactly 0 counts
            as changed, so that flipping keeps every magnitude.
        rescale: Multiply the mask by numel / (1 + number of kept connections).
    """

    def __init__(self, kernel: Tensor, scores: Tensor, off: float, rescale: bool) -> None:
        super().__init__(kernel, scores)
        self.off = off
        self.rescale = rescale

    def mask(self, scores: Tensor) -> Tensor:
        """Return the mask; its gradient by the scores is the identity, rescaled or not."""
        with torch.no_grad():
            values = (scores > 0).to(scores.dtype)
            if self.off:
                values.mul_(1.0 - self.off).add_(self.off)
            elif self.rescale:
                values.mul_(values.numel() / (1.0 + values.sum()))
        return straight_through(scores, values)


@dataclass(frozen=True)
class Connectivity(TrainingMethod):
    """Weights stay as initialised; training removes connections or flips their signs.

    effective weight = K f(S), K the initial weights, S trained. Pruning: f(s) = 1 if s > 0, else 0;
    flipping: 1 or -1. The gradient passes f as if it were the identity. S starts from U(low, high)
    > 0, so that training begins with the plain initialised network. Biases keep their initial
    values (the paper's networks have none); norm layers are trained. The scores are left out of
    weight decay, which would change connections by itself.

    The modes of the paper: ``free_pruning``, ``free_flipping`` (``minimal=False``), and
    ``min_pruning``, ``min_flipping``, whose loss has in addition the sum over layers of
    -mean(f(S)): only connections whose change pays are changed.

    Kernels are what the injected initialiser sets: he_normal, glorot_normal, asymmetric_constant,
    asymmetric_binary (with a ``scaling``), asymmetric_log_normal, or any other.

    Args:
        change: "prune" or "flip".
        minimal: Whether the extra loss is added.
        strength: Factor of the extra loss, in (0, inf); the paper's is 1.
        rescale: With pruning, multiply f by numel / (1 + number of kept connections) per layer.
        scaling: For kernels whose size ignores the fan: "kernel" multiplies each by
            sqrt(2 / fan_in), "input" the network's input by the product of these factors (the
            same for ReLU networks without biases), "none" leaves both.
        low, high: Range of the initial scores, 0 < low < high.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range, or rescale is asked for with flipping.
    """

    change: str = "prune"
    minimal: bool = False
    strength: float = 1.0
    rescale: bool = False
    scaling: str = "none"
    low: float = 0.01
    high: float = 0.1

    paper_recipe: ClassVar[Mapping[str, Any]] = {
        "optimizer": "adam", "lr": 1e-3, "batch_size": 25, "epochs": 20
    }  # fmt: skip

    def __post_init__(self) -> None:
        validate.choice(self, "change", CHANGES)
        validate.flag(self, "minimal")
        validate.number(self, "strength", "(0, inf)")
        validate.flag(self, "rescale")
        validate.choice(self, "scaling", SCALINGS)
        validate.number(self, "low", "(0, inf)")
        validate.number(self, "high", "(0, inf)")
        if self.low >= self.high:
            raise ValueError(f"Connectivity: high must be above low={self.low}, got {self.high}.")
        if self.rescale and self.change == "flip":
            raise ValueError("Connectivity: rescale must be false where signs are flipped.")

    @classmethod
    def free_pruning(cls, **options: Any) -> Self:
        """Return the mode FreePruning; options: rescale, scaling, low, high."""
        return cls(change="prune", **options)

    @classmethod
    def min_pruning(cls, **options: Any) -> Self:
        """Return the mode MinPruning; options as above, and strength."""
        return cls(change="prune", minimal=True, **options)

    @classmethod
    def free_flipping(cls, **options: Any) -> Self:
        """Return the mode FreeFlipping; options: scaling, low, high."""
        return cls(change="flip", **options)

    @classmethod
    def min_flipping(cls, **options: Any) -> Self:
        """Return the mode MinFlipping; options as above, and strength."""
        return cls(change="flip", minimal=True, **options)

    def apply(self, network: nn.Module, *, seed: int) -> AppliedConnectivity:
        """Put scores beside the network's weights; see ``TrainingMethod.apply``."""
        sampler = Sampler(type(self).__name__, seed)
        weights = trainable_weights(network, type(self).__name__)
        if self.scaling == "kernel":
            scale_kernels(weights)
        off = 0.0 if self.change == "prune" else -1.0
        masks: list[Mask] = []
        for weight in weights:
            kernel = weight.module.get_parameter("weight").detach()
            drawn = torch.rand(kernel.shape, generator=sampler.start(weight.name))
            scores = drawn.mul_(self.high - self.low).add_(self.low).to(kernel)
            masks.append(ConnectivityMask(kernel, scores, off, self.rescale))
        strength = self.strength if self.minimal else 0.0
        applied = AppliedConnectivity(network, sampler, weights, masks, strength)
        if self.scaling == "input":
            applied.scale_input()
        return applied


class AppliedConnectivity(AppliedMasks):
    """A network whose connections are trained.

    Args:
        network, sampler, weights, masks: See ``AppliedMasks``.
        strength: Factor of the extra loss; 0 for none.
    """

    def __init__(
        self,
        network: nn.Module,
        sampler: Sampler,
        weights: list[Weight],
        masks: list[Mask],
        strength: float,
    ) -> None:
        super().__init__(network, sampler, weights, masks)
        self.strength = strength
        self._weights = weights
        self._hook: RemovableHandle | None = None

    def scale_input(self) -> None:
        """Multiply the network's input from now on; see ``kernels.scale_input``."""
        self._hook = scale_input(self.network, self._weights)

    def build_optimizer(self, optimization: Optimization) -> Optimizer:
        """Build the optimiser; weight decay acts on norm layers alone."""
        scores = self.scores()
        own = {id(parameter) for parameter in scores}
        optimizer = dataclasses.replace(optimization, weight_decay=0.0).build_optimizer(scores)
        trained = (p for p in self.network.parameters() if p.requires_grad)
        others = [parameter for parameter in trained if id(parameter) not in own]
        if others:
            decay = optimization.weight_decay
            optimizer.add_param_group({"params": others, "weight_decay": decay})
        return optimizer

    def penalty(self) -> Tensor | None:
        """Return minus the sum over layers of the mask's mean, times the strength."""
        if not self.strength:
            return None
        pairs = zip(self._masks, self.scores(), strict=True)
        means = [mask.mask(scores).mean() for mask, scores in pairs]
        return -self.strength * torch.stack(means).sum()

    def release(self) -> None:
        """Give the network plain weights; a factor of its input becomes one of each kernel."""
        super().release()
        if self._hook is not None:
            self._hook.remove()
            scale_kernels(self._weights)
