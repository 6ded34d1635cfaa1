"""Real processes that are killed, and what the study says in the end."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from studies.engine.storage import open_storage
from tests.studies.conftest import SMALL, environment

STUDY = "studies.ternary_sparsity"
KILLS = 20
ARGV = [*SMALL[:-1], "1", "--epochs", "4", "--trials", "6", "--seeds", "4", "--quiet"]


def start(folder: Path, output: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", STUDY, *ARGV, "--output", output, *more],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(folder: Path) -> list[dict[str, str]]:
    """The table of all runs, without what the clock put into it."""
    with (folder / "runs.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def children(pid: int) -> list[int]:
    """The children of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def workers(pid: int) -> list[int]:
    """The workers of a study's process: the children of the server that it forks them from."""
    return [worker for child in children(pid) for worker in children(child)]


def unfinished(folder: Path) -> list[str]:
    """Names of Optuna's studies that hold a trial which waits or runs."""
    storage = open_storage(None, folder)
    open_states = (optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING)
    return [
        name
        for name in optuna.get_all_study_names(storage)
        if optuna.load_study(study_name=name, storage=storage).get_trials(states=open_states)
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, str]], int]:
    """The table of the study, and the length of its journal in lines."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    end(start(folder, "whole"))
    return rows(folder / "whole"), lines(folder / "whole")


def end(process: subprocess.Popen[str]) -> str:
    """Wait for a study that must succeed; returns what it printed."""
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    return stdout


def lines(folder: Path) -> int:
    """How far a study has come: the lines of its journal."""
    journal = folder / "study.journal"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_for(process: subprocess.Popen[str], folder: Path, target: int) -> bool:
    """Wait until a study has come so far; False if it has ended before."""
    deadline = time.monotonic() + 120
    while lines(folder) < target:
        assert time.monotonic() < deadline
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find workers")
def test_killed_at_twenty_random_points_the_study_ends_as_an_undisturbed_one(
    undisturbed: tuple[list[dict[str, str]], int], tmp_path: Path
) -> None:
    table, length = undisturbed
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    draw = random.Random(0)
    killed, studies = 0, 0
    while killed < KILLS:
        output = f"study {studies}"
        for target in sorted(draw.randrange(length) for _ in range(KILLS // 2)):
            process = start(tmp_path, output)
            if not wait_for(process, tmp_path / output, target):
                end(process)
                break
            time.sleep(draw.uniform(0, 0.05))
            family = workers(process.pid)
            # Mostly the process that conducts the study, sometimes one that trains for it.
            victim = draw.choice(family) if family and draw.random() < 0.25 else process.pid
            os.kill(victim, signal.SIGKILL)
            killed += 1
            if victim == process.pid:
                process.communicate(timeout=30)  # the others end with it
            else:
                end(process)
                break
        end(start(tmp_path, output))
        assert rows(tmp_path / output) == table
        assert unfinished(tmp_path / output) == []
        studies += 1
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'ternary_sparsity'")
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_processes_that_start_together_share_a_study_and_one_may_die(
    undisturbed: tuple[list[dict[str, str]], int], tmp_path: Path
) -> None:
    table, length = undisturbed
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    first, second = start(tmp_path, "shared"), start(tmp_path, "shared")
    assert wait_for(first, tmp_path / "shared", length // 3)
    first.kill()
    first.communicate(timeout=30)
    assert "ternary (tuned)" in end(second)
    assert rows(tmp_path / "shared") == table
    assert unfinished(tmp_path / "shared") == []
