"""Networks trained as a stack against the same runs alone, and against other stacks."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from datamodules import Digits
from initializers import GlorotNormal, HeNormal
from lightning_modules import (
    Member,
    Optimization,
    StackedBatches,
    StackedClassifier,
    WholeEpoch,
    WholeEpochClassifier,
)
from lightning_modules.stacking import NotStackableError

DATA: dict[str, Any] = {"input_shape": (1, 8, 8), "num_classes": 10}
LENET, ODD = "lenet_300_100", "mlp:hidden=33-17"
WIDE = "mlp:hidden=901-100"  # large enough for oneDNN
SGD, ADAM = Optimization("sgd", 0.05), Optimization("adam", 1e-3)
ALL = replace(
    SGD,
    weight_decay=1e-3,
    schedule="cosine",
    warmup_epochs=0.5,
    label_smoothing=0.1,
    gradient_clip=1.0,
)
PAIR = (Member(HeNormal(), 1), Member(GlorotNormal(), 1))
FIVE = (
    Member(HeNormal(), 1, 0.01),
    Member(GlorotNormal(), 1, 0.01),
    Member(HeNormal(), 2, 0.01),
    Member(GlorotNormal(scale=1.5), 2, 0.03),
    Member(HeNormal(), 3, 0.02),
)
Network = str | Callable[[], nn.Module]


def trainer(epochs: int, precision: Any = "32-true", **options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(max_epochs=epochs, precision=precision, **{**defaults, **options})


@functools.cache
def digits(seed: int, limit: int | None, batch: int) -> Digits:
    data = Digits(seed=seed, train_limit=limit, batch_size=batch)
    data.setup()
    return data


def made(network: Network) -> str | nn.Module:
    torch.manual_seed(0)  # for dropout, too
    return network if isinstance(network, str) else network()


@functools.cache
def alone(
    network: Network,
    member: Member,
    rule: Optimization,
    epochs: int = 3,
    precision: str = "64-true",
    limit: int | None = 200,
    batch: int = 50,
    channels_last: bool = False,
) -> WholeEpochClassifier:
    given: dict[str, Any] = rule.to_dict() | ({} if member.lr is None else {"lr": member.lr})
    given |= {"seed": member.seed, "channels_last": channels_last}
    model = WholeEpochClassifier(made(network), member.initializer, **given, **DATA)
    data, run = digits(member.seed, limit, batch), trainer(epochs, precision)
    run.fit(model, WholeEpoch(data.train_dataloader()), data.val_dataloader())
    run.test(model, data.test_dataloader(), verbose=False)
    return model


def batches(members: Sequence[Member], limit: int | None = 200, batch: int = 50) -> StackedBatches:
    seeds = {member.seed for member in members}
    return StackedBatches({seed: digits(seed, limit, batch).train_dataloader() for seed in seeds})


def stacked(
    network: Network,
    members: Sequence[Member],
    rule: Optimization,
    epochs: int = 3,
    precision: str = "64-true",
    limit: int | None = 200,
    batch: int = 50,
    *,
    form: str = "layers",
    block: int | None = None,
    channels_last: bool = False,
    resume: Path | None = None,
    **options: Any,
) -> StackedClassifier:
    """Train and test a stack; `resume` is a checkpoint to continue from."""
    how: dict[str, Any] = {"form": form, "block": block, "channels_last": channels_last}
    model = StackedClassifier(made(network), members, rule, **DATA, **how)
    data, run = digits(1, limit, batch), trainer(epochs, precision, **options)
    loader = batches(members, limit, batch)
    run.fit(model, loader, data.val_dataloader(), ckpt_path=resume, weights_only=True)
    run.test(model, data.test_dataloader(), verbose=False)
    return model


def state(stack: StackedClassifier, position: int) -> dict[str, torch.Tensor]:
    network = stack.classifier(position).network
    assert network is not None
    return network.state_dict()


def assert_close(stack: StackedClassifier, position: int, lone: WholeEpochClassifier) -> None:
    """Weights, buffers, histories and test figures to 1e-10."""
    assert lone.network is not None
    theirs = dict(lone.network.state_dict())
    torch.testing.assert_close(state(stack, position), theirs, rtol=0, atol=1e-10)
    assert len(stack.histories[position]) == len(lone.history) >= 2
    pairs = zip(stack.histories[position], lone.history, strict=True)
    for ours, own in (*pairs, (stack.tested[position], lone.tested)):
        assert ours == pytest.approx(own, rel=0, abs=1e-10)


def assert_same_bits(
    stack: StackedClassifier, position: int, other: StackedClassifier, place: int
) -> None:
    ours, theirs = state(stack, position), state(other, place)
    assert [name for name, value in ours.items() if not torch.equal(value, theirs[name])] == []
    assert stack.histories[position] == other.histories[place]
    assert stack.tested[position] == other.tested[place]


SMALL: dict[str, Any] = {"epochs": 2, "limit": 60, "batch": 20}


@pytest.mark.parametrize("rule", [SGD, ADAM], ids=lambda rule: rule.optimizer)
@pytest.mark.parametrize(
    ("network", "form", "size"),
    [
        (LENET, "dense", {}),
        (LENET, "layers", {}),
        (LENET, "vmap", {}),
        ("conv2", "layers", SMALL),
        ("resnet:depth=8", "layers", SMALL),
    ],
)
def test_a_member_equals_the_run_alone(
    network: str, form: str, size: dict[str, Any], rule: Optimization
) -> None:
    stack = stacked(network, PAIR, rule, **size, form=form)
    for position, member in enumerate(PAIR):
        assert_close(stack, position, alone(network, member, rule, **size))


@pytest.mark.parametrize("network", ["conv2", "resnet:depth=8,shortcut=B"])
def test_in_channels_last_format_too(network: str) -> None:
    size: dict[str, Any] = {**SMALL, "channels_last": True}
    stack = stacked(network, PAIR, SGD, **size)
    for position, member in enumerate(PAIR):
        assert_close(stack, position, alone(network, member, SGD, **size))
        single = stacked(network, [member], SGD, **size)
        assert_same_bits(stack, position, single, 0)


def with_dropout() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 33), nn.ReLU(), nn.Dropout(0.3)),
        *(nn.Linear(33, 17), nn.ReLU(), nn.Dropout(0.2), nn.Linear(17, 10)),
    )


RATED = (Member(HeNormal(), 1, 0.02), Member(HeNormal(), 1, 0.08), Member(GlorotNormal(), 1))
SEEDS = tuple(Member(HeNormal(), seed) for seed in (1, 4, 5))
OF_ONE_SEED = tuple(replace(member, seed=1) for member in FIVE)


@pytest.mark.parametrize(
    ("network", "members", "rule", "form", "block"),
    [
        (LENET, PAIR, ALL, "dense", None),
        ("resnet:depth=8", PAIR, ALL, "layers", None),
        ("resnet:depth=8", PAIR, ALL, "vmap", None),
        (ODD, RATED, SGD, "layers", None),
        (ODD, RATED, replace(ALL, optimizer="adamw", lr=1e-3), "vmap", None),
        (ODD, SEEDS, ADAM, "dense", None),
        (ODD, SEEDS, SGD, "layers", None),
        (ODD, FIVE, ALL, "dense", 2),
        ("mlp:hidden=33-17,activation=tanh", FIVE, SGD, "layers", 2),
    ],
)
def test_every_part_of_a_recipe_is_that_of_the_run_alone(
    network: str, members: tuple[Member, ...], rule: Optimization, form: str, block: int | None
) -> None:
    stack = stacked(network, members, rule, form=form, block=block)
    for position, member in enumerate(members):
        assert_close(stack, position, alone(network, member, rule))


@pytest.mark.parametrize(("form", "block"), [("layers", None), ("layers", 2), ("vmap", None)])
def test_dropout_loses_the_units_that_the_run_alone_loses(form: str, block: int | None) -> None:
    stack = stacked(with_dropout, OF_ONE_SEED, SGD, form=form, block=block)
    for position, member in enumerate(OF_ONE_SEED):
        assert_close(stack, position, alone(with_dropout, member, SGD))


@pytest.mark.parametrize(
    ("form", "network"),
    [("onednn", WIDE), ("dense", LENET), ("layers", LENET), ("vmap", LENET)],
)
def test_accuracy_in_float32_is_that_of_the_run_alone(form: str, network: str) -> None:
    size: dict[str, Any] = {"precision": "32-true", "limit": None}
    stack = stacked(network, PAIR, ADAM, **size, form=form)
    for position, member in enumerate(PAIR):
        lone = alone(network, member, ADAM, **size).tested["test_accuracy"]
        assert stack.tested[position]["test_accuracy"] == pytest.approx(lone, abs=1.001 / 500)
        assert lone > 0.85


@pytest.mark.parametrize(
    ("network", "form", "rule"),
    [
        (ODD, "dense", SGD),
        (ODD, "dense", replace(ALL, optimizer="adam")),
        (WIDE, "onednn", replace(ALL, optimizer="adam")),
        (WIDE, "onednn", SGD),
        (ODD, "layers", ALL),
        ("mlp:hidden=33-17,activation=tanh", "layers", ADAM),
        ("conv2", "layers", ALL),
        ("resnet:depth=8", "layers", ALL),
    ],
)
def test_a_member_does_not_depend_on_its_company(
    network: str, form: str, rule: Optimization
) -> None:
    size: dict[str, Any] = {"epochs": 2, "precision": "32-true", "limit": 100, "batch": 33}
    train = functools.partial(stacked, network, rule=rule, form=form, **size)
    whole = train(members=FIVE)
    for block, places in ((None, [3]), (None, [4, 1]), (None, [2, 0, 3]), (2, [0, 1, 2, 3, 4])):
        other = train(members=[FIVE[place] for place in places], block=block)
        for place, position in enumerate(places):
            assert_same_bits(whole, position, other, place)


WILD = Member(HeNormal(), 1, 1e12)


@pytest.mark.parametrize(
    ("network", "form", "block"),
    [(ODD, "dense", None), (ODD, "layers", None), (ODD, "dense", 2), (WIDE, "onednn", 2)],
)
def test_who_diverges_leaves_and_the_others_go_on(
    network: str, form: str, block: int | None
) -> None:
    members = (FIVE[0], WILD, *FIVE[1:])
    stack = stacked(network, members, SGD, precision="32-true", form=form, block=block)
    others = stacked(network, FIVE, SGD, precision="32-true", form=form)
    assert stack.active == [0, 2, 3, 4, 5]
    assert stack.diverged == [False, True, False, False, False, False]
    lone = alone(network, WILD, SGD, precision="32-true")
    assert lone.diverged
    assert len(stack.histories[1]) == len(lone.history) < 3
    assert not all(math.isfinite(value) for value in stack.histories[1][-1].values())
    assert stack.tested[1] == {}
    for place, position in enumerate(stack.active):
        assert_same_bits(stack, position, others, place)
    with pytest.raises(
        ValueError, match=r"^Member 1 has left the stack; \[0, 2, 3, 4, 5\] are in it\.$"
    ):
        stack.classifier(1)


def test_a_whole_block_may_diverge() -> None:
    stack = stacked(ODD, (WILD, WILD, *FIVE), SGD, precision="32-true", form="dense", block=2)
    others = stacked(ODD, FIVE, SGD, precision="32-true", form="dense")
    assert stack.active == [2, 3, 4, 5, 6]
    for place, position in enumerate(stack.active):
        assert_same_bits(stack, position, others, place)
    assert stack(torch.zeros(4, 1, 8, 8)).shape == (5, 4, 10)


def test_training_stops_when_nobody_is_left() -> None:
    model = StackedClassifier(ODD, (WILD, WILD), SGD, **DATA)
    run = trainer(50)
    run.fit(model, batches([WILD]), digits(1, 200, 50).val_dataloader())
    assert model.diverged == [True, True]
    assert model.active == []
    assert run.current_epoch == len(model.histories[0]) < 50


class Leaves(pl.Callback):
    """Takes out members 1 and 3 after the first epoch, in the hook of this name."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.act)

    def act(self, trainer: pl.Trainer, model: Any) -> None:
        if len(model.active) == 5 and trainer.global_step > 0:
            model.leave([1, 3])


