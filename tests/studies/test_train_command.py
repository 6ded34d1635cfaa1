"""`python -m studies.train` from the shell."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.studies.conftest import Shell


def test_one_run_with_checkpoint_record_and_test_accuracy(
    shell: Shell, tmp_path: Path, template: Path
) -> None:
    shutil.copy(template, tmp_path / "mlflow.db")
    argv = ["--initializer", "ternary:density=0.1", "--network", "conv2", "--epochs", "2"]
    done = shell("studies.train", *argv, "--train-limit", "200")
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stdout
    assert "test accuracy" in done.stdout
    checkpoint = next((tmp_path / "outputs" / "train").glob("*/model.ckpt"))
    result = json.loads((checkpoint.parent / "result.json").read_text())
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("train")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    run = next(r for r in runs if "test_accuracy" in r.data.metrics)
    assert run.data.metrics["test_accuracy"] == pytest.approx(result["test_accuracy"])
    assert run.data.params["density"] == "0.1"
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [point.value for point in history] == pytest.approx(
        [epoch["train_loss"] for epoch in result["history"]]
    )


@pytest.mark.parametrize(
    ("initializer", "sentence"),
    [
        ("he_norml", "did you mean 'he_normal'"),
        ("ternary:density=2", r"density must be in (0, 1], got 2"),
    ],
)
def test_a_mistake_costs_one_sentence(prepared: Shell, initializer: str, sentence: str) -> None:
    done = prepared("studies.train", "--initializer", initializer)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
