"""Diagnostics beside the trainings of a study."""

import dataclasses
import json

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

from initializers import get_initializer
from lightning_modules import build_network
from lightning_modules.diagnostics import measure_signals, measure_strengths, summarise
from studies.engine import worker
from studies.engine.data import load_data
from studies.engine.diagnosis.batches import first_examples
from studies.engine.forms import Form
from studies.engine.records import run_record
from studies.engine.report.files import run_row
from studies.engine.run import Arm, Environment, Recipe, Result, Run

RECIPE = Recipe("digits", "mlp:hidden=12", epochs=2, batch_size=50, train_limit=100)
CPU = Environment(accelerator="cpu")


def runs(*densities: float, **changes: object) -> list[Run]:
    recipe = dataclasses.replace(RECIPE, **changes)
    return [
        Run(recipe, Arm(f"{density}", {"name": "ternary", "density": density}), seed=3)
        for density in densities
    ]


def table(result: Result) -> dict[tuple[str, str, int], float]:
    at = {name: place for place, name in enumerate(result.diagnostics["columns"])}
    return {
        (row[at["layer"]], row[at["statistic"]], row[at["step"]]): row[at["value"]]
        for row in result.diagnostics["rows"]
    }


def test_a_run_has_the_numbers_of_its_initialised_network():
    (run,) = runs(0.5)
    result = worker.run_one(run, CPU)
    data = load_data(RECIPE, CPU)
    network = build_network(RECIPE.network, input_shape=data.input_shape, num_classes=10)
    get_initializer("ternary:density=0.5")(network, seed=3)
    wanted = measure_signals(network, [first_examples(data, 64)]) + measure_strengths(network)
    assert result.diagnostics["summary"] == summarise(wanted)
    for row in wanted.rows:
        found = table(result)[row.layer, row.statistic, 0]
        assert found == pytest.approx(row.value, rel=1e-5, abs=1e-12), row
    assert result.diagnostics["steps"] == []


@pytest.mark.parametrize("kind", ["dense", "layers", "vmap"])
def test_members_of_a_stack_have_the_numbers_that_they_have_alone(kind):
    both = runs(0.5, 0.1)
    stacked = worker.run_stack(both, CPU, Form(kind, 2))
    alone = [worker.run_one(run, CPU) for run in both]
    assert [one.diagnostics for one in stacked] == [one.diagnostics for one in alone]
    assert stacked[0].diagnostics != stacked[1].diagnostics


def test_every_epoch_in_a_stack_and_alone():
    environment = dataclasses.replace(CPU, diagnostics="epoch")
    both = runs(0.5, 0.1)
    stacked = worker.run_stack(both, environment, Form("dense", 2))
    for run, one in zip(both, stacked, strict=True):
        alone = worker.run_one(run, environment)
        assert len(alone.diagnostics["steps"]) == 3
        assert alone.diagnostics["steps"][0] == alone.diagnostics["summary"]
        found, wanted = table(one), table(alone)
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert found[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key
        distances = [wanted["", "distance", step] for step in (1, 2)]
        assert 0.0 < distances[0] < distances[1]
        assert wanted["fc1.weight", "revived_zeros", 2] > 0.5


def test_measuring_changes_no_training():
    (run,) = runs(0.5)
    results = [
        worker.run_one(run, dataclasses.replace(CPU, diagnostics=mode))
        for mode in ("off", "init", "epoch")
    ]
    assert results[0].history == results[1].history == results[2].history
    assert results[0].diagnostics == {}


def test_convolutions_with_batch_normalisation_in_a_stack():
    both = runs(0.5, 0.2, network="resnet:depth=8", epochs=1)
    stacked = worker.run_stack(both, CPU, Form("layers", 2))
    alone = [worker.run_one(run, CPU) for run in both]
    assert [one.diagnostics for one in stacked] == [one.diagnostics for one in alone]


class StopError(Exception):
    pass


@pytest.fixture
def interrupted(monkeypatch):
    """Trains a run up to its second epoch, of which the first leaves a checkpoint."""

    class Interrupt(worker.SeedDraws):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                raise StopError
            super().on_train_epoch_start(trainer, pl_module)

    def train(run: Run, environment: Environment) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(worker, "SeedDraws", Interrupt)
            with pytest.raises(StopError):
                worker.run_one(run, environment)

    return train


def test_a_training_that_continues_keeps_what_was_measured(tmp_path, interrupted):
    """A run interrupted after its first epoch has in the end the diagnostics of a whole one."""
    environment = dataclasses.replace(
        CPU, diagnostics="epoch", checkpoints=str(tmp_path), checkpoint_every=1
    )
    (run,) = runs(0.5)
    whole = worker.run_one(run, environment)
    interrupted(run, environment)
    assert list(tmp_path.glob("*.ckpt"))
    assert worker.run_one(run, environment).diagnostics == whole.diagnostics


@pytest.mark.parametrize(("before", "summary"), [("off", False), ("init", True)])
def test_measuring_may_be_switched_on_in_the_middle(tmp_path, interrupted, before, summary):
    environment = dataclasses.replace(
        CPU, diagnostics=before, checkpoints=str(tmp_path), checkpoint_every=1
    )
    (run,) = runs(0.5)
    interrupted(run, environment)
    found = worker.run_one(run, dataclasses.replace(environment, diagnostics="epoch")).diagnostics
    assert bool(found["summary"]) is summary
    assert ("fc1", "mean", 2) in {(row[0], row[3], row[6]) for row in found["rows"]}


def test_results_of_before_still_load_and_new_ones_survive_json():
    (run,) = runs(0.5)
    result = worker.run_one(run, CPU)
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert Result.from_dict(plain).diagnostics == result.diagnostics
    del plain["diagnostics"]
    assert Result.from_dict(plain).diagnostics == {}
    assert run.key == dataclasses.replace(run).key


def test_columns_and_metrics():
    (run,) = runs(0.5)
    result = worker.run_one(run, dataclasses.replace(CPU, diagnostics="epoch"))
    row = run_row(run, result, study="s", stage="confirm")
    summary = result.diagnostics["summary"]
    assert row["diagnostics.signal_slope"] == summary["signal_slope"]
    record = run_record(run, result, {})
    assert record["metrics"]["diagnostics.loss"] == summary["loss"]
    epochs = [epoch["diagnostics.distance"] for epoch in record["history"]]
    assert epochs == [step["distance"] for step in result.diagnostics["steps"][1:]]


class Own(LightningDataModule):
    """Loaders of a user's own, shuffled by the global generator."""

    input_shape, num_classes = (3,), 2

    def train_dataloader(self):
        x = torch.arange(30.0).view(10, 3)
        return DataLoader(TensorDataset(x, torch.arange(10) % 2), batch_size=4, shuffle=True)


def test_first_examples_are_the_same_for_every_seed():
    digits = [load_data(RECIPE, CPU, seed) for seed in (0, 1)]
    (one, labels), (two, _) = (first_examples(each, 20) for each in digits)
    assert one.shape == (20, 1, 8, 8)
    assert labels.shape == (20,)
    assert torch.equal(one, two)
    state = torch.get_rng_state()
    x, y = first_examples(Own(), 6)
    assert x[:, 0].tolist() == [0.0, 3.0, 6.0, 9.0, 12.0, 15.0]
    assert y.tolist() == [0, 1, 0, 1, 0, 1]
    assert torch.equal(torch.get_rng_state(), state)
