"""How runs are gathered into stacks, and that a stack gives the results of single trainings."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import pytest

from studies.engine import worker
from studies.engine.forms import ALONE, Form, gather
from studies.engine.run import Arm, Result, Run
from studies.engine.train import call, open_pool
from tests.studies.stack_parts import CPU, RECIPE, in_parts, timeless

HE = Arm("He", {"name": "he_normal"})
GLOROT = Arm("Glorot", {"name": "glorot_normal"})
TERNARY = Arm("ternary", {"name": "ternary", "density": 0.2})
TWIN = Arm("twin", {"name": "ternary_he_twin"})
DENSE = Form("dense", size=16, mixed_seeds=True)
TO_VALIDATE = 297


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with open_pool(1) as opened:
        yield opened


def runs_of(arms: int, seeds: int, *, test: bool = True, **overrides: Any) -> list[Run]:
    return [
        Run(RECIPE, Arm(f"arm {i}", {"name": "he_normal", "scale": i + 1.0}, overrides), seed, test)
        for seed in range(seeds)
        for i in range(arms)
    ]


def once(groups: Sequence[Sequence[Run]], runs: Sequence[Run]) -> bool:
    """Whether every run stands in exactly one group."""
    return Counter(run.key for group in groups for run in group) == Counter(r.key for r in runs)


@pytest.mark.parametrize(
    ("count", "form", "workers", "sizes"),
    [
        (12, DENSE, 2, [6, 6]),
        (160, DENSE, 2, [16] * 10),
        (161, DENSE, 2, [13] * 7 + [14] * 5),
        (160, dataclasses.replace(DENSE, blocks=4), 2, [10] * 8 + [40] * 2),
        (160, dataclasses.replace(DENSE, blocks=4), 1, [53, 53, 54]),
        (128, dataclasses.replace(DENSE, blocks=4), 2, [64] * 2),
        (100, dataclasses.replace(DENSE, blocks=4), 3, [33, 33, 34]),
        (3, DENSE, 8, [1, 1, 1]),
        (1, DENSE, 2, [1]),
        (0, DENSE, 2, []),
        (5, dataclasses.replace(DENSE, size=1), 2, [1] * 5),
    ],
)
def test_groups_are_equally_large_and_a_multiple_of_the_workers(
    count: int, form: Form, workers: int, sizes: list[int]
) -> None:
    runs = runs_of(count, 1)
    groups = gather(runs, form, workers)
    assert sorted(map(len, groups)) == sizes
    assert once(groups, runs)


@pytest.mark.parametrize("mixed_seeds", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_group_shares_all_but_arm_learning_rate_and_seed(mixed_seeds: bool, workers: int) -> None:
    runs = [
        *runs_of(5, 3),
        *runs_of(4, 3, lr=0.01),
        *runs_of(5, 3, test=False),
        *runs_of(5, 3, batch_size=25),
        *runs_of(4, 2, lr=0.01, weight_decay=1e-3),
    ]
    form = Form("layers", size=4, blocks=2, mixed_seeds=mixed_seeds)
    groups = gather(runs, form, workers)
    assert once(groups, runs)
    shared_rates = shared_seeds = 0
    for group in groups:
        assert 1 <= len(group) <= 8
        assert len({run.test for run in group}) == 1
        assert len({dataclasses.replace(run.effective_recipe, lr=1.0) for run in group}) == 1
        shared_rates += len({run.effective_recipe.lr for run in group}) > 1
        shared_seeds += len({run.seed for run in group}) > 1
    assert shared_rates > 0
    assert (shared_seeds > 0) == mixed_seeds


def test_neighbours_in_a_group_have_equal_learning_rates() -> None:
    runs = [run for rate in (0.1, 0.01, 0.1, 0.001) for run in runs_of(2, 1, lr=rate)]
    (group,) = gather(runs[:4] + runs[6:], DENSE, 1)
    assert [run.effective_recipe.lr for run in group] == [0.001, 0.001, 0.01, 0.01, 0.1, 0.1]


def test_alone_gives_one_run_per_group_in_the_order_of_the_runs() -> None:
    runs = runs_of(3, 2)
    assert gather(runs, ALONE, 2) == [[run] for run in runs]
    assert gather(runs, dataclasses.replace(ALONE, channels_last=True), 2) == [[r] for r in runs]


def test_a_form_is_plain_data_bounded_and_described() -> None:
    form = Form("layers", 16, 4, True, True, 512.5, "512 steps/s in stacks, 200 one by one")
    assert Form(**json.loads(json.dumps(form.to_dict()))) == form
    assert form.bounded(5) == dataclasses.replace(form, size=5, blocks=1)
    assert form.bounded(40) == dataclasses.replace(form, blocks=2)
    assert form.bounded(99) == form
    assert form.bounded(0).size == 1
    assert ALONE.bounded(4) == ALONE
    assert (form.stacked, ALONE.stacked) == (True, False)
    assert form.describe() == (
        "up to 16 networks in a stack, layer by layer in channels-last format, "
        "fused optimiser (512 steps/s in stacks, 200 one by one)"
    )
    dense = "up to 8 networks in a stack, as batched matrix products, fused optimiser"
    assert Form("dense", 8).describe() == dense
    onednn = "up to 2 networks in a stack, as matrix products of oneDNN, fused optimiser"
    assert Form("onednn", 2).describe() == onednn
    unfused = "up to 2 networks in a stack, by torch.func.vmap, optimiser not fused"
    assert Form("vmap", 2, fused=False).describe() == unfused
    assert ALONE.describe() == "one by one, fused optimiser"
    assert Form(reason="--stack 1").describe() == "one by one, fused optimiser (--stack 1)"


_alone: dict[str, Result] = {}


def alone(run: Run) -> Result:
    """The result of a single training, which several tests compare with."""
    if run.key not in _alone:
        _alone[run.key] = worker.run_one(run, CPU)
    return _alone[run.key]


def close(stacked: Result, single: Result, rel: float, images: float) -> None:
    """Equal to rounding, which may turn so many validation images."""
    assert (stacked.key, stacked.status) == (single.key, single.status)
    assert stacked.initialization == single.initialization
    assert stacked.data == single.data
    assert len(stacked.history) == len(single.history)
    for ours, theirs in zip(stacked.history, single.history, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            turned = images / TO_VALIDATE + 1e-9 if name.endswith("accuracy") else 0.0
            assert ours[name] == pytest.approx(theirs[name], rel=rel, abs=turned), name
    assert stacked.val_accuracy == stacked.history[-1]["val_accuracy"]
    assert stacked.test_accuracy == pytest.approx(single.test_accuracy, abs=images / 500 + 1e-9)
    assert stacked.test_loss == pytest.approx(single.test_loss, rel=rel)


@pytest.mark.parametrize(
    ("precision", "rel", "images"), [("32-true", 1e-4, 1), ("64-true", 1e-10, 0)]
)
@pytest.mark.parametrize("kind", ["onednn", "dense", "layers", "vmap"])
def test_a_stack_gives_the_results_of_single_trainings(
    kind: str, precision: str, rel: float, images: float
) -> None:
    recipe = dataclasses.replace(RECIPE, precision=precision, schedule="cosine")
    faster = dataclasses.replace(GLOROT, overrides={"lr": 3e-3})
    runs = [Run(recipe, arm, seed, test=True) for arm in (HE, faster) for seed in (5, 6)]
    form = Form(kind, size=3, mixed_seeds=True)  # two blocks of two seeds
    stacked = worker.run_group(runs, CPU, form)
    assert [result.key for result in stacked] == [run.key for run in runs]
    for run, result in zip(runs, stacked, strict=True):
        close(result, alone(run), rel, images)


def test_blocks_with_dropout_draw_what_a_lone_network_draws() -> None:
    """A user's network and plain loaders, which both draw from the global generator."""
    own = "tests.studies.own_parts"
    recipe = dataclasses.replace(
        RECIPE,
        data=f"{own}:PlainBlobs",
        network=f"{own}:Net",
        train_limit=None,
        precision="64-true",
    )
    runs = [Run(recipe, arm, seed=4, test=True) for arm in (HE, GLOROT, TWIN)]
    stacked = worker.run_group(runs, CPU, Form("layers", size=2))
    for run, result in zip(runs, stacked, strict=True):
        close(result, alone(run), rel=1e-10, images=0)