HOOKS = ["on_train_epoch_start", "on_train_epoch_end", "on_validation_end"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("form", "block"), [("dense", None), ("layers", 2)])
def test_a_callback_may_take_members_out(hook: str, form: str, block: int | None) -> None:
    options: dict[str, Any] = {"precision": "32-true", "form": form, "block": block}
    stack = stacked(ODD, FIVE, ALL, **options, callbacks=[Leaves(hook)])
    others = stacked(ODD, [FIVE[0], FIVE[2], FIVE[4]], ALL, precision="32-true", form=form)
    assert [len(history) for history in stack.histories][::2] == [3, 3, 3]
    assert [len(history) for history in stack.histories][1::2] in ([1, 1], [0, 0])
    assert stack.diverged == [False] * 5
    for place, position in enumerate((0, 2, 4)):
        assert_same_bits(stack, position, others, place)


@pytest.mark.parametrize(
    ("network", "form", "block"),
    [
        (ODD, "dense", None),
        (WIDE, "onednn", None),
        (ODD, "layers", 2),
        (ODD, "vmap", 2),
        ("resnet:depth=8", "layers", 2),
    ],
)
@pytest.mark.parametrize("rule", [ALL, replace(ALL, optimizer="adam")], ids=["sgd", "adam"])
def test_a_checkpoint_after_somebody_left_continues_to_the_bit(
    network: str, form: str, block: int | None, rule: Optimization, tmp_path: Path
) -> None:
    members = (FIVE[0], replace(WILD, lr=1e38), *FIVE[1:3])
    size: dict[str, Any] = {"epochs": 3, "precision": "32-true", "limit": 100}
    kept = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    train = functools.partial(stacked, network, members, replace(rule, gradient_clip=0.0))
    options: dict[str, Any] = {"form": form, "block": block}
    whole = train(**size, **options, callbacks=[kept], enable_checkpointing=True)
    resumed = train(**size, **options, resume=tmp_path / "epoch=1.ckpt")
    for position in whole.active:
        assert_same_bits(whole, position, resumed, position)
    assert resumed.records == [None] * 4  # it was not initialised again
    assert resumed.active == whole.active == [0, 2, 3]
    assert len(whole.histories[1]) <= 2
    assert resumed.diverged == whole.diverged
    assert [len(history) for history in resumed.histories] == [len(h) for h in whole.histories]


