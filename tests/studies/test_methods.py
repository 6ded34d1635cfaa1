"""Training methods as arms of studies."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from studies.engine import worker
from studies.engine.errors import UserError
from studies.engine.forms import Form, gather
from studies.engine.inspection import inspect
from studies.engine.options import TrainOptions
from studies.engine.plan import Plan
from studies.engine.report.files import run_row
from studies.engine.run import Arm, Result, Run, content_hash
from studies.engine.study import Family, Parameter
from studies.ternary_sparsity import STUDY
from studies.train import train_one
from tests.studies.conftest import Shell
from tests.studies.stack_parts import CPU, RECIPE, timeless

HE = Arm("He", {"name": "he_normal"})
MASKED = Arm("masked", {"name": "he_normal"}, method={"name": "supermask", "rescale": False})
BINARY = Arm(
    "binary", {"name": "two_point_means", "variance": 0.5}, method={"name": "binary_surrogate"}
)


def test_a_method_is_part_of_the_key_where_there_is_one() -> None:
    plain = Run(RECIPE, HE, 0)
    content = {
        "recipe": {
            "data": "digits", "network": "lenet_300_100", "epochs": 2, "batch_size": 50,
            "train_limit": 300,
        },
        "initializer": {"name": "he_normal"},
        "seed": 0,
    }  # fmt: skip
    assert plain.key == content_hash(content)
    content["method"] = {"name": "supermask", "rescale": False}
    assert Run(RECIPE, MASKED, 0).key == content_hash(content)
    assert "method" not in HE.to_dict()
    assert MASKED.to_dict()["method"] == MASKED.method
    assert MASKED.method_fields() == {"method": "supermask", "method.rescale": False}


def test_a_family_passes_its_method_on_and_old_folders_stay_valid() -> None:
    family = Family("f", {"name": "he_normal"}, (Parameter("scale", 0.5, 2.0, 1.0),))
    assert family.arm({"scale": 1.0}).method is None
    with_method = dataclasses.replace(family, method={"name": "supermask"})
    assert with_method.arm({"scale": 1.0}).method == {"name": "supermask"}
    families = []
    for each in (family, with_method):
        study = dataclasses.replace(STUDY, families=(each,), comparisons=(), primary=())
        plan = Plan(study, RECIPE, (each,), 1, (0,), (1, 2), 0.5, 0, Path())
        families.append(plan.identity()["families"][0])
    assert families[0] == {
        "label": "f", "initializer": {"name": "he_normal"}, "space": [["scale", 0.5, 2.0, 1.0]]
    }  # fmt: skip
    assert families[1] == {**families[0], "method": {"name": "supermask"}}


def test_runs_with_a_method_are_trained_one_by_one_beside_stacks() -> None:
    form = Form("dense", size=8, mixed_seeds=True)
    runs = [Run(RECIPE, arm, seed, test=True) for seed in (0, 1) for arm in (HE, MASKED, BINARY)]
    groups = gather(runs, form, 2)
    assert sorted(len(group) for group in groups) == [1] * 6
    groups = gather(runs, form, 1)
    assert sorted(len(group) for group in groups) == [1, 1, 1, 1, 2]
    results = {
        result.key: result for group in groups for result in worker.run_group(group, CPU, form)
    }
    assert results.keys() == {run.key for run in runs}
    binary = results[Run(RECIPE, BINARY, 0, test=True).key]
    assert set(binary.extra) == {"test_accuracy_sampled", "test_accuracy_sign"}
    assert {"mean_square", "val_accuracy_sampled"} <= set(binary.history[-1])
    assert set(binary.initialization["method"]["layers"]) == {"fc1", "fc2", "fc3"}
    masked = results[Run(RECIPE, MASKED, 1, test=True).key]
    assert masked.extra == {}
    assert set(masked.initialization["method"]["layers"]["fc1"]) == {"mask", "weight"}
    assert timeless([worker.run_one(runs[1], CPU)]) == timeless([results[runs[1].key]])
    for result in (binary, masked):
        assert Result.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    row = run_row(Run(RECIPE, BINARY, 0, test=True), binary, study="s", stage="confirm")
    assert row["method"] == "binary_surrogate"
    assert row["test_accuracy_sign"] == binary.extra["test_accuracy_sign"]


def test_a_method_that_does_not_fit_the_network_shows_before_training() -> None:
    recipe = dataclasses.replace(RECIPE, network="resnet20")
    with pytest.raises(ValueError, match=r"the deterministic surrogate takes chains"):
        inspect(recipe, CPU, [HE.initializer], [{"name": "binary_surrogate"}])


def test_a_single_training_takes_a_method(prepared: Shell, tmp_path: Path, template: Path) -> None:
    shutil.copy(template, tmp_path / "mlflow.db")
    argv = ["--method", "supermask:rescale=false", "--epochs", "1", "--train-limit", "200"]
    done = prepared("studies.train", *argv)
    assert done.returncode == 0, done.stderr
    assert "he_normal supermask:rescale=false on digits" in done.stdout
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("train")
    assert experiment is not None
    run = next(
        r for r in client.search_runs([experiment.experiment_id]) if "masked" in r.data.metrics
    )
    params = run.data.params
    assert (params["method"], params["method.rescale"]) == ("supermask", "false")
    # Without --lr the paper's optimiser settings.
    assert (params["optimizer"], float(params["lr"])) == ("sgd", 100.0)
    assert 0.3 < run.data.metrics["masked"] < 0.7


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("supermsk", "did you mean 'supermask'"),
        ("supermask:logit=high", "logit must be a number in"),
        ('{"name": "supermask"', "--method .* is no valid JSON"),
    ],
)
def test_a_mistake_costs_one_sentence(method: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        train_one(TrainOptions(method=method))
