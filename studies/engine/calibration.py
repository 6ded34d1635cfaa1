"""Which form of training is the fastest here, measured on a few steps and remembered."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from initializers import HeNormal
from lightning_modules import Optimization, build_network
from lightning_modules.memory_format import in_channels_last, use_channels_last
from lightning_modules.stacking import (
    STACKS,
    DenseStack,
    NotStackableError,
    StackedOptimizer,
    clip_each_,
    refuse_other_than_chain,
    refuse_unknown,
)
from studies.engine.data import load_data
from studies.engine.forms import Form
from studies.engine.memory import available_memory, step_memory
from studies.engine.run import Environment, Recipe, content_hash
from studies.engine.trainer import make_trainer

SIZES = (2, 4, 8, 16, 32)
# Another form has to be clearly faster: near a tie, noise would decide, and with it last digits.
ADVANTAGE = 1.05
_SECONDS = 0.08  # measured per candidate, at least two steps
# A Trainer's own work counts where all steps of a stack take less than some seconds: then
# several stacks share one.
_SHORT, _BLOCKS = 2.0, 4
_SHARE = 0.5  # of the free memory that the stacks of all workers may take


class Trained(NamedTuple):
    """Something that can be trained step by step.

    Args:
        step: carries out one step and returns a number that depends on it.
        weights: gives the parameters of one network as a vector.
    """

    step: Callable[[], Tensor]
    weights: Callable[[], Tensor]


def calibrate(recipe: Recipe, environment: Environment, workers: int) -> Form:
    """The form in which this device trains a recipe's runs fastest.

    Remembered for the same recipe, device and version of torch in the user's cache, so that the
    same command trains in the same form next time.

    Args:
        recipe: what will be trained.
        environment: where.
        workers: processes that will train at the same time; they share the memory.
    """
    data = load_data(recipe, environment)
    device = make_trainer(recipe, environment).strategy.root_device
    facts = {
        "version": 1,
        "network": recipe.network,
        "shape": [*data.input_shape, data.num_classes],
        "batch_size": recipe.batch_size,
        "optimization": recipe.optimization() | {"lr": None, "milestones": None},
        "precision": recipe.precision,
        "device": _name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    file = _memory() / f"{content_hash(facts)}.json"
    if file.exists():
        return Form(**json.loads(file.read_text())["form"]).bounded(
            _most(recipe, data, device, workers)
        )
    form = _measure(recipe, data, device, workers)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps({"facts": facts, "form": form.to_dict()}, indent=1) + "\n")
    part.replace(file)
    return form


def _measure(recipe: Recipe, data: Any, device: torch.device, workers: int) -> Form:
    bench = Bench(recipe, data, device)
    rates = {"default format": _rate(bench.alone(False), 1)}
    if bench.has_images:
        rates["channels-last format"] = _rate(bench.alone(True), 1)
    channels_last = rates.get("channels-last format", 0.0) > ADVANTAGE * rates["default format"]
    alone = rates["channels-last format" if channels_last else "default format"]
    layout = f" in {'channels-last' if channels_last else 'default'} format" * bench.has_images
    single = Form("alone", channels_last=channels_last, rate=alone)
    kind, reason = bench.kind()
    if kind is None:
        return _because(single, reason)
    most = _most(recipe, data, device, workers)
    if most < 2:
        return _because(single, "two networks at once would not fit into the memory")
    stacked: dict[int, float] = {}
    for size in (size for size in SIZES if size <= most):
        rate = _rate(bench.stack(kind, size, channels_last), size)
        stacked[size] = rate
        if rate < 0.9 * max(stacked.values()) or rate < 0.8 * alone:
            break
    for size in stacked:  # a second look, because one moment's disturbance must not decide
        again = _rate(bench.stack(kind, size, channels_last), size)
        stacked[size] = max(stacked[size], again)
    best = max(stacked.values())
    measured = f"{_round(best)} steps/s in stacks, {_round(alone)} one by one{layout}"
    if best < ADVANTAGE * alone:
        return _because(single, measured)
    if not bench.agrees(kind, channels_last):
        return _because(single, "in a stack its networks would influence each other's numbers")
    size = min(size for size, rate in stacked.items() if rate > 0.97 * best)
    steps = recipe.epochs * len(data.train_dataloader())
    short = size * steps / stacked[size] < _SHORT
    return Form(
        kind,
        size,
        max(1, min(_BLOCKS, most // size)) if short else 1,
        channels_last,
        not bench.draws and hasattr(data, "with_options"),
        stacked[size],
        measured,
    )


def _round(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _because(form: Form, reason: str) -> Form:
    return dataclasses.replace(form, reason=reason)


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
        shape, classes = tuple(data.input_shape), int(data.num_classes)
        self._build = functools.partial(
            build_network, recipe.network, input_shape=shape, num_classes=classes
        )
        self._dtype = torch.float64 if recipe.precision == "64-true" else torch.float32
        self._mixed = recipe.precision.endswith("-mixed")
        x, y = next(iter(data.train_dataloader()))
        self._x, self._y = x.to(device), y.to(device)
        network = self._build()
        convolutions = (nn.Conv2d, nn.ConvTranspose2d)
        self.has_images = x.dim() == 4 and any(
            isinstance(m, convolutions) for m in network.modules()
        )
        state = torch.get_rng_state()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            network.train()(self._x[:2].cpu())
            #: whether a training pass draws random numbers (dropout)
            self.draws = not torch.equal(torch.get_rng_state(), state)

    def kind(self) -> tuple[str | None, str]:
        """The kind of stack that the network allows, or None and why."""
        network = self._build()
        try:
            if not self._mixed:
                refuse_other_than_chain(network)
                return "dense", ""
        except NotStackableError:
            pass
        try:
            refuse_unknown(network)
            return "layers", ""
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

    def alone(self, channels_last: bool, dtype: torch.dtype | None = None) -> Trained:
        """One network by itself."""
        network = self._initialised(0, dtype)
        if channels_last:
            use_channels_last(network)
        optimizer = self._rule.build_optimizer(network.parameters())
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
        self, kind: str, size: int, channels_last: bool, dtype: torch.dtype | None = None
    ) -> Trained:
        """A stack; the weights are its last member's, the same network whatever the size."""
        pattern = self._initialised(0, dtype)
        stack = STACKS[kind](pattern, size).train()
        for member in range(size):
            source = self._initialised(size - 1 - member, dtype)
            stack.load_member(member, source)
        parameters = list(stack.parameters())
        optimizer = StackedOptimizer(parameters, [self._rule.lr] * size, self._rule)
        x = self._x.to(dtype or self._dtype)

        def differentiated() -> Tensor:
            optimizer.zero_grad()
            inputs = x.expand(size, *x.shape).flatten(0, 1)
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
                inputs, y = x.expand(size, *x.shape), self._y.expand(size, *self._y.shape)
                loss = stack.gradients(inputs, y, self._rule.label_smoothing)[0, 0, 0]
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

    def agrees(self, kind: str, channels_last: bool) -> bool:
        """Whether a member of a stack gets the weights that it gets alone.

        In float64 to rounding, compared with a lone network after two steps; and in the recipe's
        precision to the last bit whatever the size of the stack.
        """
        with torch.random.fork_rng(devices=[]):
            single = _after_two(self.alone(channels_last, torch.float64))
            member = _after_two(self.stack(kind, 2, channels_last, torch.float64))
            if not torch.allclose(single, member, rtol=1e-8, atol=1e-10):
                return False
            sizes = [_after_two(self.stack(kind, size, channels_last)) for size in (1, 2, 3)]
        return all(torch.equal(sizes[0], other) for other in sizes[1:])

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


def _rate(trained: Trained, members: int) -> float:
    """Model-steps per second, from the fastest step within a short time."""
    trained.step()
    fastest, spent, count = float("inf"), 0.0, 0
    while spent < _SECONDS or count < 2:
        started = time.perf_counter()
        trained.step().item()  # waits for the device
        seconds = time.perf_counter() - started
        fastest, spent, count = min(fastest, seconds), spent + seconds, count + 1
    return members / fastest


def _most(recipe: Recipe, data: Any, device: torch.device, workers: int) -> int:
    """Networks that fit into this worker's share of the memory."""
    bench = Bench(recipe, data, device)
    needed = step_memory(bench.alone(False).step, bench._initialised(0, None))
    return int(_SHARE * available_memory(device) / max(1, workers) / needed)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = ()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def _memory() -> Path:
    """Folder of what was measured before, beside the downloaded data."""
    from datamodules.options import default_root

    return default_root().parent / "calibration"
