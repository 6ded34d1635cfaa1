"""What the framework adds to a training step: one run of the engine against a plain loop.

    python benchmarks/step_overhead.py [--repeats 7]

Both sides train the same network from the same weights on the same batches, with fused Adam and
one validation pass per epoch, on one thread; whole trainings are timed, the engine's with its
Trainer and everything that it sets up. The plain loop is what a researcher would write by hand
over tensors in memory.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch.nn import functional

from initializers import get_initializer
from lightning_modules import build_network
from studies.engine import worker
from studies.engine.data import load_data
from studies.engine.run import Arm, Environment, Recipe, Run

CASES = {
    "digits, lenet_300_100, batch 50": Recipe("digits", "lenet_300_100", 10, 50),
    "digits, conv2, batch 50": Recipe("digits", "conv2", 2, 50),
}


def plain(run: Run, environment: Environment, fused: bool) -> float:
    recipe = run.recipe
    data = load_data(recipe, environment, run.seed)
    started = time.perf_counter()
    network = build_network(
        recipe.network, input_shape=data.input_shape, num_classes=data.num_classes
    )
    get_initializer(dict(run.arm.initializer))(network, seed=run.seed)
    optimizer = torch.optim.Adam(network.parameters(), recipe.lr, fused=fused)
    batches, validation = data.train_dataloader(), data.val_dataloader()
    for _ in range(recipe.epochs):
        network.train()
        for x, y in batches:
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            for x, y in validation:
                (network(x).argmax(1) == y).double().mean().item()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    worker.use_one_thread()
    environment = Environment(accelerator="cpu")
    print(f"{'case':<34}{'side':<26}{'median s':>9}{'steps/s':>9}{'ratio':>7}")
    for name, recipe in CASES.items():
        run = Run(recipe, Arm("he_normal", {"name": "he_normal"}), 0)
        sides = {
            "plain loop, fused Adam": lambda run=run: plain(run, environment, True),
            "plain loop, default Adam": lambda run=run: plain(run, environment, False),
            "engine": lambda run=run: worker.run_one(run, environment).seconds,
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        for repeat in range(repeats + 1):
            for side, measure in sides.items():
                seconds = measure()
                if repeat:  # the first round warms up
                    times[side].append(seconds)
        steps = recipe.epochs * len(load_data(recipe, environment).train_dataloader())
        base = statistics.median(times["plain loop, fused Adam"])
        for side, values in times.items():
            median = statistics.median(values)
            print(f"{name:<34}{side:<26}{median:>9.3f}{steps / median:>9.0f}{median / base:>7.2f}")


if __name__ == "__main__":
    main()
