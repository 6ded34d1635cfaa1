"""Frozen weights, and pruning in rounds with rewinding."""

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from datamodules import Digits
from initializers import FromState, Initializer, Masked, Pretrained, Ternary
from initializers.job import Job
from lightning_modules import Classifier, WholeEpoch, WholeEpochClassifier
from lightning_modules.pruning import FrozenWeights, PruningPlan, PruningRound, prune_iteratively

SMALL = "mlp:hidden=30-20"
SIZES = {"fc1.weight": 64 * 30, "fc2.weight": 30 * 20, "fc3.weight": 20 * 10}


def trainer(callbacks: list[pl.Callback], epochs: int = 2) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        callbacks=callbacks,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def digits(limit: int = 200) -> Digits:
    return Digits(seed=0, train_limit=limit)


def build(start: Initializer, **options: Any) -> Classifier:
    return Classifier(SMALL, start, seed=3, **{"lr": 3e-3, **options})


def run(plan: PruningPlan, **options: Any) -> list[PruningRound]:
    return list(
        prune_iteratively(
            plan,
            "glorot_normal",
            model=lambda start: build(start, **options),
            trainer=trainer,
            data=digits(),
        )
    )


def state(model: Classifier) -> dict[str, Tensor]:
    assert model.network is not None
    return {name: value.clone() for name, value in model.network.state_dict().items()}


OPTIMIZATIONS = [
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "gradient_clip": 0.5},
    {"optimizer": "adam", "weight_decay": 0.1, "schedule": "cosine", "warmup_epochs": 0.5},
    {"optimizer": "adamw", "weight_decay": 0.5},
]


# Frozen weights


@pytest.mark.parametrize("options", OPTIMIZATIONS, ids=lambda options: options["optimizer"])
def test_zeros_stay_exactly_zero(options: dict[str, Any]) -> None:
    model = build(Ternary(density=0.3), **options)
    trainer([FrozenWeights()]).fit(model, digits())
    begin = build(Ternary(density=0.3), input_shape=(1, 8, 8), num_classes=10)
    begin.initialize()
    before, after = state(begin), state(model)
    for name in SIZES:
        zero = before[name] == 0
        assert int(zero.sum()) == SIZES[name] * 7 // 10
        assert not after[name][zero].any()
        assert bool((after[name] != before[name])[~zero].float().mean() > 0.8)
    assert after["fc1.bias"].any()  # biases start at 0 and train


@pytest.mark.parametrize("options", OPTIMIZATIONS, ids=lambda options: options["optimizer"])
def test_masked_weights_keep_their_values_bit_for_bit(options: dict[str, Any]) -> None:
    masked = Masked("he_normal", criterion="random", density=0.4, zeros="freeze_init")
    begin = build(masked, input_shape=(1, 8, 8), num_classes=10)
    begin.initialize()
    assert begin.network is not None
    masks = masked.masks(begin.network, seed=3)
    model = build(masked, **options)
    trainer([FrozenWeights(masks)]).fit(model, digits())
    before, after = state(begin), state(model)
    for name in SIZES:
        assert torch.equal(before[name][~masks[name]], after[name][~masks[name]])
        assert not torch.equal(before[name][masks[name]], after[name][masks[name]])


def test_whole_epochs_train_the_same_sparse_network() -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "lr": 0.1, "gradient_clip": 0.5}
    model = build(Ternary(density=0.3), **options)
    trainer([FrozenWeights()]).fit(model, digits())
    data = digits()
    data.setup("fit")
    whole = WholeEpochClassifier(
        SMALL, Ternary(density=0.3), seed=3, input_shape=(1, 8, 8), num_classes=10, **options
    )
    trainer([FrozenWeights()]).fit(whole, WholeEpoch(data.train_dataloader()))  # type: ignore[arg-type]
    assert all(torch.equal(value, state(whole)[name]) for name, value in state(model).items())


def test_frozen_weights_count_in_no_gradient_norm() -> None:
    # All of the network but the output bias is frozen: clipping sees the bias's gradient alone,
    # which is below the limit here, so that the step is the one without clipping.
    results = []
    for clip in (0.0, 2.0):
        model = build(
            Ternary(density=0.3),
            optimizer="sgd",
            lr=0.1,
            momentum=0.0,
            gradient_clip=clip,
            input_shape=(1, 8, 8),
            num_classes=10,
        )
        assert model.network is not None
        masks = {
            name: torch.full_like(value, name == "fc3.bias", dtype=torch.bool)
            for name, value in model.network.named_parameters()
        }
        trainer([FrozenWeights(masks)], epochs=1).fit(model, digits(50))
        results.append(state(model))
    free = build(Ternary(density=0.3), input_shape=(1, 8, 8), num_classes=10)
    free.initialize()
    data = digits(50)
    data.setup("fit")
    loss = nn.functional.cross_entropy(free(data.train_dataloader().x), data.train_dataloader().y)
    loss.backward()
    norm = math.sqrt(
        sum(float(p.grad.square().sum()) for p in free.parameters() if p.grad is not None)
    )
    assert norm > 2.0  # clipping would have had something to do
    assert torch.equal(results[0]["fc3.bias"], results[1]["fc3.bias"])
    assert results[0]["fc3.bias"].any()


