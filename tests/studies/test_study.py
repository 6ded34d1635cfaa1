"""The whole path from the shell: search, confirm, compare, report, record, continue.

The first start of a study and the one that is interrupted come from the shell; those that continue
or are refused are prepared processes, which spare each the import of torch and Lightning.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.studies.conftest import SMALL, Shell, environment

STUDY = "studies.ternary_sparsity"
ARMS = 8
OUTPUT = Path("outputs/ternary_sparsity/digits-lenet_300_100")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / OUTPUT / "runs.csv").open() as file:
        return list(csv.DictReader(file))


def stable(folder: Path) -> list[dict[str, str]]:
    """The table of runs without its times, in a fixed order."""
    kept = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder)]
    return sorted(kept, key=lambda row: (row["stage"], row["arm"], row["trial"], row["seed"]))


def test_a_study_answers_records_and_continues(
    shell: Shell, prepared: Shell, tmp_path: Path
) -> None:
    first = shell(STUDY, *SMALL)
    assert first.returncode == 0, first.stderr
    # The table, the answer, where the results lie, the command for the UI.
    for label in ("ternary (tuned)", "unscaled ternary, He twin", "Glorot", "torch default"):
        assert label in first.stdout
    assert "On digits with lenet_300_100, ternary (tuned)" in first.stdout
    assert f"Results: {OUTPUT}/" in first.stdout
    assert "mlflow server" in first.stdout

    table = rows(tmp_path)
    confirm = [row for row in table if row["stage"] == "confirm"]
    search = [row for row in table if row["stage"] == "search"]
    assert len(confirm) == ARMS * 2
    assert len(search) == 3 * 2
    # The test split is opened in the confirmation only, and the seeds are disjoint.
    assert all(row["test_accuracy"] == "" for row in search)
    assert all(0 < float(row["test_accuracy"]) < 1 for row in confirm)
    assert not {row["seed"] for row in search} & {row["seed"] for row in confirm}

    results = json.loads((tmp_path / OUTPUT / "results.json").read_text())
    for arm in results["arms"]:
        own = [float(row["test_accuracy"]) for row in confirm if row["arm"] == arm["arm"]]
        assert arm["mean"] == pytest.approx(sum(own) / 2, abs=1e-6)
    assert results["facts"]["data"]["n_test"] == 500
    assert results["answer"] in first.stdout

    _check_mlflow(tmp_path, confirm, results["answer"])

    started = time.monotonic()
    again = prepared(STUDY, *SMALL)
    assert time.monotonic() - started < 20
    assert again.returncode == 0
    assert "Nothing was left to train" in again.stdout
    assert _table(again.stdout) == _table(first.stdout)
    assert stable(tmp_path) == sorted(
        ({k: v for k, v in row.items() if k != "seconds"} for row in table),
        key=lambda row: (row["stage"], row["arm"], row["trial"], row["seed"]),
    )

    more = prepared(STUDY, *SMALL, "--seeds", "3")
    assert more.returncode == 0, more.stderr
    assert f"{ARMS} trainings in" in more.stdout
    before = {row["key"] for row in confirm}
    assert before < {row["key"] for row in rows(tmp_path) if row["stage"] == "confirm"}

    other = prepared(STUDY, *SMALL, "--lr", "0.01")
    assert other.returncode == 2
    assert "lr was 0.001 and is now 0.01" in other.stderr
    assert "--fresh" in other.stderr

    network = ["--network", "mlp:hidden=20", "--output", str(OUTPUT)]
    other = prepared(STUDY, *SMALL, *network)
    assert other.returncode == 2
    assert "network was lenet_300_100 and is now mlp:hidden=20" in other.stderr

    # A start over that cannot start costs nothing.
    broken = prepared(STUDY, *SMALL, "--fresh", "--lr", "-1")
    assert broken.returncode == 2
    assert "lr must be" in broken.stderr
    again = prepared(STUDY, *SMALL)
    assert "0 trainings in" in again.stdout or "Nothing was left to train" in again.stdout

    fresh = prepared(STUDY, *SMALL, "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    # The same seeds give the same numbers, whatever ran before and in whatever process.
    assert _table(fresh.stdout) == _table(first.stdout)


def _table(output: str) -> str:
    return output[output.index("arm  ") : output.index("Results: ")].rsplit("\n\n", 1)[0]


def _check_mlflow(folder: Path, confirm: list[dict[str, str]], answer: str) -> None:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ternary_sparsity")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    parent = parents[0]
    assert parent.info.status == "FINISHED"
    assert answer in parent.data.tags["mlflow.note.content"]
    assert "--epochs 1" in parent.data.tags["command"]
    groups = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(groups) == 3 * 2 + ARMS
    ids = {group.info.run_id for group in groups}
    seeds = [r for r in runs if r.data.tags.get("mlflow.parentRunId") in ids]
    assert len(seeds) == 3 * 2 + ARMS * 2
    by_key = {run.data.tags["run_key"]: run for run in seeds}
    for row in confirm:
        run = by_key[row["key"]]
        assert run.data.metrics["test_accuracy"] == pytest.approx(float(row["test_accuracy"]))
        assert run.data.params["initializer"] == row["initializer"]
        assert run.data.params["seed"] == row["seed"]
        assert (run.data.tags["stage"], run.data.tags["status"]) == ("confirm", "finished")
        assert len(client.get_metric_history(run.info.run_id, "val_accuracy")) >= 1
    trial = next(g for g in groups if g.data.tags["stage"] == "search"
                 and g.data.tags["family"] == "ternary")  # fmt: skip
    assert {"density", "scale"} <= set(trial.data.params)
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"runs.csv", "results.json", "table.txt", "initialization"} <= names


def test_interrupted_study_continues_to_the_undisturbed_result(
    prepared: Shell, tmp_path: Path, template: Path
) -> None:
    shutil.copy(template, tmp_path / "mlflow.db")
    argv = [*SMALL, "--epochs", "12", "--train-limit", "500"]
    process = subprocess.Popen(
        [sys.executable, "-m", STUDY, *argv, "--output", "stopped"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A job that a script started in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    journal = tmp_path / "stopped" / "study.journal"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count('"initialization"') >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    stored = journal.read_text().count('"initialization"')
    assert 3 <= stored < 22

    resumed = prepared(STUDY, *argv, "--output", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    trained = re.search(r"(\d+) trainings in", resumed.stdout)
    assert trained is not None
    assert int(trained[1]) == 22 - stored
    undisturbed = prepared(STUDY, *argv, "--output", "whole")
    assert _table(resumed.stdout) == _table(undisturbed.stdout)


def test_dry_run_prints_the_plan_and_stores_nothing(prepared: Shell, tmp_path: Path) -> None:
    done = prepared(STUDY, *SMALL, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "At most 22 trainings (6 search, 16 confirmation)" in done.stdout
    assert "density in [0.00333, 1]" in done.stdout  # 1 over the largest fan_in, 300
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "mlflow.db").exists()
