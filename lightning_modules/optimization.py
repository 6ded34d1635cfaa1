"""How a network is optimised: optimiser, schedule, smoothing and clipping as one value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adadelta, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adadelta")
"""The values of `Optimization.optimizer`."""
FUSED = ("sgd", "adam", "adamw")
"""Optimisers whose step PyTorch has as one kernel."""
SCHEDULES = ("constant", "cosine", "steps")
"""The values of `Optimization.schedule`."""


@dataclasses.dataclass(frozen=True)
class Optimization:
    """Everything about a training's optimisation except its length and batch size.

    Args:
        optimizer: "sgd" (with momentum), "adam", "adamw" (decoupled weight decay), "rmsprop"
            (Tieleman & Hinton 2012; decay 0.9, eps 1e-7) or "adadelta" (Zeiler 2012; rho 0.95,
            eps 1e-7, usual rate 1), the last two with the constants of Keras, not of torch.
        lr: learning rate, > 0; the peak when there is a warm-up.
        momentum: SGD's momentum in [0, 1); Adam keeps its betas (0.9, 0.999).
        weight_decay: >= 0. L2 added to the gradient, except for AdamW: decoupled.
        schedule: "constant"; "cosine", from lr to 0 over the whole training (Loshchilov & Hutter
            2017, equation 5 without restarts); "steps", times `gamma` at each of `milestones`.
        milestones: epochs at which "steps" lowers the learning rate, increasing.
        gamma: factor of "steps", in (0, 1].
        warmup_epochs: epochs, possibly fractional, over which the rate rises linearly to lr.
        label_smoothing: mass spread evenly over all classes, in [0, 1) (Szegedy et al. 2016).
        gradient_clip: largest L2 norm of the whole gradient; 0 leaves gradients alone.

    Raises:
        ValueError: a value outside its range; the message names it.
    """

    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    gradient_clip: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _in_range("lr", self.lr, 0.0, math.inf, low_open=True)
        _in_range("momentum", self.momentum, 0.0, 1.0)
        _in_range("weight_decay", self.weight_decay, 0.0, math.inf)
        _in_range("gamma", self.gamma, 0.0, 1.0, low_open=True, high_closed=True)
        _in_range("warmup_epochs", self.warmup_epochs, 0.0, math.inf)
        _in_range("label_smoothing", self.label_smoothing, 0.0, 1.0)
        _in_range("gradient_clip", self.gradient_clip, 0.0, math.inf)
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if any(b <= a for a, b in zip((0, *self.milestones), self.milestones, strict=False)):
            raise ValueError(
                f"milestones must be increasing epochs from 1 on, got {list(self.milestones)}."
            )
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError(
                f"milestones and schedule 'steps' belong together: got schedule "
                f"{self.schedule!r} with milestones {list(self.milestones)}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which `Optimization(**data)` makes an equal value."""
        return {**dataclasses.asdict(self), "milestones": list(self.milestones)}

    def build_optimizer(
        self,
        parameters: Iterable[nn.Parameter],
        factors: Mapping[nn.Parameter, float] | None = None,
        *,
        fused: bool = True,
    ) -> Optimizer:
        """The optimiser.

        Args:
            parameters: what to train; those without `requires_grad` are left out.
            factors: for some of them, a factor on their learning rate.
            fused: one kernel per step instead of one per operation, where optimiser and device
                have it: the same update rule, rounded differently.
        """
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.requires_grad:
                groups.setdefault((factors or {}).get(parameter, 1.0), []).append(parameter)
        plain: list[Any] = [{"params": p, "lr": self.lr * f} for f, p in groups.items()]
        fused = fused and can_fuse(p.device.type for group in groups.values() for p in group)
        if list(groups) == [1.0]:
            plain = groups[1.0]
        common: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "rmsprop":
            return RMSprop(plain, alpha=0.9, eps=1e-7, **common)
        if self.optimizer == "adadelta":
            return Adadelta(plain, rho=0.95, eps=1e-7, **common)
        common["fused"] = fused
        if self.optimizer == "sgd":
            return SGD(plain, momentum=self.momentum, **common)
        return (AdamW if self.optimizer == "adamw" else Adam)(plain, **common)

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Learning rate of optimiser step `step` (from 0) as a multiple of `lr`."""
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.schedule == "cosine":
            progress = (step - warmup) / max(1, total_steps - warmup)
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        passed = sum(step >= milestone * steps_per_epoch for milestone in self.milestones)
        return float(self.gamma**passed)

    @property
    def is_constant(self) -> bool:
        """Whether the learning rate never changes, so that no scheduler is needed."""
        return self.schedule == "constant" and self.warmup_epochs == 0

    def build_scheduler(
        self, optimizer: Optimizer, steps_per_epoch: int, total_steps: int
    ) -> LambdaLR:
        """A per-step scheduler of `factor`."""
        return LambdaLR(optimizer, lambda step: self.factor(step, steps_per_epoch, total_steps))

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of (n, classes) logits and (n,) int64 labels, with smoothing."""
        return functional.cross_entropy(logits, target, label_smoothing=self.label_smoothing)

    def clip(self, parameters: Iterable[nn.Parameter]) -> None:
        """Scale all gradients down so that their joint L2 norm is at most `gradient_clip`."""
        if self.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip)


def can_fuse(devices: Iterable[str]) -> bool:
    """Whether PyTorch has fused optimisers on all these kinds of devices."""
    return set(devices) <= {"cpu", "cuda", "mps", "xpu"}


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def _in_range(
    name: str,
    value: float,
    low: float,
    high: float,
    *,
    low_open: bool = False,
    high_closed: bool = False,
) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    above = number and (value > low if low_open else value >= low)
    below = number and (value <= high if high_closed else value < high)
    if not (above and below):
        left, right = "(" if low_open else "[", "]" if high_closed else ")"
        raise ValueError(f"{name} must be a number in {left}{low:g}, {high:g}{right}, got {value}.")
