"""Initialisers that need data, as arms of a study and from the shell."""

import pytest

from initializers import MuP
from lightning_modules import Member, StackedClassifier
from studies.engine import worker
from studies.engine.forms import Form
from studies.engine.inspection import inspect
from studies.engine.run import Arm, Environment, Recipe, Run

CPU = Environment(accelerator="cpu")
RECIPE = Recipe("digits", "lenet_300_100", epochs=1, batch_size=50, train_limit=200)
ARMS = [
    Arm("LSUV", {"name": "lsuv"}),
    Arm("He", {"name": "he_normal"}),
    Arm("GradInit", {"name": "gradinit", "steps": 2}),
    Arm("mixed", {"name": "per_layer", "base": {"name": "lsuv"}, "rules": [["last", "zeros"]]}),
]


def test_arms_that_need_data_are_looked_at_and_train_alone_and_stacked() -> None:
    inspect(RECIPE, CPU, [arm.initializer for arm in ARMS])
    runs = [Run(RECIPE, arm, seed, test=True) for arm in ARMS for seed in (1, 2)]
    form = Form("dense", size=8, mixed_seeds=True)
    stacked = worker.run_group(runs, CPU, form)
    for run, ours in zip(runs, stacked, strict=True):
        alone = worker.run_one(run, CPU)
        assert ours.history[0] == pytest.approx(alone.history[0], abs=1e-4)
        assert ours.initialization == alone.initialization
    notes = [layer["note"] for layer in stacked[0].initialization["layers"]]
    assert all(note.startswith("output std") for note in notes)


def test_arms_with_learning_rates_of_their_own_train_alone_beside_a_stack() -> None:
    arms = [ARMS[1], Arm("muP", {"name": "mup", "base_width": 64}), ARMS[0]]
    runs = [Run(RECIPE, arm, 1) for arm in arms]
    results = worker.run_group(runs, CPU, Form("dense", size=8))
    assert [result.key for result in results] == [run.key for run in runs]
    alone = worker.run_one(runs[1], CPU)
    assert results[1].history == alone.history
    assert results[0].history[0] == pytest.approx(worker.run_one(runs[0], CPU).history[0], abs=1e-4)
    member = Member(MuP(), 0)
    with pytest.raises(ValueError, match="comes with learning rates for single parameters"):
        StackedClassifier("lenet_300_100", [member], input_shape=(1, 8, 8), num_classes=10)


def test_an_arm_that_does_not_fit_is_one_sentence_before_any_training() -> None:
    arms = [{"name": "per_layer", "rules": [["conv", {"name": "zeros"}]]}]
    with pytest.raises(ValueError, match="rule 'conv' selects no layer of MLP; its weights are: "):
        inspect(RECIPE, CPU, arms)
