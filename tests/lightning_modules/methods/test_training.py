"""Methods under the Classifier: accuracy, figures, checkpoints, several processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from datamodules import Digits
from initializers import get_initializer
from lightning_modules import Classifier, WholeEpoch, WholeEpochClassifier

METHODS = ("free_pruning", "supermask", "signed_supermask", "binary_surrogate:surrogate=lrt")


def trainer(epochs: int, **options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": epochs,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**defaults, **options})


def train(
    method: str | None, initializer: str = "he_normal", epochs: int = 10, **options: Any
) -> Classifier:
    """Train on all digits, as the engine does."""
    data = Digits(seed=0)
    data.setup("fit")
    network = options.pop("network", "lenet_300_100")
    model = WholeEpochClassifier(
        network, initializer, method=method, input_shape=(1, 8, 8), num_classes=10, **options
    )
    trainer(epochs).fit(model, WholeEpoch(data.train_dataloader()), data.val_dataloader())
    return model


ELU = "lenet_300_100:activation=elu,bias=false"


@pytest.mark.parametrize(
    ("method", "options", "accuracy", "figures"),
    [
        ("free_pruning", {"lr": 3e-3}, 0.95, {"masked": (0.1, 0.3), "flipped": (0.0, 0.0)}),
        ("min_pruning", {"lr": 3e-3}, 0.95, {"changed": (0.02, 0.1)}),
        ("free_flipping", {"lr": 3e-3}, 0.95, {"flipped": (0.05, 0.25), "masked": (0.0, 0.0)}),
        ("min_flipping", {"lr": 3e-3}, 0.95, {"changed": (0.01, 0.1)}),
        (
            "connectivity:scaling=kernel,rescale=true",
            {"lr": 3e-3, "initializer": "asymmetric_binary:positive=0.7"},
            0.9,
            {"masked": (0.05, 0.6)},
        ),
        ("supermask", {"optimizer": "sgd", "lr": 20.0}, 0.88, {"masked": (0.4, 0.6)}),
        (
            "signed_supermask",
            {"optimizer": "sgd", "lr": 0.05, "weight_decay": 3e-4, "network": ELU},
            0.95,
            {"masked": (0.35, 0.45), "flipped": (0.25, 0.35)},
        ),
        (
            "binary_surrogate",
            {"lr": 1e-2, "initializer": "uniform_means"},
            0.95,
            {"val_accuracy_sampled": (0.8, 1.0), "val_accuracy_sign": (0.85, 1.0)},
        ),
        (
            "binary_surrogate:neuron=sign,evaluate=sampled",
            {"lr": 1e-2, "initializer": "uniform_means"},
            0.8,
            {"val_accuracy_surrogate": (0.95, 1.0)},
        ),
        (
            "binary_surrogate:surrogate=lrt",
            {"lr": 1e-2, "initializer": "uniform_means", "network": ELU},
            0.88,
            {"mean_square": (0.34, 0.5)},
        ),
    ],
)
def test_every_method_learns_the_digits(
    method: str, options: dict[str, Any], accuracy: float, figures: dict[str, tuple[float, float]]
) -> None:
    last = train(method, **options).history[-1]
    assert last["val_accuracy"] >= accuracy
    for name, (low, high) in figures.items():
        assert low <= last[name] <= high, name


def test_changing_less_than_a_tenth_gives_most_of_the_accuracy() -> None:
    """The claim of Ivan & Florian, on small data."""
    standard = train(None, lr=1e-3).history[-1]["val_accuracy"]
    minimal = train("min_flipping", lr=1e-3).history[-1]
    assert minimal["changed"] < 0.1
    assert minimal["val_accuracy"] > 0.9 * standard


def test_deep_binary_networks_need_means_close_to_one() -> None:
    """The claim of Stamatescu et al.: with xi near 0 nothing reaches the last layer."""
    deep = {"network": "mlp:hidden=" + "-".join(["30"] * 20), "lr": 1e-2, "epochs": 2}
    losses = [
        train("binary_surrogate", means, **deep).history[-1]["train_loss"]
        for means in ("critical_means:depth=20", "glorot_normal")
    ]
    assert losses[0] < 2.15
    assert losses[1] > 2.29  # ln 10 = 2.303 is chance


def digits() -> Digits:
    return Digits(seed=0, train_limit=200)


def state(model: Classifier) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("method", METHODS)
def test_training_by_batches_and_by_epochs_and_again_gives_equal_bits(method: str) -> None:
    results = []
    for kind, globally in ((Classifier, 0), (Classifier, 1), (WholeEpochClassifier, 2)):
        torch.manual_seed(globally)
        model = kind("lenet_300_100", "he_normal", method=method, seed=3)
        data = digits()
        if kind is WholeEpochClassifier:
            data.setup("fit")
            model = kind(
                "lenet_300_100", "he_normal", method=method, seed=3,
                input_shape=(1, 8, 8), num_classes=10,
            )  # fmt: skip
            trainer(2).fit(model, WholeEpoch(data.train_dataloader()), data.val_dataloader())
        else:
            trainer(2).fit(model, data)
        results.append((state(model), model.history))
    for other in results[1:]:
        assert_same(results[0][0], other[0])
        assert results[0][1] == other[1]


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_restores_network_and_method(method: str, tmp_path: Path) -> None:
    model = Classifier("lenet_300_100", "he_normal", lr=3e-3, method=method)
    run = trainer(1)
    run.fit(model, digits())
    run.save_checkpoint(tmp_path / "a.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert loaded.method == model.method
    assert loaded.applied is not None
    assert model.applied is not None
    assert loaded.applied.metrics().keys() == model.applied.metrics().keys()
    assert_same(state(loaded), state(model))
    data = digits()
    tested = trainer(1).test(loaded, data, verbose=False)[0]
    assert tested == trainer(1).test(model, data, verbose=False)[0]
    views = () if "binary" not in method else ("sampled", "sign")
    assert set(tested) == {"test_loss", "test_accuracy", *(f"test_accuracy_{v}" for v in views)}
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.eval()(x), model.eval()(x))


class StopAfter(pl.Callback):
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True


@pytest.mark.parametrize("method", METHODS)
def test_resuming_equals_not_stopping(method: str, tmp_path: Path) -> None:
    def model() -> Classifier:
        return Classifier("lenet_300_100", "he_normal", schedule="cosine", method=method)

    whole, first, second = model(), model(), model()
    trainer(3).fit(whole, digits())
    stopped = trainer(3, callbacks=[StopAfter()])
    stopped.fit(first, digits())
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    trainer(3).fit(second, digits(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert_same(state(whole), state(second))
    assert whole.history == second.history
    assert len(whole.history) == 3


@pytest.mark.parametrize("method", METHODS)
def test_initialising_again_starts_again(method: str) -> None:
    model = Classifier("lenet_300_100", "he_normal", method=method)
    trainer(1).fit(model, digits())
    trained = state(model)
    trainer(1).fit(model, digits())  # goes on
    assert model.applied is not None
    start = Classifier(
        "lenet_300_100", "he_normal", method=method, input_shape=(1, 8, 8), num_classes=10
    )
    record = start.initialize()
    model.initialize()
    assert record == model.record
    assert_same(state(model), state(start))
    assert any(not torch.equal(trained[name], value) for name, value in state(start).items())
    plain = Classifier("lenet_300_100", "he_normal", input_shape=(1, 8, 8), num_classes=10)
    assert plain.initialize() == record


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
@pytest.mark.parametrize("method", ["signed_supermask", "binary_surrogate:surrogate=lrt"])
def test_other_precisions_learn_as_well(method: str, precision: str) -> None:
    data = Digits(seed=0, train_limit=200)
    model = Classifier("lenet_300_100", get_initializer("uniform_means"), lr=1e-2, method=method)
    trainer(3, precision=precision).fit(model, data)
    losses = [epoch["train_loss"] for epoch in model.history]
    assert losses[-1] < losses[0]
    kind = torch.float64 if precision == "64-true" else torch.float32
    assert {p.dtype for p in model.parameters()} == {kind}


SCRIPT = """
import hashlib, json, sys
from pathlib import Path
import lightning.pytorch as pl
from datamodules import Digits
from lightning_modules import Classifier

