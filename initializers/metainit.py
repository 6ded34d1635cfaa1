"""MetaInit: norms of the weights found by descending the gradient quotient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from initializers import validate
from initializers.base import Initializer
from initializers.classical import HeNormal
from initializers.data_driven import DataDriven
from initializers.quotient import derivatives, gradient_quotient
from initializers.rehearsal import Rehearsal, twice_differentiable

DATA: tuple[str, ...] = ("gaussian", "batch")


@dataclass(frozen=True)
class MetaInit(DataDriven):
    """Change the norms of the weights so that the gradient changes little along itself.

    Signed descent with momentum on the gradient quotient (Dauphin and Schoenholz 2019; see
    ``gradient_quotient``) of the cross-entropy, over the norm n of each weight w alone::

        m <- momentum * m - lr * sign(<w, dGQ/dw> / n),   w <- w * (n + m) / n

    for ``steps`` steps, each on new standard normal inputs and random classes. Directions stay
    those of the base. A step may be larger than a small norm: it is cut off where less than a
    tenth of the norm would be left, because a norm below 0 would turn the signs of the whole
    weight (our reading). The network is in evaluation mode; it must be twice differentiable,
    which piecewise linear activations are where it matters. Costs about five passes a step.

    Needs ``batch``: inputs, of which only the shape counts unless ``data="batch"``.

    Formula:
        GQ = mean |(g - H g) / (g + eps sgn g) - 1|;  only |w| changes, to lower GQ

    Args:
        base: Weights to start from; their directions stay.
        steps: Steps of descent, at least 1; the paper's are 500.
        lr: Step of a norm, in (0, inf); the paper's is 0.1.
        momentum: In [0, 1); the paper's is 0.9.
        eps: Regularisation of the quotient, in (0, inf); the paper's is 1e-5.
        data: ``gaussian`` inputs and random classes, as in the paper, or the ``batch`` and its
            labels at every step.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    base: Initializer = field(default_factory=HeNormal)
    steps: int = 500
    lr: float = 0.1
    momentum: float = 0.9
    eps: float = 1e-5
    data: str = "gaussian"

    needs: ClassVar[tuple[str, ...]] = ("data", "second derivatives")
    citation: ClassVar[str] = "Dauphin, Schoenholz 2019, MetaInit"
    batch_statistics: ClassVar[bool] = False
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.integer(self, "steps", "[1, inf)")
        validate.number(self, "lr", "(0, inf)")
        validate.number(self, "momentum", "[0, 1)")
        validate.number(self, "eps", "(0, inf)")
        validate.choice(self, "data", DATA)

    def requirements(self) -> frozenset[str]:
        """Return what it needs: the labels, too, for ``data="batch"``."""
        labels = {"labels"} if self.data == "batch" else set()
        return super().requirements() | labels

    def correct(self, trial: Rehearsal) -> None:
        """Descend on the copy."""
        generator = trial.job.streams.generator(f"{trial.owner}/data")
        weights = list(trial.parameters().values())
        every = [p for p in trial.job.module.parameters() if p.is_floating_point()]
        for parameter in every:
            parameter.requires_grad_(True)
        speeds = [0.0] * len(weights)
        with torch.enable_grad(), twice_differentiable(trial.owner, trial.job.module):
            for step in range(self.steps):
                quotient = self._quotient(trial, every, generator)
                slopes = derivatives(quotient, weights)
                speeds = [
                    self._move(weight, slope.detach(), speed)
                    for weight, slope, speed in zip(weights, slopes, speeds, strict=True)
                ]
                if step in (0, self.steps - 1):
                    for layer in trial.job.layers:
                        layer.context.note(f"gradient quotient {float(quotient.detach()):.4g}")

    def _quotient(
        self, trial: Rehearsal, every: list[nn.Parameter], generator: torch.Generator
    ) -> Tensor:
        """Return the quotient on the batch or on new random data."""
        inputs = trial.job.batch
        assert inputs is not None
        if self.data == "batch":
            logits = trial.outputs(inputs)
            return gradient_quotient(cross_entropy(logits, trial.labels(logits)), every, self.eps)
        if not inputs.is_floating_point():
            raise ValueError("MetaInit draws Gaussian inputs, which this network does not take.")
        drawn = torch.randn(inputs.shape, generator=generator).to(inputs)
        logits = trial.outputs(drawn)
        if logits.dim() != 2:
            raise ValueError(
                f"MetaInit needs a classifier with logits (n, classes), got {tuple(logits.shape)}."
            )
        labels = torch.randint(logits.shape[1], (len(logits),), generator=generator)
        return gradient_quotient(cross_entropy(logits, labels.to(logits.device)), every, self.eps)

    def _move(self, weight: nn.Parameter, slope: Tensor, speed: float) -> float:
        """Change the norm of one weight; returns its new speed."""
        with torch.no_grad():
            norm = float(weight.norm())
            if norm == 0.0:
                return 0.0
            speed = self.momentum * speed - self.lr * float(torch.sign((weight * slope).sum()))
            weight.mul_(max(norm + speed, LEAST_LEFT * norm) / norm)
        return speed


LEAST_LEFT = 0.1  # of the norm, after one step
