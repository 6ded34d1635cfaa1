"""The Trainer of one training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import lightning.pytorch as pl

from studies.engine.run import Environment, Recipe


def make_trainer(
    recipe: Recipe, environment: Environment, callbacks: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """A Trainer without logger, checkpoints and bars: results are taken from the module."""
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
