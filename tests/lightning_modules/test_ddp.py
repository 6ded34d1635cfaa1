"""Several processes: the same weights on every rank, the same result as one process."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from datamodules import Digits
from initializers import LSUV, HeNormal
from lightning_modules import Classifier, Member, StackedClassifier, StackedData

# oneDNN's products are of float32 only: there sums differ with the number of examples.
ROUNDING = {"onednn": 1e-3}
FORMS = {"alone": 1, "data": 1, "dense": 3, "onednn": 3, "layers": 3}  # with the number of networks
# Each form is trained on two processes that this one forks.
SCRIPT = """
import sys
from pathlib import Path
from tests.lightning_modules.test_ddp import FORMS, fit

for form in FORMS:
    fit(Path(sys.argv[1]), 2, form)
"""


class Note(pl.Callback):
    """Writes down how a training began and ended, on each rank."""

    def __init__(self, folder: Path, form: str) -> None:
        self.folder, self.form = folder, form

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        parts = [p.detach().numpy().tobytes() for p in module.parameters()]
        self.start = hashlib.sha256(b"".join(parts)).hexdigest()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        histories: Any = getattr(module, "histories", None) or [module.history]
        seen = {
            "start": self.start,
            "history": [epoch for history in histories for epoch in history],
            "end": [p.detach().double().sum().item() for p in module.parameters()],
        }
        file = f"{self.form}-{trainer.world_size}-{trainer.global_rank}.json"
        (self.folder / file).write_text(json.dumps(seen))


def fit(folder: Path, devices: int, form: str) -> None:
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=devices,
        precision="32-true" if form in ROUNDING else "64-true",
        strategy="ddp_fork" if devices > 1 else "auto", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Note(folder, form)],
    )  # fmt: skip
    if form in ("alone", "data"):
        # Not ternary: sums of equal weights cancel to 0 exactly or up to rounding, which differs
        # with the number of rows of a product, and ReLU's derivative jumps there. The data-driven
        # one starts from the first batch of all processes together.
        initializer = HeNormal() if form == "alone" else LSUV(HeNormal(), tolerance=0.0)
        model = Classifier("lenet_300_100", initializer, seed=7)
        trainer.fit(model, Digits(seed=7, train_limit=200))
        return
    members = [Member(HeNormal(), 7), Member(HeNormal(scale=1.5), 7), Member(HeNormal(), 8)]
    network = "mlp:hidden=1200-100" if form == "onednn" else "lenet_300_100"
    stack = StackedClassifier(
        network, members, input_shape=(1, 8, 8), num_classes=10, form=form, block=2
    )
    trainer.fit(stack, StackedData({s: Digits(seed=s, train_limit=200) for s in (7, 8)}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes of every form on one process and on two."""
    folder = tmp_path_factory.mktemp("notes")
    done = subprocess.run(  # a process that nothing has used yet is the one to be forked
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    for form in FORMS:
        fit(folder, 1, form)
    return folder


@pytest.mark.parametrize(("form", "members"), FORMS.items())
def test_two_processes_start_alike_and_end_like_one(folder: Path, form: str, members: int) -> None:
    one, first, second = (
        json.loads((folder / f"{form}-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")
    )
    assert first["start"] == second["start"] == one["start"]
    assert first["end"] == second["end"]
    rounding = ROUNDING.get(form, 1e-6)
    assert first["end"] == pytest.approx(one["end"], rel=rounding, abs=rounding)
    assert len(first["history"]) == 2 * members
    for mine, theirs in zip(first["history"], one["history"], strict=True):
        assert mine == pytest.approx(theirs, abs=rounding)