@pytest.mark.parametrize("network", [ODD, with_dropout], ids=["name", "object"])
def test_a_member_becomes_a_classifier(network: Network) -> None:
    stack = stacked(network, FIVE, SGD, 1, block=2).eval()
    x = torch.rand(7, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    models = [stack.classifier(position).eval() for position in range(5)]
    for position, model in enumerate(models):
        torch.testing.assert_close(model(x), stack(x)[position], rtol=0, atol=1e-12)
        assert model.history == stack.histories[position]
        assert (model.seed, model.hparams["lr"]) == (FIVE[position].seed, FIVE[position].lr)


class Counts(pl.Callback):
    """The Trainer's batches, with the steps counted so far."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize(("block", "blocks"), [(None, 1), (2, 3)])
def test_callbacks_see_one_batch_per_epoch(block: int | None, blocks: int) -> None:
    counts = Counts()
    stacked(ODD, FIVE, SGD, 3, block=block, callbacks=[counts])
    assert counts.steps == [4 * blocks, 8 * blocks, 12 * blocks]


@pytest.mark.parametrize("form", ["dense", "layers", "vmap"])
def test_mixed_precision_is_close_to_that_of_the_run_alone(form: str) -> None:
    size: dict[str, Any] = {"precision": "bf16-mixed", "limit": None}
    stack = stacked(LENET, PAIR, ADAM, **size, form=form)
    assert all(parameter.dtype == torch.float32 for parameter in stack.parameters())
    for position, member in enumerate(PAIR):
        lone = alone(LENET, member, ADAM, **size)
        assert stack.tested[position] == pytest.approx(lone.tested, abs=0.03)


def partly_frozen() -> nn.Module:
    chain = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    chain[1].weight.requires_grad_(False)
    return chain


@pytest.mark.parametrize("form", ["layers", "vmap"])
def test_clipping_leaves_out_what_is_frozen(form: str) -> None:
    rule = replace(SGD, gradient_clip=0.1)
    stack = stacked(partly_frozen, PAIR[:1], rule, form=form)
    assert_close(stack, 0, alone(partly_frozen, PAIR[0], rule))


def test_the_written_out_gradient_refuses_frozen_parameters() -> None:
    with pytest.raises(NotStackableError, match="some parameters are frozen"):
        stacked(partly_frozen, PAIR[:1], SGD, form="dense")
