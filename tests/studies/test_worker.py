"""Training one run in this process."""

import dataclasses
import gc
from pathlib import Path

import pytest
import torch

from datamodules import DataUnavailableError
from initializers import Ternary
from lightning_modules import Classifier
from studies.engine import worker
from studies.engine.data import load_data
from studies.engine.inspection import inspect
from studies.engine.run import Arm, Environment, Recipe, Result, Run

CPU = Environment(accelerator="cpu")
RECIPE = Recipe("digits", "lenet_300_100", epochs=2, batch_size=50, train_limit=300)
HE = Arm("He", {"name": "he_normal"})
OWN = "tests.studies.own_parts"


def same(a: Result, b: Result) -> bool:
    """Equal but for the clock."""
    return dataclasses.replace(a, started=0, seconds=0) == dataclasses.replace(
        b, started=0, seconds=0
    )


def test_same_run_same_result_bit_for_bit_whatever_ran_before() -> None:
    run = Run(RECIPE, HE, seed=3, test=True)
    first = worker.run_one(run, CPU)
    torch.manual_seed(123)
    worker.run_one(Run(RECIPE, HE, seed=4), CPU)
    again = worker.run_one(run, CPU)
    assert same(first, again)
    assert first.key == run.key
    assert first.status == "finished"
    assert len(first.history) == 2
    assert first.val_accuracy == first.history[-1]["val_accuracy"]


def test_test_split_stays_closed_unless_asked_for() -> None:
    result = worker.run_one(Run(RECIPE, HE, seed=0), CPU)
    assert result.test_accuracy is None
    assert result.test_loss is None


def test_test_accuracy_is_that_of_the_saved_model(tmp_path: Path) -> None:
    arm = Arm("t", {"name": "ternary", "density": 0.2})
    result = worker.run_one(Run(RECIPE, arm, seed=1, test=True), CPU, tmp_path / "m.ckpt")
    model = Classifier.load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True).eval()
    # The split and its normalisation are those of the run: train_limit comes after both.
    data = load_data(RECIPE, CPU)
    x, y = data.tensors("test")
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).double().mean().item()
    assert result.test_accuracy == pytest.approx(accuracy, abs=1e-6)
    assert model.initializer == Ternary(density=0.2)
    layers = result.initialization["layers"]
    assert [layer["zero_fraction"] for layer in layers] == pytest.approx([0.8, 0.8, 0.8], abs=1e-3)


def test_a_diverged_run_is_a_result_with_the_worst_finite_value() -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", lr=1e12, epochs=5)
    result = worker.run_one(Run(recipe, HE, seed=0, test=True), CPU)
    assert result.status == "diverged"
    assert (result.val_accuracy, result.test_accuracy) == (0.0, 0.0)
    assert result.history[-1]["train_loss"] is None


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_every_precision_trains(precision: str) -> None:
    recipe = dataclasses.replace(RECIPE, precision=precision)
    result = worker.run_one(Run(recipe, HE, seed=0, test=True), CPU)
    single = worker.run_one(Run(RECIPE, HE, seed=0, test=True), CPU)
    assert result.status == "finished"
    assert result.history != single.history
    assert result.history[0]["train_loss"] == pytest.approx(
        single.history[0]["train_loss"], rel=0.02
    )


def test_a_last_batch_of_one_with_batch_normalisation_is_named_before_training() -> None:
    recipe = dataclasses.replace(RECIPE, network="resnet20", train_limit=51)
    with pytest.raises(ValueError, match="would hold one example"):
        inspect(recipe, CPU, [dict(HE.initializer)])
    inspect(dataclasses.replace(recipe, train_limit=52), CPU, [dict(HE.initializer)])


def test_memory_does_not_grow_with_the_number_of_runs() -> None:
    def objects() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    worker.run_one(Run(RECIPE, HE, seed=0), CPU)
    before = objects()
    for seed in range(3):
        worker.run_one(Run(RECIPE, HE, seed=seed), CPU)
    assert objects() <= before


def test_arms_of_a_seed_differ_only_in_their_weights() -> None:
    """With a vanishing learning rate the two twins see the same batches in the same order."""
    data = [load_data(RECIPE, CPU, seed=5).train_dataloader() for _ in range(2)]
    for (x1, y1), (x2, y2) in zip(*data, strict=True):
        assert torch.equal(x1, x2)
        assert torch.equal(y1, y2)


def test_options_reach_a_users_own_data() -> None:
    recipe = Recipe(f"{OWN}:PlainBlobs", f"{OWN}:Net", epochs=1, batch_size=20)
    data = load_data(recipe, Environment("/some/where", "cpu"), seed=4)
    assert (data.batch_size, data.seed, data.root) == (20, 4, "/some/where")


@pytest.mark.parametrize("data", ["Blobs", "PlainBlobs"])
def test_own_data_and_network_by_import_path_are_reproducible(data: str) -> None:
    recipe = Recipe(f"{OWN}:{data}", f"{OWN}:Net", epochs=4, batch_size=20, lr=0.01)
    facts = inspect(recipe, CPU, [dict(HE.initializer)])
    assert facts["max_fan_in"] == 20
    assert facts["data"]["n_test"] == 60
    assert facts["parameters"] == 5 * 20 + 20 + 20 * 3 + 3
    run = Run(recipe, HE, seed=0, test=True)
    first = worker.run_one(run, CPU)
    torch.manual_seed(99)
    assert same(first, worker.run_one(run, CPU))
    assert first.test_accuracy is not None
    assert first.test_accuracy > 0.8


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": "fashon_mnist"}, "did you mean fashion_mnist"),
        ({"network": "lenet300"}, "did you mean 'lenet_300_100'"),
        ({"network": "mlp:widths=10-5"}, "the first width must be 64"),
        ({"network": "conv8"}, "conv8"),
        ({"data": f"{OWN}:Nothing"}, "Nothing"),
        ({"data": f"{OWN}:PlainBlobs"}, "has no option 'train_limit'"),
        (
            {"data": f"{OWN}:PlainBlobs", "augment": "crop_flip", "train_limit": None},
            "augment='crop_flip' is not offered",
        ),
        ({"lr": 0.0}, "lr must be"),
        ({"schedule": "steps"}, "belong together"),
    ],
)
def test_inspection_names_what_cannot_be_built(changes: dict[str, object], sentence: str) -> None:
    recipe = dataclasses.replace(RECIPE, **changes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=sentence) as raised:
        inspect(recipe, CPU, [dict(HE.initializer)])
    assert "\n" not in str(raised.value)


def test_inspection_names_an_accelerator_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="--accelerator quantum"):
        inspect(RECIPE, Environment(accelerator="quantum"), [])


def test_missing_files_are_named_with_both_ways_out(tmp_path: Path) -> None:
    (tmp_path / "MNIST").write_text("in the way of a download")
    recipe = dataclasses.replace(RECIPE, data="mnist")
    with pytest.raises(DataUnavailableError, match="--data-root") as raised:
        inspect(recipe, Environment(str(tmp_path), "cpu"), [])
    assert str(tmp_path) in str(raised.value)
    assert "train-images-idx3-ubyte" in str(raised.value)
