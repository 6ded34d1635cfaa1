"""One optimiser step for all members of a stack, each with its own learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from lightning_modules.optimization import Optimization, can_fuse

_STATE = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}
_STATE["adamw"] = _STATE["adam"]

STACKED_OPTIMIZERS = tuple(_STATE)
"""Optimisers that `StackedOptimizer` knows."""


class StackedOptimizer(Optimizer):
    """SGD, Adam or AdamW on stacked parameters.

    The kernels of PyTorch's fused optimisers are called directly: `torch.optim`'s own way to them
    takes longer than the update of a small network. Each call takes the rows of neighbouring
    members with equal learning rates, so order the members by learning rate. The parameter group's
    "lr" is a factor on all of them, which a scheduler may set.

    Args:
        parameters: stacked parameters, members along the first dimension.
        rates: learning rate of each member.
        optimization: the rule and its other constants.
        fused: see `Optimization.build_optimizer`.

    Raises:
        ValueError: an optimiser that has no stacked form.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        rates: Sequence[float],
        optimization: Optimization,
        *,
        fused: bool = True,
    ) -> None:
        if optimization.optimizer not in _STATE:
            raise ValueError(f"the optimiser {optimization.optimizer} has no stacked form")
        self.rates = list(rates)
        self.optimization = optimization
        trained = [p for p in parameters if p.requires_grad]
        self._fused = fused and can_fuse(p.device.type for p in trained)
        super().__init__(trained, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all members once; parameters without gradient are left alone."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        group = self.param_groups[0]
        used = [parameter for parameter in group["params"] if parameter.grad is not None]
        states = [self._state_of(parameter) for parameter in used]
        for step in {id(state["step"]): state["step"] for state in states}.values():
            step += 1
        steps = [state["step"] for state in states]
        names = _STATE[self.optimization.optimizer]
        tensors = [
            used,
            [parameter.grad for parameter in used],
            *([state[name] for state in states] for name in names),
        ]
        factor, start = float(group["lr"]), 0
        for rate, equal in groupby(self.rates):
            stop = start + len(list(equal))
            if stop - start == len(self.rates):
                self._update(tensors, steps, rate * factor)
            elif steps:
                part = [[tensor[start:stop] for tensor in column] for column in tensors]
                self._update(part, steps, rate * factor)
            start = stop
        return result

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            # One counter for all parameters: they take every step together.
            counters = (other["step"] for other in self.state.values() if "step" in other)
            state["step"] = next(counters, torch.zeros((), device=parameter.device))
            for name in _STATE[self.optimization.optimizer]:
                state[name] = torch.zeros_like(parameter)
        return state

    def _update(self, tensors: list[list[Tensor]], steps: list[Tensor], rate: float) -> None:
        rule = self.optimization
        if not self._fused:
            self._update_by_parts(tensors, steps, rate)
            return
        common: dict[str, Any] = {
            "lr": rate,
            "weight_decay": rule.weight_decay,
            "maximize": False,
            "grad_scale": None,
            "found_inf": None,
        }
        if rule.optimizer == "sgd":
            if rule.momentum == 0:
                tensors = [*tensors[:2], []]
            # A first step from zero momentum is the same as one without.
            torch._fused_sgd_(
                *tensors,
                momentum=rule.momentum,
                dampening=0.0,
                nesterov=False,
                is_first_step=False,
                **common,
            )
            return
        kernel: Any = torch._fused_adamw_ if rule.optimizer == "adamw" else torch._fused_adam_
        kernel(*tensors, [], steps, beta1=0.9, beta2=0.999, eps=1e-8, amsgrad=False, **common)

    def _update_by_parts(
        self, tensors: list[list[Tensor]], steps: list[Tensor], rate: float
    ) -> None:
        """The same update, one kernel per operation."""
        rule = self.optimization
        common: dict[str, Any] = {
            "lr": rate,
            "weight_decay": rule.weight_decay,
            "maximize": False,
            "foreach": True,
        }
        if rule.optimizer == "sgd":
            values, gradients, momenta = tensors
            buffers: list[Tensor | None] = [*momenta] if rule.momentum else [None] * len(values)
            sgd(values, gradients, buffers, momentum=rule.momentum, dampening=0.0, nesterov=False,
                **common)  # fmt: skip
            return
        # These functions count the step themselves, once per parameter.
        counted = [step - 1 for step in steps]
        update: Any = adamw if rule.optimizer == "adamw" else adam
        update(*tensors, [], counted, beta1=0.9, beta2=0.999, eps=1e-8, amsgrad=False, **common)

    @torch.no_grad()
    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members' state and learning rates, in this order."""
        self.rates = [self.rates[member] for member in members]
        for state in self.state.values():
            for name, value in state.items():
                if torch.is_tensor(value) and value.dim() > 0:
                    state[name] = value[torch.tensor(members, dtype=torch.long).to(value.device)]


@torch.no_grad()
def clip_each_(parameters: Sequence[nn.Parameter], largest: float) -> None:
    """Scale each member's gradient down so that its joint L2 norm is at most `largest`.

    The rule of `torch.nn.utils.clip_grad_norm_`, applied to every row by itself.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    # Row by row: a reduction over a matrix adds up in an order that depends on its shape.
    members = zip(*(gradient.unbind(0) for gradient in gradients), strict=True)
    norms = [torch.stack([torch.linalg.vector_norm(row) for row in rows]) for rows in members]
    total = torch.stack([torch.linalg.vector_norm(norm) for norm in norms])
    factor = torch.clamp(largest / (total + 1e-6), max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *(1,) * (gradient.dim() - 1)).to(gradient.device))
