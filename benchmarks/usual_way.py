"""The usual way to train one network: Lightning, a DataLoader, an MLflow run, an Optuna trial.

    python benchmarks/usual_way.py [--trials 5] [--only mnist --data-root FOLDER]

It is what a user writes from the documentation of these libraries: torchvision transforms, a
DataLoader without worker processes, `self.log` in every step, torchmetrics, the optimiser as
PyTorch makes it by default, MLFlowLogger and Optuna on SQLite files. Everything else is left at its
default, except what only costs time here: no progress bar, no model summary, no checkpoints.
One training stands in `usual_training.py`, its data in `usual_data.py`; here are the Optuna trials.
Data sets and the MLflow store are opened once per process, outside of the figures. One thread.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import torch
from torch import nn
from usual_data import splits_of, steps_in
from usual_training import Initialize, Trained, train_usual

from studies.engine.run import Recipe

CASES = {
    "digits, lenet_300_100, batch 50": Recipe("digits", "lenet_300_100", 10, 50),
    "fashion_mnist, lenet_300_100, batch 60": Recipe(
        "fashion_mnist", "lenet_300_100", 3, 60, lr=1.2e-3, train_limit=6000
    ),
    "cifar10, conv4, batch 60": Recipe("cifar10", "conv4", 1, 60, lr=3e-4, train_limit=1500),
}


def he_normal(network: nn.Module, scale: float = 1.0) -> None:
    """He's initialisation by `torch.nn.init`, its standard deviation times `scale`."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data.mul_(scale)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def suggest_he(trial: optuna.Trial) -> Initialize:
    """He's initialisation with a scale that Optuna chooses."""
    return functools.partial(he_normal, scale=trial.suggest_float("scale", 0.25, 4.0, log=True))


def run_usual(
    recipe: Recipe,
    trials: int,
    *,
    suggest: Callable[[optuna.Trial], Initialize] = suggest_he,
    seeds: Sequence[int] | None = None,
    data_root: str | None = None,
    test: bool = False,
    accelerator: str = "cpu",
) -> list[Trained]:
    """Train in `study.optimize`, one training per trial; stores lie in a temporary folder.

    Args:
        recipe, data_root, test, accelerator: see `train_usual`.
        trials: number of trainings that count, >= 1; one more comes first, to warm up and to
            create MLflow's tables.
        suggest: makes an initialiser from a trial.
        seeds: seed per training; 0, 1, ... by default.

    Returns:
        One value per training; its seconds include Optuna's part.
    """
    quiet()
    splits_of(recipe, data_root)
    results: list[Trained] = []
    ends: list[float] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        tracking_uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"

        def objective(trial: optuna.Trial) -> float:
            position = max(trial.number - 1, 0)  # the first one warms up
            results.append(
                train_usual(
                    recipe,
                    suggest(trial),
                    position if seeds is None else seeds[position],
                    tracking_uri=tracking_uri,
                    data_root=data_root,
                    test=test,
                    accelerator=accelerator,
                )
            )
            return results[-1].val_accuracy

        study = optuna.create_study(
            study_name="usual",
            storage=f"sqlite:///{Path(folder) / 'optuna.db'}",
            sampler=optuna.samplers.TPESampler(seed=0),
            direction="maximize",
        )
        study.optimize(
            objective, trials + 1, callbacks=[lambda study, trial: ends.append(time.perf_counter())]
        )
    spans = [end - start for start, end in itertools.pairwise(ends)]
    return [result._replace(seconds=span) for result, span in zip(results[1:], spans, strict=True)]


def quiet() -> None:
    """Turn off the libraries' notes and the warnings that a user knows and leaves be."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in ("lightning.pytorch", "lightning.fabric", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def main() -> None:
    """Time a few trainings of each case and print steps per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5, help="trainings per case")
    parser.add_argument("--only", default="digits", help="the cases whose name contains this")
    parser.add_argument("--data-root", help="folder of the data files; unused for digits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'case':<40}{'median s':>9}{'steps/s':>9}{'val':>8}")
    for name, recipe in CASES.items():
        if options.only in name:
            results = run_usual(recipe, options.trials, data_root=options.data_root)
            median = statistics.median(result.seconds for result in results)
            accuracy = statistics.fmean(result.val_accuracy for result in results)
            rate = steps_in(recipe, options.data_root) / median
            print(f"{name:<40}{median:>9.3f}{rate:>9.0f}{accuracy:>8.4f}", flush=True)


if __name__ == "__main__":
    main()
