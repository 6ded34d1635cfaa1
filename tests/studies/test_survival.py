"""Real processes that are killed, and what the study says in the end.

Most of the many starts are prepared ones, which spare each the import of torch and Lightning. The
first that is killed was started from the shell: it dies as a whole, and its results count.
"""

import csv
import os
import random
import shutil
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
from tests.studies.prepared import Prepared, workers

STUDY = "studies.ternary_sparsity"
Study = subprocess.Popen[str] | Prepared
KILLS = 20
ARGV = [*SMALL[:-1], "1", "--epochs", "4", "--trials", "6", "--seeds", "4", "--quiet"]


def start(folder: Path, output: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", STUDY, *ARGV, "--output", output],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def prepared(folder: Path, output: str) -> Prepared:
    return Prepared(STUDY, [*ARGV, "--output", output], folder)


def rows(folder: Path) -> list[dict[str, str]]:
    """The table of all runs, without what the clock put into it."""
    with (folder / "runs.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def unfinished(folder: Path) -> list[str]:
    """Names of Optuna's studies that hold a trial which waits or runs."""
    storage = open_storage(None, folder)
    open_states = (optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING)
    return [
        name
        for name in optuna.get_all_study_names(storage)
        if optuna.load_study(study_name=name, storage=storage).get_trials(states=open_states)
    ]


def equip(folder: Path, store: Path) -> None:
    """Give a folder a tracking configuration and the empty store that it names."""
    (folder / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    shutil.copy(store, folder / "mlflow.db")


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, template: Path
) -> tuple[list[dict[str, str]], int]:
    """The table of the study, and the length of its journal in lines."""
    folder = tmp_path_factory.mktemp("undisturbed")
    equip(folder, template)
    end(prepared(folder, "whole"))
    return rows(folder / "whole"), lines(folder / "whole")


def end(process: Study) -> str:
    """Wait for a study that must succeed; returns what it printed."""
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    return stdout


def lines(folder: Path) -> int:
    """How far a study has come: the lines of its journal."""
    journal = folder / "study.journal"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def results(folder: Path) -> int:
    """The trainings that a study has finished."""
    journal = folder / "study.journal"
    return journal.read_text().count('"initialization"') if journal.exists() else 0


def wait_for(process: Study, folder: Path, target: int) -> bool:
    """Wait until a study has come so far; False if it has ended before."""
    deadline = time.monotonic() + 120
    while lines(folder) < target:
        assert time.monotonic() < deadline
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return True


def wait_for_the_end_of(family: list[int]) -> None:
    """Wait until processes that were told to end have done so."""
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in family):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find workers")
def test_killed_at_twenty_random_points_the_study_ends_as_an_undisturbed_one(
    undisturbed: tuple[list[dict[str, str]], int], tmp_path: Path, template: Path
) -> None:
    table, length = undisturbed
    equip(tmp_path, template)
    draw = random.Random(0)
    killed, studies = 0, 0
    while killed < KILLS:
        output = f"study {studies}"
        for target in sorted(draw.randrange(length) for _ in range(KILLS // 2)):
            before = results(tmp_path / output)
            process = prepared(tmp_path, output) if killed else start(tmp_path, output)
            if not wait_for(process, tmp_path / output, target):
                end(process)
                break
            time.sleep(draw.uniform(0, 0.05))
            family = workers(process) if isinstance(process, Prepared) else []
            # Mostly the process that conducts the study, sometimes one that trains for it. (A study
            # whose worker dies before training says so and ends.)
            trains = family and results(tmp_path / output) > before
            victim = draw.choice(family) if trains and draw.random() < 0.25 else process.pid
            os.kill(victim, signal.SIGKILL)
            killed += 1
            if victim == process.pid:
                process.communicate(timeout=30)  # of the first, its server and its worker as well
                wait_for_the_end_of(family)
            else:
                end(process)
                break
        end(prepared(tmp_path, output))
        assert rows(tmp_path / output) == table
        assert unfinished(tmp_path / output) == []
        studies += 1
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'ternary_sparsity'")
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_processes_that_start_together_share_a_study_and_one_may_die(
    undisturbed: tuple[list[dict[str, str]], int], tmp_path: Path, template: Path
) -> None:
    table, length = undisturbed
    equip(tmp_path, template)
    first, second = prepared(tmp_path, "shared"), prepared(tmp_path, "shared")
    assert wait_for(first, tmp_path / "shared", length // 3)
    first.kill()
    first.communicate(timeout=30)
    assert "ternary (tuned)" in end(second)
    assert rows(tmp_path / "shared") == table
    assert unfinished(tmp_path / "shared") == []
