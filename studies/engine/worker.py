"""Trains runs. Imports the heavy libraries, so only processes that train import this module."""

from __future__ import annotations

import gc
import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch

from initializers import get_initializer
from lightning_modules import (
    Member,
    Optimization,
    StackedBatches,
    StackedClassifier,
    WholeEpoch,
    WholeEpochClassifier,
)
from studies.engine.checkpoints import EpochCheckpoint
from studies.engine.data import describe, load_data
from studies.engine.diagnosis.training import callback_for, plain
from studies.engine.forms import ALONE, Form
from studies.engine.run import Environment, Result, Run
from studies.engine.trainer import make_trainer

# Lightning 2.6 asks new versions of torch for pytree leaves in a deprecated way, at every start.
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
# The loaders index tensors in memory: there are no worker processes to ask for.
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
# On a cluster's login or compute node a worker that trains alone is no mistake.
warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
# Several devices test on equal shares of distinct examples: nothing is counted twice.
warnings.filterwarnings("ignore", message=".*it is recommended to use.*devices=1.*")
# Where srun is installed: a training by one process needs none.
warnings.filterwarnings("ignore", message=".*srun.*is not used.*")
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def use_one_thread() -> None:
    """One torch thread per process: small batches lose far more to threads than they gain."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if not torch.cuda.is_available():
        # Every optimiser step asks again; with no device visible the answer is quick.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # What was imported stays for ever: the collection after every run need not look at it.
    gc.collect()
    gc.freeze()


def run_group(runs: Sequence[Run], environment: Environment, form: Form) -> list[Result]:
    """Train runs that `studies.engine.forms.gather` put together; results in their order."""
    single = [not form.stacked or _is_single(run) for run in runs]
    together = [run for run, alone in zip(runs, single, strict=True) if not alone]
    stacked = iter(run_stack(together, environment, form) if together else ())
    return [
        run_one(run, environment, form=form) if alone else next(stacked)
        for run, alone in zip(runs, single, strict=True)
    ]


def _is_single(run: Run) -> bool:
    """Whether a training method, or an initialiser that comes with learning rates, rules out
    stacks.
    """
    initializer = get_initializer(dict(run.arm.initializer))
    return run.arm.method is not None or initializer.sets_rates()


def run_one(
    run: Run,
    environment: Environment,
    checkpoint: Path | None = None,
    *,
    form: Form = ALONE,
    quiet: bool = True,
) -> Result:
    """Train one run by itself, from its initialisation to its final figures.

    Args:
        run: what to train.
        environment: where.
        checkpoint: file for the trained model; None keeps none.
        form: memory format and optimiser; how to stack is of no account.
        quiet: False prints a line per epoch.

    Raises:
        ValueError, DataError: a recipe that cannot be trained.
        KeyboardInterrupt: Ctrl-C during training.
    """
    recipe = run.effective_recipe
    data = load_data(recipe, environment, run.seed)
    module = WholeEpochClassifier(
        recipe.network,
        dict(run.arm.initializer),
        **recipe.optimization(),
        seed=run.seed,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        channels_last=form.channels_last,
        fused=form.fused,
        method=run.arm.method,
    )
    saver = EpochCheckpoint(environment, [run], module)
    diagnostics = callback_for(data, environment)
    callbacks = [SeedDraws(run.seed), saver, *diagnostics, *([] if quiet else [_EpochLines()])]
    trainer = make_trainer(recipe, environment, callbacks)
    with torch.random.fork_rng(devices=[]):
        batches = WholeEpoch(data.train_dataloader())
        _fit(trainer, module, batches, data.val_dataloader(), saver)
        if checkpoint is not None:
            trainer.save_checkpoint(checkpoint)
        if run.test and not module.diverged:
            trainer.test(module, data.test_dataloader(), verbose=False)
    (record,) = saver.records()
    if module.applied is not None:
        record["method"] = module.applied.report()
    result = _result(
        run, module.history, module.tested, record, describe(data), saver.times(),
        plain(diagnostics),
    )  # fmt: skip
    saver.remove()
    # Trainer and module refer to each other; left to chance, their memory piles up.
    del module, trainer, saver, callbacks, diagnostics
    gc.collect()
    return result


def run_stack(runs: Sequence[Run], environment: Environment, form: Form) -> list[Result]:
    """Train runs as the members of one stack; each result is the one of `run_one` to rounding.

    Args:
        runs: runs that differ in arm and learning rate, and in the seed if the form mixes seeds.
        environment: where.
        form: how to stack.

    Raises:
        ValueError, DataError: a recipe that cannot be trained or stacked.
        KeyboardInterrupt: Ctrl-C during training.
    """
    recipe = runs[0].effective_recipe
    seeds = list(dict.fromkeys(run.seed for run in runs))
    data = {seed: load_data(recipe, environment, seed) for seed in seeds}
    first = data[seeds[0]]
    module = StackedClassifier(
        recipe.network,
        [
            Member(get_initializer(dict(run.arm.initializer)), run.seed, run.effective_recipe.lr)
            for run in runs
        ],
        Optimization(**recipe.optimization()),
        input_shape=first.input_shape,
        num_classes=first.num_classes,
        form=form.kind,
        block=form.size,
        channels_last=form.channels_last,
        fused=form.fused,
    )
    saver = EpochCheckpoint(environment, runs, module)
    diagnostics = callback_for(first, environment)
    trainer = make_trainer(recipe, environment, [SeedDraws(seeds[0]), saver, *diagnostics])
    with torch.random.fork_rng(devices=[]):
        batches = StackedBatches({seed: each.train_dataloader() for seed, each in data.items()})
        _fit(trainer, module, batches, first.val_dataloader(), saver)
        if runs[0].test and module.active:
            trainer.test(module, first.test_dataloader(), verbose=False)
    description, records, (started, seconds) = describe(first), saver.records(), saver.times()
    results = [
        _result(
            run,
            module.histories[position],
            module.tested[position],
            records[position],
            description,
            (started, seconds / len(runs)),
            plain(diagnostics, position),
        )
        for position, run in enumerate(runs)
    ]
    saver.remove()
    del module, trainer, saver
    gc.collect()
    return results


_TESTED = ("test_loss", "test_accuracy")  # a result's own fields


class SeedDraws(pl.Callback):
    """Seeds the global generator at the start of every epoch, from which dropout draws.


    The same numbers for every arm, others in each process, which has other examples; and the same
    numbers when a training continues from an epoch.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed by run, epoch and process."""
        torch.manual_seed(
            self._seed + 1_000_003 * trainer.global_rank + 7_919 * trainer.current_epoch
        )


def _fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    train: Any,
    validation: Any,
    saver: EpochCheckpoint,
) -> None:
    try:
        trainer.fit(module, train, validation, ckpt_path=saver.found, weights_only=True)
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from error


def _result(
    run: Run,
    history: Sequence[Mapping[str, float]],
    tested: Mapping[str, float],
    record: Mapping[str, Any],
    data: Mapping[str, Any],
    times: tuple[float, float],
    diagnostics: Mapping[str, Any],
) -> Result:
    diverged = not all(math.isfinite(value) for value in history[-1].values())
    worst = 0.0 if run.test else None
    return Result(
        key=run.key,
        status="diverged" if diverged else "finished",
        history=tuple(
            {name: value if math.isfinite(value) else None for name, value in epoch.items()}
            for epoch in history
        ),
        val_accuracy=0.0 if diverged else history[-1]["val_accuracy"],
        test_accuracy=worst if diverged else tested.get("test_accuracy"),
        test_loss=None if diverged else tested.get("test_loss"),
        started=times[0],
        seconds=times[1],
        initialization=record,
        data=data,
        diagnostics=diagnostics,
        extra={} if diverged else {name: tested[name] for name in tested if name not in _TESTED},
    )


class _EpochLines(pl.Callback):
    """Prints each epoch's figures."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._print(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._print(trainer, pl_module)

    def _print(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        history = cast(WholeEpochClassifier, pl_module).history
        if history:
            figures = "  ".join(f"{name} {value:.4f}" for name, value in history[-1].items())
            print(f"epoch {len(history)}/{trainer.max_epochs}  {figures}", flush=True)