class Note(pl.Callback):
    def on_fit_start(self, trainer, module):
        self.start = self.digest(module)
    def on_train_end(self, trainer, module):
        seen = {"start": self.start, "history": module.history, "end": self.digest(module),
                "sum": sum(p.detach().sum().item() for p in module.parameters())}
        path = Path(sys.argv[1], f"{module.method.to_dict()['name']}{trainer.global_rank}.json")
        path.write_text(json.dumps(seen))
    def digest(self, module):
        parts = [p.detach().numpy().tobytes() for p in module.state_dict().values()]
        return hashlib.sha256(b"".join(parts)).hexdigest()

if __name__ == "__main__":
    for method in ("supermask", "binary_surrogate"):
        trainer = pl.Trainer(max_epochs=2, accelerator="cpu", devices=2, logger=False,
            precision="64-true", strategy="ddp_fork", enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[Note()])
        model = Classifier("mlp:hidden=30", "he_normal", lr=3e-3, seed=7, method=method)
        trainer.fit(model, Digits(seed=7, train_limit=200))
"""


def test_two_processes_sample_alike_and_end_like_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    for name in ("supermask", "binary_surrogate"):
        one = Classifier("mlp:hidden=30", "he_normal", lr=3e-3, seed=7, method=name)
        trainer(2, precision="64-true").fit(one, Digits(seed=7, train_limit=200))
        assert one.method is not None
        files = [tmp_path / f"{one.method.to_dict()['name']}{rank}.json" for rank in (0, 1)]
        first, second = (json.loads(file.read_text()) for file in files)
        assert first["start"] == second["start"]
        assert first["end"] == second["end"] != first["start"]
        total = sum(p.detach().sum().item() for p in one.parameters())
        assert first["sum"] == pytest.approx(total, abs=1e-5)
        for mine, theirs in zip(first["history"], one.history, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-6)
