"""Keys and round trips of recipes, runs and results."""

import dataclasses
import json
import subprocess
import sys

import pytest

from studies.engine.run import Arm, Recipe, Result, Run, content_hash

RECIPE = Recipe(data="digits", network="lenet_300_100", epochs=3, batch_size=50)
ARM = Arm("a", {"name": "ternary", "density": 0.1})


def test_key_ignores_labels_and_counts_what_shapes_the_numbers() -> None:
    key = Run(RECIPE, ARM, 0).key
    assert Run(RECIPE, Arm("other", ARM.initializer, family="f"), 0).key == key
    assert Run(RECIPE, Arm("a", {"density": 0.1, "name": "ternary"}), 0).key == key
    others = [
        Run(RECIPE, ARM, 1),
        Run(RECIPE, ARM, 0, test=True),
        Run(dataclasses.replace(RECIPE, lr=0.01), ARM, 0),
        Run(dataclasses.replace(RECIPE, network="conv2"), ARM, 0),
        Run(RECIPE, Arm("a", {"name": "ternary", "density": 0.2}), 0),
        Run(RECIPE, Arm("a", ARM.initializer, {"lr": 0.01}), 0),
    ]
    keys = {run.key for run in others}
    # The override and the recipe with the same learning rate are the same training.
    assert key not in keys
    assert len(keys) == len(others) - 1


def test_key_is_the_same_in_another_process() -> None:
    code = (
        "from studies.engine.run import *;"
        "r=Recipe(data='digits',network='lenet_300_100',epochs=3,batch_size=50);"
        "print(Run(r,Arm('x',{'name':'ternary','density':0.1}),0).key)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == Run(RECIPE, ARM, 0).key


def test_key_does_not_change_between_versions() -> None:
    # A changed key would orphan every stored result: change this number only on purpose.
    assert content_hash({"a": 1}) == "015abd7f5cc57a2d"
    content = {
        "recipe": {"data": "digits", "network": "lenet_300_100", "epochs": 3, "batch_size": 50},
        "initializer": {"name": "ternary", "density": 0.1},
        "seed": 0,
    }
    assert Run(RECIPE, ARM, 0).key == content_hash(content)


def test_non_finite_values_have_no_key() -> None:
    with pytest.raises(ValueError, match="JSON"):
        content_hash({"lr": float("nan")})


def test_result_survives_json() -> None:
    result = Result(
        key="k",
        status="finished",
        history=({"train_loss": 1.0, "val_accuracy": 0.5}, {"train_loss": None}),
        val_accuracy=0.5,
        test_accuracy=None,
        test_loss=None,
        started=1.0,
        seconds=2.0,
        initialization={"layers": []},
        data={"name": "digits"},
    )
    assert Result.from_dict(json.loads(json.dumps(result.to_dict()))) == result
