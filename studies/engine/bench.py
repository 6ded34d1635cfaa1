"""Training steps without a Trainer, to be timed and compared."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from initializers import HeNormal
from lightning_modules import Optimization, build_network
from lightning_modules.memory_format import in_channels_last, use_channels_last
from lightning_modules.optimization import FUSED
from lightning_modules.stacking import (
    STACKED_OPTIMIZERS,
    STACKS,
    DenseStack,
    NotStackableError,
    StackedOptimizer,
    clip_each_,
    may_gain_from_onednn,
    refuse_other_than_chain,
    refuse_unknown,
)
from studies.engine.forms import Form
from studies.engine.memory import available_memory, step_memory
from studies.engine.remembered import device_name
from studies.engine.run import Recipe, content_hash

_SECONDS = 0.08  # measured per candidate, at least two steps
_SHARE = 0.5  # of the free memory that the stacks of all workers may take


class Trained(NamedTuple):
    """Something that can be trained step by step.

    Args:
        step: carries out one step and returns a number that depends on it.
        weights: gives the parameters of one network as a vector.
    """

    step: Callable[[], Tensor]
    weights: Callable[[], Tensor]


class Bench:
    """Training steps of a recipe without a Trainer, to be timed and compared.

    Args:
        recipe: what is trained.
        data: its DataModule.
        device: where.
    """

    def __init__(self, recipe: Recipe, data: Any, device: torch.device) -> None:
        self._recipe, self._device = recipe, device
        self._rule = Optimization(**recipe.optimization())
        #: whether the optimiser's step exists as one kernel
        self.fuses = self._rule.optimizer in FUSED
        shape, classes = tuple(data.input_shape), int(data.num_classes)
        self._build = functools.partial(
            build_network, recipe.network, input_shape=shape, num_classes=classes
        )
        self._dtype = torch.float64 if recipe.precision == "64-true" else torch.float32
        self._mixed = recipe.precision.endswith("-mixed")
        x, y = next(iter(data.train_dataloader()))
        self._x, self._y = x.to(device), y.to(device)
        network = self._build()
        #: whether batch statistics enter a training pass
        self.normalizes = any(isinstance(m, _BatchNorm) for m in network.modules())
        convolutions = (nn.Conv2d, nn.ConvTranspose2d)
        self.has_images = x.dim() == 4 and any(
            isinstance(m, convolutions) for m in network.modules()
        )
        state = torch.get_rng_state()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            network.train()(self._x[:2].cpu())
            #: whether a training pass draws random numbers (dropout)
            self.draws = not torch.equal(torch.get_rng_state(), state)

    def facts(self) -> dict[str, Any]:
        """All that the choice of a form depends on, as plain data."""
        network = self._build()
        types = {type(module) for module in network.modules()}
        own = sorted(
            (kind.__qualname__, content_hash(inspect.getsource(kind)))
            for kind in types
            if not kind.__module__.startswith("torch.")
        )
        return {
            "version": 4,
            "network": [repr(network), [list(p.shape) for p in network.parameters()], own],
            "shape": [*self._x.shape],
            "optimization": self._recipe.optimization() | {"lr": None, "milestones": None},
            "precision": self._recipe.precision,
            "device": device_name(self._device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def most(self, workers: int) -> int:
        """Networks that fit into one worker's share of the memory."""
        needed = step_memory(self.alone(False).step, self._build())
        return int(_SHARE * available_memory(self._device) / max(1, workers) / needed)

    def kind(self) -> tuple[str | None, str]:
        """The kind of stack that network and optimiser allow, or None and why."""
        if self._rule.optimizer not in STACKED_OPTIMIZERS:
            return None, f"the optimiser {self._rule.optimizer} has no stacked form"
        network = self._build()
        try:
            refuse_unknown(network)
            try:
                refuse_other_than_chain(network)
            except NotStackableError:
                return "layers", ""
            return "layers" if self._mixed else "dense", ""
        except NotStackableError as unknown:
            try:
                self.stack("vmap", 2, False).step()
            except Exception as error:  # whatever torch.func cannot do with a user's network
                first = str(error).strip().splitlines()
                return (
                    None,
                    f"{unknown}, and torch.func.vmap fails: {first[0] if first else error!r}",
                )
            return "vmap", ""

    def rival(self, kind: str) -> str | None:
        """Another kind of stack for the same networks, to be compared with that one."""
        floats = self._device.type == "cpu" and self._dtype == torch.float32
        if kind == "dense" and floats and may_gain_from_onednn(self._build(), len(self._x)):
            return "onednn"
        return None

    def alone(
        self, channels_last: bool, dtype: torch.dtype | None = None, *, fused: bool = True
    ) -> Trained:
        """One network by itself."""
        network = self._initialised(0, dtype)
        if channels_last:
            use_channels_last(network)
        optimizer = self._rule.build_optimizer(network.parameters(), fused=fused)
        x = self._x.to(dtype or self._dtype)

        def step() -> Tensor:
            optimizer.zero_grad()
            with self._autocast():
                inputs = in_channels_last(x) if channels_last else x
                loss = self._rule.loss(network(inputs), self._y)
            loss.backward()  # type: ignore[no-untyped-call]
            self._rule.clip(network.parameters())
            optimizer.step()
            return loss.detach()

        return Trained(step, lambda: _vector(network))

    def stack(
        self,
        kind: str,
        size: int,
        channels_last: bool,
        dtype: torch.dtype | None = None,
        *,
        fused: bool = True,
        own_inputs: bool = False,
    ) -> Trained:
        """A stack; the weights are its last member's, the same network whatever the size.

        Args:
            kind, size, channels_last, dtype, fused: of the stack and its optimiser.
            own_inputs: whether every member has the examples in memory of its own, as members with
                different seeds do.
        """
        pattern = self._initialised(0, dtype)
        stack = STACKS[kind](pattern, size).train()
        for member in range(size):
            source = self._initialised(size - 1 - member, dtype)
            stack.load_member(member, source)
        parameters = list(stack.parameters())
        optimizer = StackedOptimizer(parameters, [self._rule.lr] * size, self._rule, fused=fused)
        x = self._x.to(dtype or self._dtype).expand(size, *self._x.shape)
        x = x.contiguous() if own_inputs else x

        def differentiated() -> Tensor:
            optimizer.zero_grad()
            inputs = x.flatten(0, 1)
            y = self._y.expand(size, *self._y.shape).flatten(0, 1)
            with self._autocast():
                if channels_last:
                    inputs = in_channels_last(inputs)
                losses = functional.cross_entropy(
                    stack(inputs), y, reduction="none", label_smoothing=self._rule.label_smoothing
                )
                loss = losses.view(size, -1).mean(dim=1).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        def step() -> Tensor:
            if isinstance(stack, DenseStack):
                y = self._y.expand(size, *self._y.shape)
                loss = stack.gradients(x, y, self._rule.label_smoothing)[0, 0, 0]
            else:
                loss = differentiated()
            if self._rule.gradient_clip > 0:
                clip_each_(parameters, self._rule.gradient_clip)
            optimizer.step()
            return loss

        def weights() -> Tensor:
            stack.store_member(size - 1, pattern)
            return _vector(pattern)

        return Trained(step, weights)

    def agrees(self, form: Form) -> bool:
        """Whether a member of such a stack gets the weights that it gets alone.

        In float64 to rounding, compared with a lone network after two steps; and in the recipe's
        precision to the last bit in stacks of one, two, and the form's size or three if that is
        less, and with examples of its own.
        """
        kind, channels_last, fused = form.kind, form.channels_last, form.fused
        with torch.random.fork_rng(devices=[]):
            single = _after_two(self.alone(channels_last, torch.float64, fused=fused))
            member = _after_two(self.stack(kind, 2, channels_last, torch.float64, fused=fused))
            if not torch.allclose(single, member, rtol=1e-8, atol=1e-10):
                return False
            first, *others = [
                _after_two(
                    self.stack(kind, count, channels_last, fused=fused, own_inputs=own_inputs)
                )
                for count, own_inputs in (
                    (1, False),
                    (2, False),
                    (2, True),
                    (max(3, form.size), False),
                )
            ]
        return all(torch.equal(first, other) for other in others)

    def _initialised(self, seed: int, dtype: torch.dtype | None) -> nn.Module:
        network = self._build()
        HeNormal()(network, seed=seed)
        return network.to(self._device, dtype or self._dtype).train()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed)


def _vector(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _after_two(trained: Trained) -> Tensor:
    torch.manual_seed(0)
    trained.step()
    trained.step()
    return trained.weights()


def rate(trained: Trained, members: int) -> float:
    """Model-steps per second, from the fastest step within a short time."""
    trained.step()
    fastest, spent, count = float("inf"), 0.0, 0
    while spent < _SECONDS or count < 2:
        started = time.perf_counter()
        trained.step().item()  # waits for the device
        seconds = time.perf_counter() - started
        fastest, spent, count = min(fastest, seconds), spent + seconds, count + 1
    return members / fastest


def first_line(error: Exception) -> str:
    """What an exception says, on one line."""
    return (str(error).strip() or repr(error)).splitlines()[0]
