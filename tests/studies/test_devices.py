"""Runs on several devices: the results of one, and one study around them."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from studies.engine import tasks
from studies.engine.forms import Form
from studies.engine.run import Arm, Environment, Recipe, Run
from tests.studies.conftest import environment
from tests.studies.prepared import run_prepared

STUDY = "studies.ternary_sparsity"
SMALL = [
    "--accelerator",
    "cpu",
    "--network",
    "mlp:hidden=16",
    "--search-seeds",
    "1",
    "--seeds",
    "2",
]
SMALL += ["--trials", "2", "--train-limit", "400", "--epochs", "15", "--stack", "2"]
SMALL += ["--output", "out"]
Start = Callable[..., subprocess.Popen[str]]

MLP = Recipe(
    data="digits",
    network="mlp:hidden=24-16",
    epochs=2,
    batch_size=25,  # 12 and 13 examples; the last 3 are shared as 1 and 2
    lr=3e-3,
    schedule="cosine",
    warmup_epochs=0.5,
    label_smoothing=0.1,
    gradient_clip=1.0,
    precision="64-true",
    train_limit=103,
)
# The last batch has one example, which both devices get.
CONV = Recipe("digits", "conv2", 1, 20, precision="64-true", train_limit=41)
# Not ternary: its exact zeros and ReLU's jump there turn rounding into differences.
ARMS = [Arm("He", {"name": "he_normal"}), Arm("Glorot", {"name": "glorot_normal"})]
ARMS += [Arm("fast", {"name": "he_normal"}, {"lr": 1e-2})]
CASES = {
    "mlp alone": ([Run(MLP, ARMS[0], 5, test=True)], Form()),
    "mlp dense": (
        [Run(MLP, arm, seed, test=True) for seed in (5, 6) for arm in ARMS],
        Form("dense", 4, mixed_seeds=True),
    ),
    "conv2 alone": ([Run(CONV, ARMS[0], 5, test=True)], Form(channels_last=True)),
    "conv2 layers": ([Run(CONV, arm, 5, test=True) for arm in ARMS[:2]], Form("layers", 2)),
}
# Trains all cases, and then keeps its processes waiting.
TEAM = """
import json, os, time
from pathlib import Path
from studies.engine import tasks
from studies.engine.cli import run_main
from studies.engine.devices import environment_of, in_one_voice, on_devices
from studies.engine.options import StudyOptions
from studies.engine.train import open_pool
from tests.studies.test_devices import CASES

options = StudyOptions(accelerator="cpu", devices=2)

def lead():
    here = environment_of(options)
    with open_pool(1) as pool:
        futures = {
            name: pool.submit(tasks.run_group, runs, here, form)
            for name, (runs, form) in CASES.items()
        }
        results = {name: [r.to_dict() for r in future.result()] for name, future in futures.items()}
        Path("part.json").write_text(json.dumps(results))
        os.rename("part.json", "results.json")
        pool.submit(time.sleep, 600).result()

