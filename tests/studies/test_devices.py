"""Runs on several devices: the results of one, and one study around them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from studies.engine import tasks
from studies.engine.forms import Form
from studies.engine.run import Arm, Environment, Recipe, Run
from tests.studies.conftest import SMALL, environment

STUDY = "studies.ternary_sparsity"
ALONE = [word for word in SMALL if word not in ("--workers", "2")] + [
    "--trials",
    "2",
    "--seeds",
    "2",
]
OUTPUT = Path("outputs/ternary_sparsity/digits-lenet_300_100")
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
TEAM = """
import json, sys, warnings
from pathlib import Path
from studies.engine import tasks
from studies.engine.run import Environment
from studies.engine.world import launched_world
from studies.engine.world_pool import leading, serve
from tests.studies.test_devices import CASES

world = launched_world()
if world.rank:
    sys.exit(serve(world))
here = Environment(accelerator="cpu", devices=2)
with leading(world) as pool:
    results = {
        name: [each.to_dict() for each in pool.submit(tasks.run_group, runs, here, form).result()]
        for name, (runs, form) in CASES.items()
    }
Path("results.json").write_text(json.dumps(results))
"""


def start(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    (folder / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**environment(), "XDG_CACHE_HOME": str(folder / "cache"), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_devices_give_the_results_of_one(tmp_path: Path) -> None:
    (tmp_path / "team.py").write_text(TEAM)
    team = start(tmp_path, "-m", "studies", "run", "--devices", "2", "team.py")
    output, errors = team.communicate(timeout=200)
    assert team.returncode == 0, errors
    assert (output, errors) == ("", "")
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
