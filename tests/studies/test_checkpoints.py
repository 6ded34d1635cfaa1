"""Trainings that are stopped between epochs and continue from their checkpoint."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
import pytest

from studies.engine import worker
from studies.engine.checkpoints import EpochCheckpoint
from studies.engine.forms import ALONE, Form
from studies.engine.run import Arm, Environment, Recipe, Result, Run
from tests.studies.stack_parts import timeless

NET = "tests.studies.own_parts:Net"  # with dropout

RECIPE = Recipe("digits", "lenet_300_100", 5, 100, schedule="cosine", train_limit=300)
ARMS = [Arm("He", {"name": "he_normal"}), Arm("Glorot", {"name": "glorot_normal"})]


class StoppedError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Training dies right after the checkpoint of the epoch in this list; empty it to live."""
    epochs: list[int] = []
    save = EpochCheckpoint.on_train_epoch_end

    def saved(self: EpochCheckpoint, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        save(self, trainer, pl_module)
        if trainer.current_epoch + 1 in epochs:
            raise StoppedError

    monkeypatch.setattr(EpochCheckpoint, "on_train_epoch_end", saved)
    return iter([epochs])


def train(runs: list[Run], form: Form, environment: Environment) -> list[Result]:
    return worker.run_group(runs, environment, form)


@pytest.mark.parametrize("form", [ALONE, Form("dense", 2), Form("layers", 1, 2)], ids=str)
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        dataclasses.replace(RECIPE, network=NET, optimizer="sgd", schedule="constant"),
    ],
    ids=["adam", "dropout"],
)
def test_a_stopped_training_goes_on_to_the_same_numbers(
    form: Form, recipe: Recipe, stop_after: Iterator[list[int]], tmp_path: Path
) -> None:
    if form.kind == "dense" and recipe.network == NET:
        form = Form("layers", 2)
    epochs = next(stop_after)
    runs = [Run(recipe, arm, 3, test=True) for arm in ARMS[: 2 if form.stacked else 1]]
    whole = train(runs, form, Environment())
    saving = Environment(checkpoints=str(tmp_path), checkpoint_every=2)
    for last in (2, 4):
        epochs[:] = [last]
        with pytest.raises(StoppedError):
            train(runs, form, saving)
        assert len(list(tmp_path.iterdir())) == 1
    epochs.clear()
    resumed = train(runs, form, saving)
    assert timeless(resumed) == timeless(whole)
    assert list(tmp_path.iterdir()) == []
    first = resumed[0]
    assert first.seconds > 0
    assert first.initialization["layers"]


def test_other_runs_do_not_take_the_checkpoint(
    stop_after: Iterator[list[int]], tmp_path: Path
) -> None:
    epochs = next(stop_after)
    saving = Environment(checkpoints=str(tmp_path), checkpoint_every=1)
    epochs[:] = [3]
    with pytest.raises(StoppedError):
        train([Run(RECIPE, ARMS[0], 0)], ALONE, saving)
    epochs.clear()
    other = [Run(RECIPE, ARMS[0], 1)]
    assert timeless(train(other, ALONE, saving)) == timeless(train(other, ALONE, Environment()))
    assert len(list(tmp_path.iterdir())) == 1