def test_test_figures_are_there_only_if_asked_for() -> None:
    for test in (False, True):
        for result in worker.run_stack(runs_of(2, 1, test=test), CPU, DENSE):
            assert (result.test_accuracy is not None) == test
            assert (result.test_loss is not None) == test
            assert result.status == "finished"
            assert result.seconds > 0


@pytest.mark.parametrize("kind", ["dense", "layers"])
def test_a_member_that_diverges_leaves_the_others_as_they_are(pool: Executor, kind: str) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", lr=0.05, epochs=5)
    wild = Arm("wild", {"name": "he_normal"}, {"lr": 1e12})
    calm = [Run(recipe, arm, seed, test=True) for arm in (HE, TERNARY) for seed in (0, 1)]
    form = Form(kind, size=16, mixed_seeds=True)
    lost = Run(recipe, wild, seed=0, test=True)
    first, lone, *others = call(pool, in_parts, [calm[0], lost, *calm[1:]], form, 16)
    assert (lone.status, lone.val_accuracy, lone.test_accuracy) == ("diverged", 0.0, 0.0)
    assert lone.test_loss is None
    assert lone.history[-1]["train_loss"] is None
    assert len(lone.history) == len(worker.run_one(lost, CPU).history) < 5
    assert [first, *others] == call(pool, in_parts, calm, form, 16)
    assert all(result.status == "finished" for result in (first, *others))
    assert all(len(result.history) == 5 for result in (first, *others))


