"""The Classifier in a user's own script, and its whole-epoch form."""

import copy
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from datamodules import Digits
from initializers import HeNormal, Ternary
from lightning_modules import Classifier, WholeEpoch, WholeEpochClassifier, build_network


def trainer(epochs: int = 2, **options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": epochs,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**defaults, **options})


def digits(seed: int = 0) -> Digits:
    return Digits(seed=seed, train_limit=200)


def weights(model: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


class Initialised(pl.Callback):
    """Keeps the weights at the start of training."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.weights = copy.deepcopy(pl_module.state_dict())


def test_the_initialiser_sets_the_weights_that_training_starts_from() -> None:
    model = Classifier("lenet_300_100", Ternary(density=0.1), seed=3)
    start = Initialised()
    trainer(1, callbacks=[start]).fit(model, digits())
    expected = build_network("lenet_300_100", input_shape=(1, 8, 8), num_classes=10)
    Ternary(density=0.1)(expected, seed=3)
    assert_same(
        {k.removeprefix("network."): v for k, v in start.weights.items()}, expected.state_dict()
    )
    assert model.record is not None
    assert [layer.name for layer in model.record.layers] == [
        name for name in expected.state_dict() if name.endswith("weight")
    ]


def test_global_random_state_does_not_matter() -> None:
    results = []
    for state in (0, 1):
        torch.manual_seed(state)
        model = Classifier("lenet_300_100", HeNormal(), seed=5)
        trainer(2).fit(model, digits(5))
        results.append((weights(model), model.history))
    assert_same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_history_holds_what_was_measured() -> None:
    model = Classifier("lenet_300_100", "he_normal", "sgd", lr=1e-12, momentum=0.0)
    data = digits()
    trainer(1).fit(model, data)
    x, y = data.train_dataloader().x, data.train_dataloader().y
    with torch.no_grad():
        logits = model(x)
    # With a vanishing learning rate the epoch's averages are those of the initial network.
    assert model.history[0]["train_loss"] == pytest.approx(
        nn.functional.cross_entropy(logits, y).item(), rel=1e-5
    )
    assert model.history[0]["train_accuracy"] == pytest.approx(
        (logits.argmax(1) == y).double().mean().item(), abs=1e-9
    )
    assert set(model.history[0]) == {"train_loss", "train_accuracy", "val_loss", "val_accuracy"}


def test_checkpoint_loads_with_weights_only_to_the_same_predictions(tmp_path: Path) -> None:
    model = Classifier("lenet_300_100", Ternary(density=0.1), lr=3e-3)
    data = digits()
    run = trainer(2)
    run.fit(model, data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    x = data.test_dataloader().x
    assert torch.equal(loaded.eval()(x), model.eval()(x))
    assert loaded.initializer == Ternary(density=0.1)
    assert loaded.history == model.history
    tested = trainer().test(loaded, data, verbose=False)[0]
    assert tested == trainer().test(model, data, verbose=False)[0]


def test_resuming_equals_not_stopping_and_never_initialises_again(tmp_path: Path) -> None:
    whole = Classifier("lenet_300_100", "he_normal", schedule="cosine")
    trainer(4).fit(whole, digits())
    first = Classifier("lenet_300_100", "he_normal", schedule="cosine")
    stopped = trainer(4, callbacks=[StopAfter(2)])
    stopped.fit(first, digits())
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    second = Classifier("lenet_300_100", "he_normal", schedule="cosine")
    trainer(4).fit(second, digits(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert second.record is None
    assert_same(weights(whole), weights(second))
    assert whole.history == second.history


class StopAfter(pl.Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def test_fitting_again_goes_on_from_the_trained_weights() -> None:
    model = Classifier("lenet_300_100", "he_normal")
    trainer(1).fit(model, digits())
    trained = weights(model)
    start = Initialised()
    trainer(1, callbacks=[start]).fit(model, digits())
    assert_same(start.weights, trained)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "sgd", "lr": 0.1, "schedule": "cosine", "warmup_epochs": 0.5},
        {"optimizer": "adamw", "weight_decay": 0.1, "gradient_clip": 0.5, "label_smoothing": 0.1},
    ],
)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_whole_epoch_training_is_bit_for_bit_the_same(
    options: dict[str, Any], precision: str
) -> None:
    model = Classifier("lenet_300_100", Ternary(density=0.2), seed=1, **options)
    trainer(3, precision=precision).fit(model, digits())
    data = digits()
    data.setup("fit")
    whole = WholeEpochClassifier(
        "lenet_300_100",
        Ternary(density=0.2),
        seed=1,
        input_shape=(1, 8, 8),
        num_classes=10,
        **options,
    )
    run = trainer(3, precision=precision)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*many workers.*")
        run.fit(whole, WholeEpoch(data.train_dataloader()), data.val_dataloader())
    assert_same(weights(model), weights(whole))
    assert model.history == whole.history
    assert run.global_step == 3 * 4


def test_a_diverging_run_stops_and_says_so() -> None:
    model = Classifier("lenet_300_100", "he_normal", "sgd", lr=1e12)
    run = trainer(5)
    run.fit(model, digits())
    assert model.diverged
    assert len(model.history) < 5


def test_user_network_object_is_named_when_it_is_missing(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    run = trainer(1)
    run.fit(Classifier(net, "glorot_uniform"), digits())
    run.save_checkpoint(tmp_path / "net.ckpt")
    with pytest.raises(ValueError, match="network=<the same network>"):
        Classifier.load_from_checkpoint(tmp_path / "net.ckpt", weights_only=True)
    again = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    loaded = Classifier.load_from_checkpoint(
        tmp_path / "net.ckpt", weights_only=True, network=again
    )
    x = digits()
    x.setup("test")
    batch = x.test_dataloader().x
    assert torch.equal(loaded(batch), run.lightning_module(batch))


def test_schedule_ends_with_max_steps_and_warms_up_by_epochs() -> None:
    # 4 batches per epoch: 2 warm-up steps, then 4 steps of a cosine, whose last is at 3/4.
    model = Classifier("lenet_300_100", "he_normal", lr=0.1, schedule="cosine", warmup_epochs=0.5)
    run = trainer(-1, max_steps=6)
    run.fit(model, digits())
    assert run.global_step == 6
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_an_endless_schedule_is_refused() -> None:
    model = Classifier("lenet_300_100", "he_normal", schedule="cosine")
    with pytest.raises(ValueError, match="give the Trainer max_epochs or max_steps"):
        trainer(-1, max_time="00:00:01:00").fit(model, digits())


def test_prediction_gives_probabilities_of_the_test_split() -> None:
    model = Classifier("lenet_300_100", "he_normal")
    run = trainer(1)
    run.fit(model, digits())
    predicted = torch.cat(run.predict(model, digits()))  # type: ignore[arg-type]
    assert predicted.shape == (500, 10)
    torch.testing.assert_close(predicted.sum(dim=1), torch.ones(500))


def test_a_learning_rate_found_later_is_used() -> None:
    model = Classifier("lenet_300_100", "he_normal")
    model.hparams["lr"] = 0.05  # what Lightning's learning-rate finder does
    run = trainer(1)
    run.fit(model, digits())
    assert run.optimizers[0].param_groups[0]["lr"] == 0.05


def test_without_data_the_shape_is_asked_for() -> None:
    with pytest.raises(ValueError, match="input_shape"):
        Classifier("lenet_300_100", "he_normal").initialize()
