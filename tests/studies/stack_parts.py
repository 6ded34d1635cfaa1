"""Networks that a user would bring, and what tests ask worker processes about stacks.

The promise of equal bits holds in worker processes, which set up their matrix library for it; so
the questions are asked there.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from studies.engine import calibration, worker
from studies.engine.bench import Bench
from studies.engine.data import load_data
from studies.engine.forms import Form
from studies.engine.run import Environment, Recipe, Result, Run

CPU = Environment(accelerator="cpu")
RECIPE = Recipe("digits", "lenet_300_100", epochs=2, batch_size=50, train_limit=300)
HERE = "tests.studies.stack_parts"


class Perceptron(nn.Module):
    """Flatten, Linear, something in the middle, Linear."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        middle: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        size = int(torch.tensor(input_shape).prod())
        self.first = nn.Linear(size, 16)
        self.middle = middle()
        self.last = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Any:
        return self.last(self.middle(self.first(x.flatten(1))))


class Scale(nn.Module):
    """A module with a parameter that no layer of torch owns."""

    def __init__(self, *, branching: bool = False) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(16))
        self.branching = branching

    def forward(self, x: Tensor) -> Tensor:
        # A look at a value is what torch.func.vmap cannot do.
        if self.branching and x.sum().item() > 1e9:
            return x
        return x.relu() * self.factor


class MinusBatchMean(nn.Module):
    """Without parameters, yet what it makes of an example depends on the rest of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(dim=0)).relu()


Scaled = functools.partial(Perceptron, middle=Scale)
Branching = functools.partial(Perceptron, middle=functools.partial(Scale, branching=True))
Centred = functools.partial(Perceptron, middle=MinusBatchMean)


def Hooked(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:  # noqa: N802
    """A network whose layer has a hook of the user's."""
    network = Perceptron(input_shape, num_classes)
    network.first.register_forward_hook(lambda module, inputs, output: 2 * output)
    return network


def bench(network: str) -> Bench:
    recipe = dataclasses.replace(RECIPE, network=network)
    return Bench(recipe, load_data(recipe, CPU), torch.device("cpu"))


def agrees(network: str, kind: str, channels_last: bool, fused: bool) -> bool:
    return bench(network).agrees(Form(kind, channels_last=channels_last, fused=fused))


def calibrated(cache: Path, recipe: Recipe, workers: int = 1, stack: int | None = None) -> Form:
    """A calibration that remembers in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.delenv("TERNARY_STUDIES_DATA", raising=False)
        return calibration.calibrate(recipe, CPU, workers, stack)


def timeless(results: Sequence[Result]) -> list[Result]:
    """Results without what the clock put into them."""
    return [dataclasses.replace(result, started=0, seconds=0) for result in results]


def in_parts(runs: Sequence[Run], form: Form, size: int) -> list[Result]:
    """Results of runs trained in stacks of so many."""
    parts = (runs[start : start + size] for start in range(0, len(runs), size))
    return timeless([result for part in parts for result in worker.run_stack(part, CPU, form)])


def settings(names: Sequence[str]) -> dict[str, str | None]:
    """Environment variables of this process."""
    return {name: os.environ.get(name) for name in names}