def test_a_stack_in_which_all_diverge_ends_early() -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", lr=1e12, epochs=5)
    results = worker.run_stack([Run(recipe, arm, 0, test=True) for arm in (HE, GLOROT)], CPU, DENSE)
    for result in results:
        assert (result.status, result.test_accuracy, result.test_loss) == ("diverged", 0.0, None)
        assert len(result.history) < 5


@pytest.mark.parametrize(
    ("network", "form"),
    [
        ("lenet_300_100", Form("dense", 16, mixed_seeds=True)),
        ("mlp:hidden=33-17", Form("dense", 2, 4, mixed_seeds=True)),
        ("mlp:hidden=600-100", Form("onednn", 8, mixed_seeds=True)),
        ("mlp:hidden=601-99,bias=False", Form("onednn", 3, 3, mixed_seeds=True)),
        ("mlp:hidden=33-17,activation=tanh", Form("layers", 3, 2, mixed_seeds=True)),
    ],
)
def test_results_do_not_depend_on_who_shares_the_stack(
    pool: Executor, network: str, form: Form
) -> None:
    recipe = dataclasses.replace(RECIPE, network=network)
    rapid = dataclasses.replace(TERNARY, overrides={"lr": 0.01})
    arms = (HE, TERNARY, TWIN, rapid)
    runs = [Run(recipe, arm, seed, test=True) for arm in arms for seed in (0, 1)]
    together = call(pool, in_parts, runs, form, len(runs))
    assert len({result.history[-1]["train_loss"] for result in together}) == len(runs)
    for size in (1, 2, 3):
        assert call(pool, in_parts, runs, form, size) == together
    backwards = call(pool, in_parts, runs[::-1], form.bounded(1), len(runs))
    assert backwards[::-1] == together


def test_equal_runs_of_a_stack_have_equal_results(pool: Executor) -> None:
    run = Run(RECIPE, TERNARY, seed=3, test=True)
    results = call(pool, in_parts, [run, Run(RECIPE, HE, seed=2, test=True), run], DENSE, 3)
    assert results[0] == results[2] != results[1]
    assert timeless(results) == results