in_one_voice(lambda: run_main(lambda: on_devices(options, lead, [])))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a Python program in an empty folder; what still runs at the end is killed."""
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    started = []

    def popen(*command: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env={**environment(), "XDG_CACHE_HOME": str(tmp_path / "cache"), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A job that a script started in the background ignores Ctrl-C, as would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        process.kill()


def test_two_devices_give_the_results_of_one(start: Start, tmp_path: Path) -> None:
    (tmp_path / "team.py").write_text(TEAM)
    team = start("-m", "studies", "run", "--devices", "2", "team.py")
    while not (tmp_path / "results.json").exists():
        assert team.poll() is None, team.communicate()
        time.sleep(0.1)
    # Ctrl-C reaches everybody, and is answered once.
    os.killpg(team.pid, signal.SIGINT)
    said = team.communicate(timeout=25)
    assert said == ("", "Interrupted. Run the same command again to continue.\n")
    assert team.returncode == 130
    together = json.loads((tmp_path / "results.json").read_text())
    for name, (runs, form) in CASES.items():
        single = tasks.run_group(runs, Environment(accelerator="cpu"), form)
        assert len(single) == len(together[name]) == len(runs)
        for one, two in zip(single, together[name], strict=True):
            assert one.status == two["status"] == "finished"
            assert one.key == two["key"]
            assert len(one.history) == runs[0].recipe.epochs
            for mine, theirs in zip(one.history, two["history"], strict=True):
                assert theirs == pytest.approx(mine, abs=1e-6), name
                # Accuracies are counts of whole examples.
                assert theirs["val_accuracy"] == mine["val_accuracy"]
            assert two["test_loss"] == pytest.approx(one.test_loss, abs=1e-6)
            assert two["test_accuracy"] == one.test_accuracy
            assert two["initialization"] == one.initialization


def results(folder: Path) -> int:
    """Trainings that the ledger of a study holds."""
    journal = folder / "out" / "study.journal"
    return len(re.findall(r'"initialization": ?\{', journal.read_text())) if journal.exists() else 0


def wait_for_results(process: subprocess.Popen[str], folder: Path, count: int) -> int:
    deadline = time.monotonic() + 120
    while (there := results(folder)) < count and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()
    return there


def team_of(launcher: subprocess.Popen[str]) -> dict[str, int]:
    """The processes that a launcher has started, by rank."""
    team = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            variables = (folder / "environ").read_text().split("\0")
        except OSError:  # it has ended, or is another user's
            continue
        if parent == str(launcher.pid):
            team |= {line[5:]: int(folder.name) for line in variables if line.startswith("RANK=")}
    return team


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_team_survives_and_every_run_is_recorded_once(
    start: Start, tmp_path: Path, template: Path
) -> None:
    shutil.copy(template, tmp_path / "mlflow.db")
    begun = start("-m", STUDY, *SMALL, "--devices", "2")
    wait_for_results(begun, tmp_path, 4)
    team = team_of(begun)
    assert sorted(team) == ["0", "1"]
    os.kill(team["1"], signal.SIGKILL)
    killed = time.monotonic()
    output, errors = begun.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert begun.returncode == 2
    assert "16 trainings, on 2 devices together" in output
    assert errors.splitlines()[-1] == (
        "error: Process 1 of 2 was killed (SIGKILL), perhaps for lack of memory; what was finished "
        "is kept: run the same command again."
    )
    assert "Traceback" not in errors
    kept = results(tmp_path)

    alone = run_prepared(tmp_path, STUDY, *SMALL)
    assert alone.returncode == 2
    assert alone.stderr == (
        "error: This study began with 2 device(s) per run and would continue with 1, where the "
        "last digits differ; use as many as before, or choose another --output.\n"
    )

    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    last = start(*torchrun, "-m", STUDY, *SMALL)
    output, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    rows = list(csv.DictReader((tmp_path / "out" / "runs.csv").open()))
    assert len(rows) == 22
    # Runs of equal key are trained once; what was finished before is not trained again.
    keys = {row["key"] for row in rows}
    assert f"{len(keys) - kept} trainings in" in output
    assert 4 <= kept < len(keys) == results(tmp_path)

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ternary_sparsity")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    trained = [run for run in runs if "run_key" in run.data.tags]
    assert sorted(run.data.tags["run_key"] for run in trained) == sorted(r["key"] for r in rows)
    assert len(runs) == 22 + 3 * 2 + 8 + 1  # trainings, trials, arms, the study


DATA = """
import os
from datamodules import Digits
from datamodules.errors import DataError

class Mine(Digits):
    def load(self):
        if os.environ["SLURM_PROCID"] == "1":
            raise DataError("the files of the second host are damaged: copy them again")
        return super().load()
"""


def srun(start: Start, *command: str) -> list[subprocess.Popen[str]]:
    """Two tasks of one step, with the variables that srun sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    step |= {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "here", "MASTER_PORT": port}
    return [
        start(*command, **step, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
        for rank in range(2)
    ]


def test_a_mistake_that_one_process_meets_is_said_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DATA)
    tasks = srun(start, "-m", STUDY, *SMALL, "--data", "mine:Mine")
    said = [task.communicate(timeout=120)[1] for task in tasks]
    assert said == ["error: the files of the second host are damaged: copy them again.\n", ""]
    assert tasks[0].returncode == 2
    assert tasks[1].returncode == 1


def test_a_mismatch_is_said_once_and_fails_everywhere(start: Start) -> None:
    tasks = srun(start, "-m", STUDY, *SMALL, "--devices", "3")
    said = [task.communicate(timeout=60) for task in tasks]
    sentence = (
        "error: --devices 3 does not fit: srun started 2 processes on 1 host, which makes 2 "
        "devices per host; leave --devices out, or start as many processes.\n"
    )
    assert said == [("", sentence), ("", "")]
    assert [task.returncode for task in tasks] == [2, 2]