def test_freezing_nothing_changes_no_bit_and_leaves_no_hook() -> None:
    plain, followed = build("he_normal"), build("he_normal")  # type: ignore[arg-type]
    trainer([]).fit(plain, digits())
    callback = FrozenWeights()
    run_ = trainer([callback])
    run_.fit(followed, digits())
    assert all(torch.equal(value, state(followed)[name]) for name, value in state(plain).items())
    assert callback._handles == []
    assert not run_.optimizers[0]._optimizer_step_post_hooks


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"fc9.weight": torch.ones(2, 2).bool()}, "no parameter 'fc9.weight'; did you mean"),
        (
            {"fc1.weight": torch.ones(30, 64)},
            "must be a bool tensor of shape .30, 64., got torch.f",
        ),
        ({"fc1.weight": torch.ones(64, 30).bool()}, "got torch.bool of shape .64, 30."),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer([FrozenWeights(masks)]).fit(build(Ternary()), digits())


# Iterative pruning


def test_alive_weights_follow_the_floor_chain_and_pruned_ones_never_return() -> None:
    rounds = run(PruningPlan.of_paper("fc", rounds=4))
    assert [each.number for each in rounds] == [0, 1, 2, 3, 4]
    expected = dict(SIZES)
    for number, each in enumerate(rounds):
        if number:
            expected = {
                name: alive - alive * (10 if name == "fc3.weight" else 20) // 100
                for name, alive in expected.items()
            }
        assert {name: int(mask.sum()) for name, mask in each.masks.items()} == expected
        assert each.density == sum(expected.values()) / sum(SIZES.values())
        final = state(each.model)
        for name, mask in each.masks.items():
            assert not final[name][~mask].any()  # exactly 0 after training
            if number:
                assert not bool((mask & ~rounds[number - 1].masks[name]).any())
    assert rounds[-1].masks["fc1.weight"].sum() == 788  # 1920 1536 1229 984 788


def test_every_round_restarts_from_the_first_weights() -> None:
    rounds = run(PruningPlan(rounds=2, rate=0.3))
    begin = build("glorot_normal", input_shape=(1, 8, 8), num_classes=10)  # type: ignore[arg-type]
    begin.initialize()
    initial = state(begin)
    for each in rounds:
        for name, value in each.start.state().items():
            mask = each.masks.get(name, torch.ones_like(value, dtype=torch.bool))
            assert torch.equal(value, initial[name] * mask)
    # the smallest trained magnitudes were pruned
    trained = state(rounds[0].model)
    for name, mask in rounds[1].masks.items():
        size = trained[name].abs()
        assert float(size[mask].min()) >= float(size[~mask].max())


def test_the_first_round_is_a_plain_training() -> None:
    rounds = run(PruningPlan(rounds=1, rate=0.5))
    plain = build("glorot_normal")  # type: ignore[arg-type]
    trainer([]).fit(plain, digits())
    assert all(
        torch.equal(value, state(rounds[0].model)[name]) for name, value in state(plain).items()
    )


def test_a_network_with_an_eighth_of_its_weights_still_learns_the_digits() -> None:
    rounds = prune_iteratively(
        PruningPlan(rounds=3, rate=0.5, last_rate=0.5),
        "glorot_normal",
        model=lambda start: Classifier("lenet_300_100", start, lr=1.2e-3, seed=3),
        trainer=lambda callbacks: trainer(callbacks, epochs=5),
        data=(data := Digits(seed=0)),
    )
    last = list(rounds)[-1]
    assert last.density == 0.125
    tested = last.trainer.test(last.model, data, verbose=False)[0]
    assert tested["test_accuracy"] > 0.9


def test_a_plan_with_a_seed_gives_the_same_bits() -> None:
    plan = PruningPlan(rounds=2, criterion="random", ones="random_reshuffle", rescale=True)
    one, two = run(plan)[-1], run(plan)[-1]
    assert all(torch.equal(one.masks[name], two.masks[name]) for name in SIZES)
    assert all(
        torch.equal(value, state(two.model)[name]) for name, value in state(one.model).items()
    )


