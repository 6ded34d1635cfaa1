"""The loaders under a real Trainer."""

import warnings
from contextlib import contextmanager

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from datamodules import Digits, ShuffledBatches

# Lightning's own code uses what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec")


class Recorder(LightningModule):
    """Softmax regression that notes the labels of every batch, per epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(64, 10)
        self.seen: dict[int, list[list[int]]] = {}
        self.val: list[list[int]] = []
        self.test: list[list[int]] = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.seen.setdefault(self.current_epoch, []).append(y.tolist())
        return nn.functional.cross_entropy(self.net(x.flatten(1)), y)

    def validation_step(self, batch, batch_idx):
        self.val.append(batch[1].tolist())

    def test_step(self, batch, batch_idx):
        self.test.append(batch[1].tolist())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(tmp_path, callbacks=(), **options) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **{"num_sanity_val_steps": 0, **options},
    )


@pytest.fixture(scope="module")
def loaded() -> Digits:
    data = Digits(batch_size=300, seed=7, eval_batch_size=200)
    data.setup()
    return data


@pytest.fixture
def data(loaded) -> Digits:
    return loaded.with_options()  # no Trainer attached to it yet


@contextmanager
def no_warning_about(*words: str):
    """Lightning may warn about folders and devices, but not about the data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = [str(warning.message) for warning in caught]
    assert [text for text in texts if any(word in text.lower() for word in words)] == []


def flat(batches: list[list[int]]) -> list[int]:
    return [label for batch in batches for label in batch]


def epoch(data: Digits, number: int) -> list[list[int]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return [y.tolist() for _, y in loader]


def test_fit_and_test_without_any_warning(data, tmp_path):
    model = Recorder()
    with no_warning_about("data", "sampl", "shuffl", "worker", "batch", "resumable"):
        run = trainer(tmp_path, max_epochs=3, num_sanity_val_steps=2)
        run.fit(model, data)
        run.test(model, data, verbose=False)
    assert sorted(model.seen) == [0, 1, 2]
    for number in range(3):
        assert model.seen[number] == epoch(data, number)
        assert [len(batch) for batch in model.seen[number]] == [300, 300, 300, 100]
    assert flat(model.val[:2]) == data.split("val").y.tolist()
    assert len(model.val) == 2 * 4  # the sanity check and three epochs
    assert flat(model.test) == data.split("test").y.tolist()


def test_reloading_the_loaders_and_fitting_again_change_no_epoch(data, tmp_path):
    model = Recorder()
    run = trainer(tmp_path, max_epochs=2, reload_dataloaders_every_n_epochs=1)
    run.fit(model, data)
    run.fit_loop.max_epochs = 3
    run.fit(model, data)
    assert model.seen == {number: epoch(data, number) for number in range(3)}


@pytest.mark.parametrize("when", ["on_train_epoch_end", "on_validation_end"])
def test_resuming_after_an_epoch(data, tmp_path, when):
    checkpoint = ModelCheckpoint(
        dirpath=tmp_path, save_last=True, save_on_train_epoch_end=when == "on_train_epoch_end"
    )
    trainer(tmp_path, [checkpoint], max_epochs=2).fit(Recorder(), data)
    model = Recorder()
    with no_warning_about("data", "sampl", "shuffl", "worker", "batch", "resumable"):
        run = trainer(tmp_path, [checkpoint], max_epochs=4)
        run.fit(model, data, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert model.seen == {number: epoch(data, number) for number in (2, 3)}


@pytest.mark.parametrize("steps", [1, 3])
def test_resuming_inside_an_epoch_continues_with_the_next_batch(data, tmp_path, steps):
    checkpoint = ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=4 + steps, save_last=True)
    interrupted, resumed = Recorder(), Recorder()
    run = trainer(tmp_path, [checkpoint], max_steps=4 + steps)
    run.fit(interrupted, data)
    with no_warning_about("data", "sampl", "shuffl", "worker", "batch", "resumable"):
        run = trainer(tmp_path, [checkpoint], max_epochs=3)
        run.fit(resumed, data, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert interrupted.seen[1] == epoch(data, 1)[:steps]
    assert resumed.seen == {1: epoch(data, 1)[steps:], 2: epoch(data, 2)}


def test_overfitting_repeats_the_same_batches(data, tmp_path):
    model = Recorder()
    with no_warning_about("data", "sampl", "shuffl", "worker", "batch", "resumable"):
        trainer(tmp_path, max_epochs=2, overfit_batches=2).fit(model, data)
    assert model.seen[0] == model.seen[1]
    assert len(model.seen[0]) == 2


def test_a_loader_alone_is_accepted(data, tmp_path):
    model = Recorder()
    loader = data.train_dataloader()
    trainer(tmp_path, max_epochs=2, limit_train_batches=2, limit_val_batches=0).fit(model, loader)
    assert model.seen == {number: epoch(data, number)[:2] for number in range(2)}
    trainer(tmp_path).validate(model, loader, verbose=False)


def test_the_trainer_says_how_many_processes_share_the_data(data, monkeypatch, tmp_path):
    mine = data.with_options(seed=7)
    mine.trainer = trainer(tmp_path)
    assert mine._world() == (0, 1)
    shares = property(lambda self: {"num_replicas": 2, "rank": 1})
    monkeypatch.setattr(Trainer, "distributed_sampler_kwargs", shares)
    loader = mine.train_dataloader()
    assert isinstance(loader, ShuffledBatches)
    assert [len(y) for _, y in loader] == [150, 150, 150, 50]
    assert len(mine.val_dataloader()) == 2
    assert sum(len(y) for _, y in mine.val_dataloader()) == 149
