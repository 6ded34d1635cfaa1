"""How fast trainings are: the usual way, a loop by hand, and the engine one by one and in stacks.

    python benchmarks/training_speed.py [--data-root FOLDER] [--only CASE] [--repeats 5]
        [--skip-usual] [--plot FILE.png]

Timed are whole trainings with a validation pass after every epoch, on one thread, the sides in
turns. The usual way (`usual_way.py`, its MLflow run and Optuna trial included) and the loops by
hand (`plain_loop.py`, which record nothing) run in this process, as it comes. The engine trains in
a worker process of its own, as in a study: its seconds run from handing over all runs until the
last one is written to MLflow, in a local SQLite store; the form is calibrated afresh.

Shown are medians, per training. A model-step is one optimiser step of one network. The data sets
are cut so that a training takes about a second: where it has few steps, the pass over the full
validation split is a large part of it, on all sides alike.
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # not in the workers, which import this file too
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("MKL_CBWR", None)

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from speed_bench import Bench, Case, medians, open_bench
from torch import Tensor, nn

from datamodules.options import default_root
from studies.engine.forms import ALONE, Form
from studies.engine.run import Environment, Recipe

SIZES = (1, 2, 4, 8, 16, 32)
USUAL, DEFAULT, FUSED = "usual way", "by hand, default", "by hand, fused"
LONE, STACKED = "engine, one by one", "engine, calibrated"


class SmallCNN(nn.Module):
    """A network as a user would write it, given to the engine by its import path.

    Args:
        input_shape: shape of an image.
        num_classes: number of logits.
    """

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(32 * (height // 4) * (width // 4), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.classifier(self.flatten(self.features(x)))
        return logits


CASES = {
    "digits, lenet_300_100, batch 50": Case(Recipe("digits", "lenet_300_100", 10, 50), 32, 4),
    "fashion_mnist, lenet_300_100, batch 60": Case(
        Recipe("fashion_mnist", "lenet_300_100", 2, 60, lr=1.2e-3, train_limit=12000), 32, 2
    ),
    "fashion_mnist, small CNN, batch 64": Case(
        Recipe("fashion_mnist", "training_speed:SmallCNN", 1, 64, "sgd", lr=0.05, train_limit=3840),
        4,
        1,
    ),
    "cifar10, conv2, batch 60": Case(
        Recipe("cifar10", "conv2", 1, 60, lr=2e-4, train_limit=1500), 2, 1
    ),
}


def compare(name: str, case: Case, bench: Bench, repeats: int, usual: bool) -> None:
    """Measure a case and print its part of the table."""
    form, steps = bench.calibrated(case), bench.steps(case)
    sides: dict[str, Callable[[], float]] = {
        DEFAULT: lambda: bench.plain(case, fused=False),
        FUSED: lambda: bench.plain(case, fused=True),
        LONE: lambda: bench.engine(case.runs(case.lone), ALONE),
        STACKED: lambda: bench.engine(case.runs(case.arms), form),
    }
    if usual:
        sides = {USUAL: lambda: bench.usual(case), **sides}
    seconds = medians(sides, repeats)
    print(f"\n{name}: {steps} steps per training, {case.arms} trainings at a time")
    sharing = f"; up to {form.blocks} stacks share a Trainer" if form.stacked else ""
    print(f"calibrated form: {form.describe()}{sharing}")
    print(f"{'':<22}{'s/training':>11}{'model-steps/s':>15}{'x usual':>9}{'x default':>11}", end="")
    print(f"{'x fused':>9}")
    for side, value in seconds.items():
        ratios = [
            f"{seconds[base] / value:.2f}" if base in seconds else "-"
            for base in (USUAL, DEFAULT, FUSED)
        ]
        print(f"{side:<22}{value:>11.4f}{steps / value:>15,.0f}", end="")
        print(f"{ratios[0]:>9}{ratios[1]:>11}{ratios[2]:>9}", flush=True)
    print(f"last round, calibrated: {bench.waited:.4f} s/training of waiting for MLflow at the end")


def by_size(case: Case, bench: Bench, repeats: int) -> tuple[list[float], float]:
    """Model-steps per second of stacks of each size, and by hand with a fused optimiser."""
    form = bench.calibrated(case)
    kind = form.kind if form.stacked else "dense"
    sides: dict[str, Callable[[], float]] = {FUSED: lambda: bench.plain(case, fused=True)}
    for size in SIZES:
        sides[str(size)] = lambda size=size: bench.engine(  # type: ignore[misc]
            case.runs(size), Form(kind, size), record=False
        )
    seconds, steps = medians(sides, repeats), bench.steps(case)
    return [steps / seconds[str(size)] for size in SIZES], steps / seconds[FUSED]


def plot(names: Sequence[str], bench: Bench, repeats: int, file: Path) -> None:
    """Draw model-steps per second over the size of a stack, one panel per case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        1, len(names), figsize=(4.6 * len(names), 3.6), squeeze=False, layout="constrained"
    )
    for axes, name in zip(panels[0], names, strict=True):
        rates, by_hand = by_size(CASES[name], bench, repeats)
        print(f"\n{name}: model-steps/s by size of the stack; {by_hand:,.0f} {FUSED}")
        print("  ".join(f"{s}: {r:,.0f}" for s, r in zip(SIZES, rates, strict=True)), flush=True)
        # Okabe and Ito's blue and vermilion; marker and line style tell them apart as well.
        axes.plot(SIZES, rates, color="#0072B2", marker="o", label="engine, stack")
        axes.axhline(by_hand, color="#D55E00", linestyle="--", label=FUSED)
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.set_ylim(0, 1.15 * max(*rates, by_hand))
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("networks in a stack")
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9")
        axes.legend(loc="lower right", frameon=False)
    panels[0][0].set_ylabel("model-steps per second")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    """Print the table and draw the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", help="folder of the data files; unused for digits")
    parser.add_argument("--only", default="", help="the cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count, >= 1")
    parser.add_argument("--skip-usual", action="store_true", help="leave the usual way out")
    parser.add_argument("--plot", type=Path, help="PNG file for speed over stack size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    from usual_way import quiet

    quiet()
    # A new store has no experiment yet, and it says so in every round.
    logging.getLogger("lightning.pytorch.loggers").setLevel(logging.ERROR)
    # Named, because the worker's own default is a temporary folder.
    environment = Environment(options.data_root or str(default_root()), "cpu")
    chosen = [name for name in CASES if options.only in name]
    with open_bench(environment) as bench:
        for name in chosen:
            compare(name, CASES[name], bench, options.repeats, not options.skip_usual)
        dense = [name for name in chosen if "lenet" in name]
        if options.plot is not None and dense:
            plot(dense, bench, options.repeats, options.plot)


if __name__ == "__main__":
    main()
