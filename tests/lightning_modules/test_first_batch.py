"""Initialisers that need data get the first training batch, and training does not notice."""

import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from datamodules import Digits
from initializers import LSUV, GradInit, HeNormal, Initializer
from lightning_modules import (
    Classifier,
    Member,
    StackedBatches,
    StackedClassifier,
    WholeEpoch,
    WholeEpochClassifier,
    build_network,
)
from lightning_modules.first_batch import first_batch

DATA: dict[str, Any] = {"input_shape": (1, 8, 8), "num_classes": 10}
ANY = LSUV(HeNormal(), tolerance=0.0)
LABELLED = GradInit(steps=2)


def digits(seed: int) -> Digits:
    data = Digits(seed=seed, train_limit=200, batch_size=50)
    data.setup()
    return data


def trainer(**options: Any) -> pl.Trainer:
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    given: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", **quiet, **options}
    return pl.Trainer(num_sanity_val_steps=0, precision="64-true", **given)


def by_hand(initializer: Initializer, seed: int) -> nn.Module:
    """The network at the start, from the first batch of epoch 0."""
    network = build_network("lenet_300_100", **DATA).double()
    batch = next(iter(digits(seed).train_dataloader()))
    initializer(network, seed=seed, batch=batch)
    return network


class Start(pl.Callback):
    """Keeps the weights at the start and the first examples of every batch."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self.seen: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network = pl_module.get_submodule("network")
        self.state = {name: value.clone() for name, value in network.state_dict().items()}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        if isinstance(batch, list | tuple):
            self.seen.append(batch[0].clone())


def assert_state(state: dict[str, Tensor], network: nn.Module) -> None:
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())
    assert state


@pytest.mark.parametrize("initializer", [ANY, LABELLED])
def test_a_classifier_starts_from_the_first_batch(initializer: Initializer) -> None:
    data, start = digits(4), Start()
    model = Classifier("lenet_300_100", initializer, seed=4)
    trainer(callbacks=[start]).fit(model, data)
    assert_state(start.state, by_hand(initializer, 4))
    assert model.record is not None
    assert "output std" in model.record.layers[0].note or "scaled" in model.record.layers[0].note
    plain = Start()
    trainer(callbacks=[plain]).fit(Classifier("lenet_300_100", HeNormal(), seed=4), digits(4))
    assert len(start.seen) == len(plain.seen) == 4
    assert all(torch.equal(one, two) for one, two in zip(start.seen, plain.seen, strict=True))


def test_whole_epochs_start_alike_and_train_alike() -> None:
    start = Start()
    whole = WholeEpochClassifier("lenet_300_100", ANY, seed=4, **DATA)
    data = digits(4)
    loaders = WholeEpoch(data.train_dataloader()), data.val_dataloader()
    trainer(callbacks=[start]).fit(whole, *loaders)
    assert_state(start.state, by_hand(ANY, 4))
    single = Classifier("lenet_300_100", ANY, seed=4)
    trainer().fit(single, digits(4))
    assert whole.history == single.history


@pytest.mark.parametrize("form", ["dense", "layers"])
def test_members_of_a_stack_start_from_the_batches_of_their_seeds(form: str) -> None:
    members = [Member(ANY, 4), Member(HeNormal(), 5), Member(LABELLED, 5)]
    model = StackedClassifier("lenet_300_100", members, form=form, **DATA)
    loader = StackedBatches({seed: digits(seed).train_dataloader() for seed in (4, 5)})
    trainer().fit(model, loader, digits(4).val_dataloader())
    for position, member in enumerate(members):
        lone = Classifier("lenet_300_100", member.initializer, seed=member.seed)
        trainer().fit(lone, digits(member.seed))
        mine = model.classifier(position)
        assert mine.network is not None
        assert lone.network is not None
        torch.testing.assert_close(
            mine.network.state_dict(), dict(lone.network.state_dict()), rtol=0, atol=1e-10
        )
        assert lone.record == model.records[position]
        assert mine.record == lone.record or member.initializer == HeNormal()  # there in float32


def test_resuming_and_testing_need_no_first_batch(tmp_path: Any) -> None:
    model = Classifier("lenet_300_100", ANY, seed=4)
    run = trainer()
    run.fit(model, digits(4))
    run.save_checkpoint(tmp_path / "model.ckpt")
    again = Classifier.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    tested = trainer().test(again, digits(4), verbose=False)
    assert (
        tested[0]["test_accuracy"] == run.test(model, digits(4), verbose=False)[0]["test_accuracy"]
    )
    with pytest.raises(ValueError, match="LSUV needs data: call it with batch=inputs"):
        trainer().test(Classifier("lenet_300_100", ANY), digits(4), verbose=False)
    fresh = Classifier("lenet_300_100", ANY, seed=4, **DATA)
    x, y = next(iter(digits(4).train_dataloader()))
    assert fresh.initialize((x, y)).layers[0].note.startswith("output std")


@pytest.mark.parametrize("own", [True, False], ids=["own generator", "global generator"])
def test_a_loader_and_all_generators_are_left_as_they_were(own: bool) -> None:
    data = TensorDataset(torch.arange(40.0).unsqueeze(1), torch.arange(40))
    generator = torch.Generator().manual_seed(3) if own else None
    loader = DataLoader(data, 8, shuffle=True, generator=generator)
    torch.manual_seed(1)
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    first, second = first_batch(loader), first_batch(loader)
    assert torch.equal(first[1], second[1])
    after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    assert torch.equal(states[0], after[0])
    assert states[1:] == after[1:]
    assert torch.equal(next(iter(loader))[1], first[1])  # what training meets


def test_shuffled_batches_stay_where_they_were() -> None:
    loader = digits(2).train_dataloader()
    reference = [y for _ in range(2) for _, y in digits(2).train_dataloader()]
    x, y = first_batch(loader)
    assert torch.equal(y, reference[0])
    assert x.shape == (50, 1, 8, 8)
    list(loader)
    place = loader.sampler.epoch
    assert torch.equal(first_batch(loader)[1], reference[0])
    assert loader.sampler.epoch == place == 1


@pytest.mark.parametrize("batches", [[], [torch.ones(3)], [(torch.ones(3), 1)]])
def test_a_loader_without_labels_is_refused(batches: list[Any]) -> None:
    with pytest.raises(ValueError, match="no pair"):
        first_batch(batches)
