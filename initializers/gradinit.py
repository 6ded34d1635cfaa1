"""GradInit: a scale per weight under which the first step of training lowers the loss most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from initializers import validate
from initializers.base import Initializer
from initializers.classical import HeNormal
from initializers.data_driven import DataDriven
from initializers.quotient import derivatives
from initializers.rehearsal import Rehearsal, twice_differentiable

OPTIMIZERS: tuple[str, ...] = ("sgd", "adam")


@dataclass(frozen=True)
class GradInit(DataDriven):
    """Scale each weight so that one step of the optimiser lowers the loss most (Zhu et al. 2021).

    Every weight w gets one factor s, 1 at first, and Adam changes the factors for ``steps`` steps.
    With g the gradient of the cross-entropy L on one part of the batch, each step lowers

    * the norm of g, as long as it exceeds ``limit``, else
    * L on another part of the batch after the step ``w <- w - eta * d`` of all parameters, where d
      is ``g / |g|`` for SGD (L2 norm) and ``sign(g)`` for Adam (L1 norm).

    The parts are two thirds of the batch each, drawn anew every step, and have half of their
    examples in common. The gradient by the factors is cut to norm 1 and a factor never falls below
    ``floor``. Norm layers use the statistics of the part.

    Our reading: the factors belong to the weights alone; norm layers stay the identity, and biases
    are the base's. The network must be twice differentiable. All examples come from the one batch
    that is given, so it should not be small.

    Needs ``batch``: inputs and labels.

    Formula:
        w = s * w_base,  s = argmin L(w - eta * d(w))  subject to  |g| <= limit

    Args:
        base: Weights to start from.
        steps: Steps of Adam, at least 1; the paper's are 390 (an epoch).
        lr: Its learning rate, in (0, inf); the paper's are 1e-3 to 1e-1.
        optimizer: ``sgd`` or ``adam``: what the network will be trained with.
        eta: Size of the step that is tried, in (0, inf); the paper's is 0.1.
        limit: Largest norm of the gradient (gamma in the paper), in (0, inf).
        floor: Smallest factor, in (0, 1].

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    base: Initializer = field(default_factory=HeNormal)
    steps: int = 390
    lr: float = 1e-2
    optimizer: str = "sgd"
    eta: float = 0.1
    limit: float = 1.0
    floor: float = 0.01

    needs: ClassVar[tuple[str, ...]] = ("data", "labels", "second derivatives")
    citation: ClassVar[str] = "Zhu et al. 2021, GradInit"
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.integer(self, "steps", "[1, inf)")
        validate.number(self, "lr", "(0, inf)")
        validate.choice(self, "optimizer", OPTIMIZERS)
        validate.number(self, "eta", "(0, inf)")
        validate.number(self, "limit", "(0, inf)")
        validate.number(self, "floor", "(0, 1]")

    def correct(self, trial: Rehearsal) -> None:
        """Find the factors on the copy and multiply its weights by them."""
        assert trial.job.batch is not None
        count = len(trial.job.batch)
        if count < LEAST_EXAMPLES:
            raise ValueError(
                f"GradInit splits the batch: give at least {LEAST_EXAMPLES} examples, got {count}."
            )
        generator = trial.job.streams.generator(f"{trial.owner}/parts")
        weights = {name: p.detach() for name, p in trial.parameters().items()}
        factors = {
            name: torch.ones((), dtype=weight.dtype, device=weight.device, requires_grad=True)
            for name, weight in weights.items()
        }
        adam = torch.optim.Adam(factors.values(), lr=self.lr)
        with torch.enable_grad(), twice_differentiable(trial.owner, trial.job.module):
            for _ in range(self.steps):
                order = torch.randperm(count, generator=generator)
                size = 2 * count // 3
                parts = order[:size], order[size // 2 : size // 2 + size]
                adam.zero_grad()
                scaled = {name: factors[name] * weight for name, weight in weights.items()}
                self.objective(trial, scaled, parts).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(factors.values(), 1.0)
                adam.step()
                with torch.no_grad():
                    for factor in factors.values():
                        factor.clamp_(min=self.floor)
        for name, weight in weights.items():
            weight.mul_(factors[name].detach())
        for layer in trial.job.layers:
            name = layer.weight.name.partition("[")[0]
            layer.context.note(f"scaled by {float(factors[name].detach()):.4g}")

    def objective(
        self, trial: Rehearsal, weights: dict[str, Tensor], parts: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return what a step lowers: the gradient's norm if it is too large, else the loss.

        Args:
            trial: The copy.
            weights: Weights by name, with their graph.
            parts: Positions in the batch for the gradient and for the loss after the step.
        """
        others = {
            name: parameter.detach().requires_grad_()
            for name, parameter in trial.job.module.named_parameters()
            if name not in weights and parameter.is_floating_point()
        }
        values = {**weights, **others}
        gradients = derivatives(self._loss(trial, values, parts[0]), list(values.values()))
        if self.optimizer == "adam":
            norm = torch.stack([gradient.abs().sum() for gradient in gradients]).sum()
        else:
            norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        if float(norm.detach()) > self.limit:
            return norm
        stepped = {
            name: value - self.eta * (g.sign() if self.optimizer == "adam" else g / norm)
            for (name, value), g in zip(values.items(), gradients, strict=True)
        }
        return self._loss(trial, stepped, parts[1])

    def _loss(self, trial: Rehearsal, values: dict[str, Tensor], part: Tensor) -> Tensor:
        inputs = trial.job.batch
        assert inputs is not None
        picked = part.to(inputs.device)
        logits = trial.outputs(inputs[picked], values)
        return cross_entropy(logits, trial.labels(logits)[picked])


LEAST_EXAMPLES = 3