def test_global_pruning_ranks_the_layers_together() -> None:
    rounds = run(PruningPlan(rounds=2, rate=0.25, scope="global"))
    alive = [sum(int(mask.sum()) for mask in each.masks.values()) for each in rounds]
    assert alive == [2720, 2040, 1530]
    trained = state(rounds[0].model)
    kept = torch.cat([trained[name][mask].abs() for name, mask in rounds[1].masks.items()])
    gone = torch.cat([trained[name][~mask].abs() for name, mask in rounds[1].masks.items()])
    assert float(kept.min()) >= float(gone.max())


def test_weights_stay_frozen_at_the_value_that_their_pruning_gave_them() -> None:
    rounds = run(
        PruningPlan(rounds=3, rate=0.3, criterion="large_init", zeros="freeze_init_zero_mask"),
        weight_decay=0.1,
    )
    initial = rounds[0].start.state()
    for before, after in itertools.pairwise(rounds):
        trained, final = state(before.model), state(after.model)
        for name in SIZES:
            dead, fresh = ~before.masks[name], before.masks[name] & ~after.masks[name]
            grown = trained[name].abs() > initial[name].abs()
            now = after.start.state()[name]
            assert torch.equal(now[dead], before.start.state()[name][dead])
            assert torch.equal(now[fresh], (initial[name] * grown)[fresh])
            frozen = ~after.masks[name]
            assert torch.equal(final[name][frozen], now[frozen])
    frozen = ~rounds[-1].masks["fc1.weight"]
    share = float((rounds[-1].start.state()["fc1.weight"] != 0)[frozen].float().mean())
    assert 0.05 < share < 0.95  # both cases occur


@pytest.mark.parametrize(
    ("network", "rates"),
    [("fc", [0.2, 0.1]), ("conv2", [0.1, 0.1, 0.2, 0.2, 0.1]), ("conv6", [0.15] * 6)],
)
def test_the_papers_rates_by_layer_type(network: str, rates: list[float]) -> None:
    plan = PruningPlan.of_paper(network)
    layers: list[nn.Module] = [nn.Linear(8, 8), nn.Linear(8, 8)]
    if network == "conv2":
        layers = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), *(nn.Linear(8, 8) for _ in range(3))]
    if network == "conv6":
        layers = [nn.Conv2d(4, 4, 3) for _ in range(6)] + [nn.Linear(8, 8)]
        rates = [*rates, 0.1]
    job = Job.of("test", nn.Sequential(*layers), 0, None, None)
    assert [plan.rate_of(layer.context) for layer in job.layers] == rates
    assert PruningPlan(rate=0.3).rate_of(job.layers[-1].context) == 0.15
    assert PruningPlan.of_paper(network, rounds=3).rounds == 3


def test_plans_refuse_bad_values() -> None:
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\)"):
        PruningPlan(rate=1.0)
    with pytest.raises(ValueError, match="one rate for all layers"):
        PruningPlan(scope="global", last_rate=0.1)
    with pytest.raises(ValueError, match="fc, conv2, conv4, conv6"):
        PruningPlan.of_paper("conv8")


def test_a_trainer_without_the_callbacks_and_a_network_that_cannot_be_rewound_are_refused() -> None:
    arguments: dict[str, Any] = {"data": digits(), "model": build}
    with pytest.raises(ValueError, match="must pass its callbacks on"):
        next(
            prune_iteratively(
                PruningPlan(), Ternary(), trainer=lambda callbacks: trainer([]), **arguments
            )
        )
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.PReLU())
    arguments["model"] = lambda start: Classifier(copy.deepcopy(network), start)
    with pytest.raises(ValueError, match="would be left alone"):
        next(prune_iteratively(PruningPlan(), Ternary(), trainer=trainer, **arguments))
    arguments["model"] = lambda start: build(start, optimizer="sgd", lr=1e12)
    rounds = prune_iteratively(PruningPlan(), "he_normal", trainer=trainer, **arguments)
    assert next(rounds).model.diverged
    with pytest.raises(ValueError, match="must be finite"):
        next(rounds)


def test_a_real_checkpoint_serves_as_trained_weights(tmp_path: Path) -> None:
    rounds = prune_iteratively(
        PruningPlan(rounds=1, rate=0.4, last_rate=0.4),
        "glorot_normal",
        model=build,
        trainer=trainer,
        data=digits(),
    )
    first = next(rounds)
    first.trainer.save_checkpoint(tmp_path / "trained.ckpt")
    masked = Masked(
        first.start,
        Pretrained(str(tmp_path / "trained.ckpt"), prefix="network."),
        "large_final",
        density=0.6,
    )
    model = build(masked, input_shape=(1, 8, 8), num_classes=10)
    model.initialize()
    second = next(rounds)
    assert isinstance(second.start, FromState)
    assert all(
        torch.equal(value, state(model)[name]) for name, value in second.start.state().items()
    )
