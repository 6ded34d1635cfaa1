"""Several processes: the same weights on every rank, the same result as one process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import hashlib, json, logging, sys, warnings
from pathlib import Path
import lightning.pytorch as pl
from datamodules import Digits
from initializers import LSUV, HeNormal
from lightning_modules import Classifier, Member, StackedClassifier, StackedData

class Note(pl.Callback):
    def on_fit_start(self, trainer, module):
        self.start = self.digest(module)
    def on_train_end(self, trainer, module):
        histories = getattr(module, "histories", None) or [module.history]
        seen = {"start": self.start, "history": [e for h in histories for e in h],
                "end": [p.detach().double().sum().item() for p in module.parameters()]}
        Path(sys.argv[2], f"rank{trainer.global_rank}.json").write_text(json.dumps(seen))
    def digest(self, module):
        parts = [p.detach().numpy().tobytes() for p in module.parameters()]
        return hashlib.sha256(b"".join(parts)).hexdigest()

if __name__ == "__main__":
    devices = int(sys.argv[1])
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", devices=devices, precision="64-true",
        strategy="ddp_fork" if devices > 1 else "auto", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Note()])
    if sys.argv[3] not in ("alone", "data"):
        members = [Member(HeNormal(), 7), Member(HeNormal(scale=1.5), 7), Member(HeNormal(), 8)]
        model = StackedClassifier("lenet_300_100", members, input_shape=(1, 8, 8), num_classes=10,
            form=sys.argv[3], block=2)
        data = StackedData({s: Digits(seed=s, train_limit=200) for s in (7, 8)})
        trainer.fit(model, data)
        sys.exit()
    # Not ternary: sums of equal weights cancel to 0 exactly or up to rounding, which differs with
    # the number of rows of a product, and ReLU's derivative jumps there.
    # The data-driven one starts from the first batch of all processes together.
    initializer = HeNormal() if sys.argv[3] == "alone" else LSUV(HeNormal(), tolerance=0.0)
    model = Classifier("lenet_300_100", initializer, seed=7)
    trainer.fit(model, Digits(seed=7, train_limit=200))
"""


def fit(folder: Path, devices: int, form: str) -> list[dict[str, object]]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    out = folder / str(devices)
    out.mkdir()
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(devices), str(out), form],
        env={"PYTHONPATH": str(root), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(devices)]


@pytest.mark.parametrize(
    ("form", "members"), [("alone", 1), ("data", 1), ("dense", 3), ("layers", 3)]
)
def test_two_processes_start_alike_and_end_like_one(
    tmp_path: Path, form: str, members: int
) -> None:
    (one,) = fit(tmp_path, 1, form)
    first, second = fit(tmp_path, 2, form)
    assert first["start"] == second["start"] == one["start"]
    assert first["end"] == second["end"]
    assert first["end"] == pytest.approx(one["end"], abs=1e-6)
    assert len(first["history"]) == 2 * members
    for mine, theirs in zip(first["history"], one["history"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
