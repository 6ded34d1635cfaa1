"""What the study of the published table rests on: running averages, and networks of zeros."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional

from datamodules import TensorDataModule, get_datamodule
from initializers import get_initializer
from lightning_modules import Optimization, build_network
from studies.classical_table import STUDY, judge
from studies.engine import worker
from studies.engine.claims import Evidence
from studies.engine.compare import TRAIN_ACCURACY, compare_pairs
from studies.engine.data import load_data
from studies.engine.run import Arm, Environment, Recipe, Run

CPU = Environment(accelerator="cpu", diagnostics="off")
RECIPE = Recipe("digits", "mnist_mlp:narrow=16", epochs=2, batch_size=50, optimizer="rmsprop")


def test_training_figures_are_running_averages_with_dropout() -> None:
    """A network that hardly moves has the figures of one pass in training mode."""
    recipe = dataclasses.replace(RECIPE, lr=1e-12, epochs=1)
    (epoch,) = worker.run_one(Run(recipe, Arm("He", {"name": "patel_he"}), seed=5), CPU).history
    data = load_data(recipe, CPU, seed=5)
    network = build_network(recipe.network, input_shape=(1, 8, 8), num_classes=10)
    get_initializer("patel_he")(network, seed=5)
    figures = {}
    for training in (True, False):
        loss = correct = count = 0.0
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(5)
            batches = data.train_dataloader()
            batches.sampler.set_epoch(0)
            for x, y in batches:
                logits = network.train(training)(x)
                loss += float(functional.cross_entropy(logits, y)) * len(y)
                correct += float((logits.argmax(1) == y).sum())
                count += len(y)
        figures[training] = (loss / count, correct / count)
    assert epoch["train_loss"] == pytest.approx(figures[True][0], rel=1e-6)
    assert epoch["train_accuracy"] == pytest.approx(figures[True][1], abs=1e-12)
    assert abs(figures[True][0] - figures[False][0]) > 1e-3


@pytest.mark.parametrize("optimizer", ["rmsprop", "adadelta", "adam", "sgd"])
@pytest.mark.parametrize("network", ["mnist_mlp:narrow=16", "mnist_cnn:narrow=16"])
def test_a_network_of_zeros_is_a_softmax_over_its_output_bias(network: str, optimizer: str) -> None:
    recipe = dataclasses.replace(RECIPE, network=network, optimizer=optimizer, lr=0.01)
    result = worker.run_one(Run(recipe, Arm("zero", {"name": "patel_zero"}), 2, test=True), CPU)
    bias = torch.nn.Parameter(torch.zeros(10))
    rule = Optimization(**recipe.optimization()).build_optimizer([bias])
    batches = load_data(recipe, CPU, seed=2).train_dataloader()
    for epoch, figures in enumerate(result.history):
        loss = correct = count = 0.0
        batches.sampler.set_epoch(epoch)
        for _, y in batches:
            value = functional.cross_entropy(bias.expand(len(y), 10), y)
            loss += float(value.detach()) * len(y)
            correct += float((y == bias.argmax()).sum())
            count += len(y)
            rule.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            rule.step()
        assert figures["train_loss"] == pytest.approx(loss / count, rel=1e-5)
        assert figures["train_accuracy"] == pytest.approx(correct / count, abs=1e-12)


def evidence(data: str, accuracies: dict[str, float], loss: float) -> Evidence:
    """Eight seeds, evenly spread by 0.0002 around the given accuracies."""
    values = {
        arm: {seed: mean + 1e-4 * (seed % 2 - 0.5) for seed in range(8)}
        for arm, mean in accuracies.items()
    }
    rows = [
        {"arm": arm, "seed": seed, "data": data, "train_accuracy": value, "train_loss": loss}
        for arm, seeds in values.items()
        for seed, value in seeds.items()
    ]
    comparisons = compare_pairs(
        values, STUDY.comparisons, margin=STUDY.margin, diverged={}, outcome=TRAIN_ACCURACY
    )
    return Evidence(comparisons, rows)


PUBLISHED = {"He": 0.9892, "Xavier": 0.9860, "random": 0.9834, "zero": 0.11237}


@pytest.mark.parametrize(
    ("changed", "loss", "verdict"),
    [
        ({}, 2.3012, "reproduced"),
        ({"He": 0.98601}, 2.3012, "reproduced"),  # equal to Xavier within the margin
        ({"He": 0.98}, 2.3012, "not reproduced"),
        ({"zero": 0.1135}, 2.3012, "not reproduced"),  # the digit's share of the test images
        ({}, 2.3026, "not reproduced"),
    ],
)
def test_the_published_table_passes_its_judge(
    changed: dict[str, float], loss: float, verdict: str
) -> None:
    finding = judge(evidence("mnist:val_size=500", {**PUBLISHED, **changed}, loss))
    assert finding.verdict == verdict
    other = judge(evidence("digits", PUBLISHED, loss))
    assert other.verdict == "reproduced"
    assert "nothing is predicted for digits" in other.reason


def test_the_predictions_are_those_of_the_official_labels() -> None:
    """MNIST's 60,000 training labels, digit by digit (LeCun et al. 1998)."""
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    shares = [count / sum(counts) for count in counts]
    assert sum(counts) == 60_000
    assert 100 * max(shares) == pytest.approx(11.24, abs=0.005)
    assert -sum(p * math.log(p) for p in shares) == pytest.approx(2.3012, abs=5e-5)


def test_the_validation_split_can_be_small() -> None:
    data = get_datamodule("digits:val_size=10")
    assert isinstance(data, TensorDataModule)
    assert [data.describe()[name] for name in ("n_train", "n_val", "n_test")] == [1287, 10, 500]
    with pytest.raises(ValueError, match="val_size must be at least 1, not 0"):
        get_datamodule("digits:val_size=0")
