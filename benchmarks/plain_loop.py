"""The loop that a researcher writes by hand over tensors in memory.

    python benchmarks/plain_loop.py [--repeats 5] [--only mnist --data-root FOLDER]

Batches come from the project's own loaders, so that both sides see the same ones; nothing is logged
or recorded. It trains the same network from the same weights as the engine does.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from datamodules import get_datamodule
from initializers import get_initializer
from lightning_modules import build_network
from studies.engine.run import Arm, Environment, Recipe, Run

CASES = {
    "digits, lenet_300_100, batch 50": Recipe("digits", "lenet_300_100", 10, 50),
    "fashion_mnist, lenet_300_100, batch 60": Recipe(
        "fashion_mnist", "lenet_300_100", 3, 60, lr=1.2e-3, train_limit=6000
    ),
    "cifar10, conv4, batch 60": Recipe("cifar10", "conv4", 1, 60, lr=3e-4, train_limit=1500),
}


@functools.lru_cache(maxsize=2)
def _loaded(data: str, root: str | None, split_seed: int, train_limit: int | None) -> Any:
    module: Any = get_datamodule(data, root=root, split_seed=split_seed, train_limit=train_limit)
    module.describe()  # loads the tensors, which the copies below share
    return module


def load_data(run: Run, environment: Environment) -> Any:
    """The run's DataModule; its tensors are loaded once per process."""
    recipe = run.effective_recipe
    module = _loaded(recipe.data, environment.data_root, recipe.split_seed, recipe.train_limit)
    augment = None if recipe.augment == "none" else recipe.augment
    return module.with_options(batch_size=recipe.batch_size, seed=run.seed, augment=augment)


def make_optimizer(network: nn.Module, recipe: Recipe, *, fused: bool) -> torch.optim.Optimizer:
    """The recipe's optimiser, in PyTorch's default or in its fused form."""
    # None lets PyTorch choose; an explicit False would rule its other fast forms out.
    common: dict[str, Any] = {
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
        "fused": True if fused else None,
    }
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), momentum=recipe.momentum, **common)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(network.parameters(), **common)


def fit_plain(
    run: Run, environment: Environment, *, fused: bool, channels_last: bool = False
) -> tuple[float, float]:
    """Train one run by hand, with a validation pass after every epoch.

    Args:
        run: what to train; the test split is not opened.
        environment: where the data are; training happens on the CPU.
        fused: the optimiser's fused form rather than the default one.
        channels_last: memory format of network and batches; for images only.

    Returns:
        Wall seconds without loading the data, and the last validation accuracy as a fraction.

    Raises:
        ValueError: a recipe with a schedule, mixed precision or gradient clipping.
    """
    recipe = run.effective_recipe
    if recipe.schedule != "constant" or recipe.warmup_epochs or recipe.gradient_clip:
        raise ValueError("The plain loop knows no schedule, no warm-up and no clipping.")
    if recipe.precision != "32-true":
        raise ValueError("The plain loop trains in float32.")
    data = load_data(run, environment)
    layout = torch.channels_last if channels_last else torch.contiguous_format  # copies nothing
    started = time.perf_counter()
    network = build_network(
        recipe.network, input_shape=data.input_shape, num_classes=data.num_classes
    )
    get_initializer(dict(run.arm.initializer))(network, seed=run.seed)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, recipe, fused=fused)
    batches, validation = data.train_dataloader(), data.val_dataloader()
    accuracy = 0.0
    for _ in range(recipe.epochs):
        network.train()
        for x, y in batches:
            optimizer.zero_grad()
            logits = network(x.contiguous(memory_format=layout))
            loss = functional.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        correct, examples = 0, 0
        with torch.inference_mode():
            for x, y in validation:
                logits = network(x.contiguous(memory_format=layout))
                correct += int((logits.argmax(1) == y).sum())
                examples += len(y)
        accuracy = correct / examples
    return time.perf_counter() - started, accuracy


def train_plain(
    run: Run, environment: Environment, *, fused: bool, channels_last: bool = False
) -> float:
    """Wall seconds of one training by hand; see `fit_plain`."""
    return fit_plain(run, environment, fused=fused, channels_last=channels_last)[0]


def main() -> None:
    """Time a few trainings of each case and print steps per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="digits", help="the cases whose name contains this")
    parser.add_argument("--data-root", help="folder of the data files; unused for digits")
    options = parser.parse_args()
    environment = Environment(options.data_root, "cpu")
    torch.set_num_threads(1)
    print(f"{'case':<40}{'side':<24}{'median s':>9}{'steps/s':>9}{'val':>8}")
    for name, recipe in CASES.items():
        if options.only not in name:
            continue
        run = Run(recipe, Arm("he_normal", {"name": "he_normal"}), 0)
        steps = recipe.epochs * len(load_data(run, environment).train_dataloader())
        # Without a convolution the memory format changes nothing.
        sides = [(False, False), (True, False)] + [(True, True)] * ("conv" in recipe.network)
        times: dict[tuple[bool, bool], list[float]] = {side: [] for side in sides}
        accuracies: dict[tuple[bool, bool], float] = {}
        for repeat in range(options.repeats + 1):
            for fused, last in sides:
                seconds, accuracies[fused, last] = fit_plain(
                    run, environment, fused=fused, channels_last=last
                )
                if repeat:  # the first round warms up
                    times[fused, last].append(seconds)
        for (fused, last), values in times.items():
            side = ("fused" if fused else "default") + (", channels last" if last else "")
            median = statistics.median(values)
            print(
                f"{name:<40}{side:<24}{median:>9.3f}{steps / median:>9.0f}"
                f"{accuracies[fused, last]:>8.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
