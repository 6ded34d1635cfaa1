"""Trains one run. Imports the heavy libraries, so only processes that train import this module."""

from __future__ import annotations

import functools
import gc
import logging
import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.nn.modules.batchnorm import _BatchNorm

from datamodules import TensorDataModule, get_datamodule
from initializers import get_initializer
from lightning_modules import Optimization, WholeEpoch, WholeEpochClassifier, build_network
from studies.engine.run import Environment, Recipe, Result, Run

# Lightning 2.6 asks new versions of torch for pytree leaves in a deprecated way, at every start.
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
# The loaders index tensors in memory: there are no worker processes to ask for.
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
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


@functools.lru_cache(maxsize=2)
def _loaded(data: str, root: str | None, split_seed: int, train_limit: int | None) -> Any:
    return get_datamodule(data, root=root, split_seed=split_seed, train_limit=train_limit)


def load_data(recipe: Recipe, environment: Environment, seed: int = 0) -> Any:
    """The recipe's DataModule, ready to use; the tensors of ours are loaded once per process.

    A user's own LightningDataModule is built anew for every run; `seed` and `batch_size` reach it
    if its constructor takes them.

    Raises:
        ValueError, DataError: it is unknown, incomplete, or its files are not there.
    """
    module = _loaded(recipe.data, environment.data_root, recipe.split_seed, recipe.train_limit)
    augment = None if recipe.augment == "none" else recipe.augment
    if isinstance(module, TensorDataModule):
        module.describe()  # load before it is copied: copies share the tensors
        return module.with_options(batch_size=recipe.batch_size, seed=seed, augment=augment)
    if augment is not None:
        raise ValueError(f"augment={augment!r} is not offered by the data set {recipe.data!r}.")
    takes = signature(type(module)).parameters
    module = get_datamodule(
        recipe.data,
        seed=seed,
        split_seed=recipe.split_seed,
        root=environment.data_root,
        train_limit=recipe.train_limit,
        batch_size=recipe.batch_size if "batch_size" in takes else None,
    )
    module.prepare_data()
    module.setup("fit")
    module.setup("test")
    return module


def describe(data: Any) -> dict[str, Any]:
    """Name, sizes and fingerprint of a DataModule; of a user's own, what its loaders tell."""
    if isinstance(data, TensorDataModule):
        return data.describe()
    loaders = {"n_train": data.train_dataloader(), "n_val": data.val_dataloader()}
    loaders["n_test"] = data.test_dataloader()
    return {
        "name": type(data).__name__,
        **{name: len(loader.dataset) for name, loader in loaders.items()},
        "input_shape": list(data.input_shape),
        "num_classes": data.num_classes,
        "fingerprint": "unknown",
    }


def inspect(
    recipe: Recipe, environment: Environment, arms: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Load the data and build every part once, so that a mistake shows before any training.

    Args:
        recipe: what will be trained.
        environment: where.
        arms: the initialisers, as plain data; each is applied to a fresh network.

    Returns:
        "data": description of the data set; "max_fan_in": the network's largest fan_in;
        "parameters": its number of trainable parameters; "accelerator": the device kind.

    Raises:
        ValueError, DataError: what is wrong, in one sentence.
    """
    Optimization(**recipe.optimization())
    initializers = [get_initializer(dict(arm)) for arm in arms]
    data = load_data(recipe, environment)
    shape, classes = data.input_shape, data.num_classes
    _check_batches(recipe.data, data)
    network = build_network(recipe.network, input_shape=shape, num_classes=classes)
    for initializer in initializers:
        initializer(network, seed=0)
    fan_ins = [layer.fan_in for layer in get_initializer("he_normal")(network, seed=0).layers]
    rest = describe(data)["n_train"] % recipe.batch_size
    if rest == 1 and any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        raise ValueError(
            f"The last batch of an epoch would hold one example, which batch normalisation cannot "
            f"train on: choose another batch size than {recipe.batch_size}."
        )
    try:
        trainer = _trainer(recipe, environment)
    except (MisconfigurationException, ValueError) as error:
        raise ValueError(f"--accelerator {environment.accelerator}: {error}") from error
    return {
        "data": describe(data),
        "max_fan_in": int(max(fan_ins)),
        "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
    }


def _check_batches(name: str, data: Any) -> None:
    """See that each loader gives a batch of (inputs, labels).

    Raises:
        ValueError: which one does not.
    """
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        try:
            batch = next(iter(getattr(data, loader)()))
        except (MisconfigurationException, NotImplementedError, TypeError, StopIteration) as error:
            raise ValueError(
                f"The data set {name!r} must give batches from {loader}() ({error})."
            ) from error
        pair = isinstance(batch, list | tuple) and len(batch) == 2
        if not (pair and all(isinstance(part, torch.Tensor) for part in batch)):
            raise ValueError(
                f"The data set {name!r} must give batches (inputs, labels) of two tensors from "
                f"{loader}(), not {type(batch).__name__}."
            )


def run_one(
    run: Run, environment: Environment, checkpoint: Path | None = None, *, quiet: bool = True
) -> Result:
    """Train one run from its initialisation to its final figures.

    Args:
        run: what to train.
        environment: where.
        checkpoint: file for the trained model; None keeps none.
        quiet: False prints a line per epoch.

    Raises:
        ValueError, DataError: a recipe that cannot be trained.
        KeyboardInterrupt: Ctrl-C during training.
    """
    started, clock = time.time(), time.perf_counter()
    recipe = run.effective_recipe
    data = load_data(recipe, environment, run.seed)
    module = WholeEpochClassifier(
        recipe.network,
        dict(run.arm.initializer),
        **recipe.optimization(),
        seed=run.seed,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
    )
    trainer = _trainer(recipe, environment, [] if quiet else [_EpochLines()])
    with torch.random.fork_rng(devices=[]):
        # Dropout and the like draw from the global generator: the same numbers for every arm.
        torch.manual_seed(run.seed)
        try:
            trainer.fit(module, WholeEpoch(data.train_dataloader()), data.val_dataloader())
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
        if checkpoint is not None:
            trainer.save_checkpoint(checkpoint)
        test: dict[str, float | None] = {"test_accuracy": None, "test_loss": None}
        if run.test and not module.diverged:
            trainer.test(module, data.test_dataloader(), verbose=False)
            test.update(module.tested)
    if module.diverged and run.test:
        test["test_accuracy"] = 0.0
    assert module.record is not None
    result = Result(
        key=run.key,
        status="diverged" if module.diverged else "finished",
        history=tuple(
            {name: value if math.isfinite(value) else None for name, value in epoch.items()}
            for epoch in module.history
        ),
        val_accuracy=0.0 if module.diverged else module.history[-1]["val_accuracy"],
        test_accuracy=test["test_accuracy"],
        test_loss=test["test_loss"],
        started=started,
        seconds=time.perf_counter() - clock,
        initialization=module.record.to_dict(),
        data=describe(data),
    )
    # Trainer and module refer to each other; left to chance, their memory piles up.
    del module, trainer
    gc.collect()
    return result


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


def _trainer(
    recipe: Recipe, environment: Environment, callbacks: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator=environment.accelerator,
        devices=1,
        callbacks=list(callbacks),
        precision=cast(Any, recipe.precision),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1_000_000,
    )
