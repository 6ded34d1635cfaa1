"""Which form of training is chosen, and what the choice rests on. Timings are not tested."""

import dataclasses
import json
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lightning_modules import build_network
from studies.engine import bench as benches
from studies.engine import calibration, memory
from studies.engine.data import load_data
from studies.engine.forms import Form
from studies.engine.processes import prepare_environment
from studies.engine.run import Recipe
from studies.engine.train import call, open_pool
from tests.studies.stack_parts import CPU, HERE, RECIPE, agrees, bench, calibrated, settings

TANH = "mlp:hidden=32-16,activation=tanh"
NET = "tests.studies.own_parts:Net"


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with open_pool(1) as opened:
        yield opened


def recipe(network: str) -> Recipe:
    return dataclasses.replace(RECIPE, network=network)


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        ("lenet_300_100", "dense"),
        ("mlp:hidden=20-10,bias=False", "dense"),
        (TANH, "layers"),
        ("conv2", "layers"),
        (NET, "layers"),
        (f"{HERE}:Perceptron", "layers"),
        (f"{HERE}:Scaled", "vmap"),
    ],
)
def test_the_kind_of_stack_follows_from_the_modules(network: str, kind: str) -> None:
    assert bench(network).kind() == (kind, "")


def test_a_stack_in_mixed_precision_is_made_layer_by_layer() -> None:
    mixed = dataclasses.replace(RECIPE, precision="bf16-mixed")
    data = load_data(mixed, CPU)
    assert benches.Bench(mixed, data, torch.device("cpu")).kind() == ("layers", "")


def test_a_network_that_nothing_can_stack_is_trained_alone_and_says_why(
    pool: Executor, tmp_path: Path
) -> None:
    kind, reason = bench(f"{HERE}:Branching").kind()
    assert kind is None
    assert reason.startswith("middle (Scale) has parameters of its own, and torch.func.vmap fails")
    assert "\n" not in reason
    form = call(pool, calibrated, tmp_path, recipe(f"{HERE}:Branching"))
    assert (form.kind, form.size, form.reason) == ("alone", 1, reason)
    assert form.rate > 0


def test_an_optimiser_without_stacked_form_trains_alone_and_says_why(
    pool: Executor, tmp_path: Path
) -> None:
    rule = dataclasses.replace(RECIPE, optimizer="rmsprop")
    form = call(pool, calibrated, tmp_path, rule)
    assert form.describe() == (
        "one by one, optimiser not fused (the optimiser rmsprop has no stacked form)"
    )
    assert form.rate > 0


@pytest.mark.parametrize(
    ("network", "kind", "channels_last", "fused", "expected"),
    [
        ("lenet_300_100", "dense", False, True, True),
        ("lenet_300_100", "dense", False, False, True),
        ("lenet_300_100", "layers", False, True, True),
        (TANH, "layers", False, True, True),
        (NET, "layers", False, True, True),
        ("conv2", "layers", False, True, True),
        ("conv2", "layers", True, True, True),
        ("conv2", "layers", True, False, True),
        ("mlp:hidden=600-100", "onednn", False, True, True),
        ("mlp:hidden=601-99", "onednn", False, True, True),
        (f"{HERE}:Centred", "layers", False, True, False),
    ],
)
def test_members_agree_with_lone_networks_unless_they_meet(
    pool: Executor, network: str, kind: str, channels_last: bool, fused: bool, expected: bool
) -> None:
    assert call(pool, agrees, network, kind, channels_last, fused) is expected


def test_own_parameters_agree_by_vmap() -> None:
    """To rounding; for equal bits of a stack of one and of several, vmap gives no promise."""
    rows = bench(f"{HERE}:Scaled")
    single, stack = rows.alone(False, torch.float64), rows.stack("vmap", 2, False, torch.float64)
    for _ in range(3):
        single.step()
        stack.step()
    torch.testing.assert_close(stack.weights(), single.weights(), rtol=1e-9, atol=1e-11)


def test_networks_that_would_meet_in_a_sum_are_never_stacked_by_layers(
    pool: Executor, tmp_path: Path
) -> None:
    assert bench(f"{HERE}:Centred").kind() == ("layers", "")
    assert call(pool, calibrated, tmp_path, recipe(f"{HERE}:Centred")).kind in ("alone", "vmap")


def test_a_small_perceptron_is_stacked_and_the_choice_remembered(
    pool: Executor, tmp_path: Path
) -> None:
    form = call(pool, calibrated, tmp_path, RECIPE)
    assert form.kind == "dense"
    assert form.size >= 2
    assert form.mixed_seeds
    assert not form.channels_last
    assert form.rate > 0
    assert "steps/s in stacks" in form.reason
    (file,) = (tmp_path / "ternary-studies" / "calibration").iterdir()
    text = file.read_text()
    kept = Form(**json.loads(text)["form"])
    assert kept == dataclasses.replace(form, blocks=1, mixed_seeds=False)
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    assert str(Path(__file__).parents[2]) not in text

    # The rate in the file shows that a second call reads and does not measure.
    written = json.loads(text)
    written["form"]["rate"] = 123.0
    file.write_text(json.dumps(written))
    again = call(pool, calibrated, tmp_path, RECIPE)
    assert again == dataclasses.replace(form, rate=123.0)
    assert call(pool, calibrated, tmp_path, RECIPE, 2) == again
    # Neither learning rate nor number of examples shape a step.
    same = dataclasses.replace(RECIPE, lr=0.01, train_limit=200)
    assert call(pool, calibrated, tmp_path, same) == again
    assert len(list(file.parent.iterdir())) == 1

    other = dataclasses.replace(RECIPE, batch_size=25)
    assert call(pool, calibrated, tmp_path, other).rate != 123.0
    assert len(list(file.parent.iterdir())) == 2


def test_a_form_comes_out_for_a_network_with_dropout_and_keeps_its_seeds_apart(
    pool: Executor, tmp_path: Path
) -> None:
    assert bench(NET).draws
    assert not bench(TANH).draws
    form = call(pool, calibrated, tmp_path, recipe(NET))
    assert form.kind in ("layers", "alone")
    assert form.rate > 0
    assert not form.mixed_seeds


def test_a_form_comes_out_for_convolutions(pool: Executor, tmp_path: Path) -> None:
    small = dataclasses.replace(RECIPE, network="conv2", batch_size=10)
    form = call(pool, calibrated, tmp_path, small)
    assert form.kind in ("layers", "alone")
    assert form.rate > 0
    assert form.reason
    assert bench("conv2").has_images
    assert not bench("lenet_300_100").has_images


def test_too_little_memory_for_two_networks_is_the_reason_to_train_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(benches, "available_memory", lambda device: 100_000)
    form = calibrated(tmp_path, RECIPE)
    assert (form.kind, form.size) == ("alone", 1)
    assert form.reason == "two networks at once would not fit into the memory"
    assert form.rate > 0


def test_memory_bounds_the_size_of_a_stack_and_is_shared_by_the_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = bench("lenet_300_100")
    network = build_network("lenet_300_100", input_shape=(1, 8, 8), num_classes=10)
    needed = memory.step_memory(rows.alone(False).step, network)
    # Half of the memory is for all workers together: five networks, or two for each of two.
    monkeypatch.setattr(benches, "available_memory", lambda device: 10 * needed + 100)
    form = calibrated(tmp_path / "one", RECIPE)
    assert form.size * form.blocks <= 5
    form = calibrated(tmp_path / "two", RECIPE, workers=2)
    assert form.size * form.blocks <= 2


def test_a_limit_of_one_trains_one_by_one_and_the_choice_is_remembered(tmp_path: Path) -> None:
    form = calibrated(tmp_path, RECIPE, stack=1)
    assert (form.kind, form.size, form.reason) == ("alone", 1, "--stack 1")
    assert form.rate > 0
    assert calibrated(tmp_path, RECIPE, stack=1) == form


class Table:
    """Stands for a bench: gives names of what would be timed."""

    has_images = True
    fuses = True
    untrusted = ""

    def alone(self, channels_last: bool, *, fused: bool = True) -> str:
        return f"alone {channels_last} {fused}"

    def stack(self, kind: str, size: int, channels_last: bool, *, fused: bool = True) -> str:
        return f"{kind} {size} {fused}"

    def kind(self) -> tuple[str, str]:
        return "layers", ""

    def rival(self, kind: str) -> str:
        return "onednn"

    def agrees(self, form: Form) -> bool:
        return form.kind != self.untrusted


ALONE, CHANNELS_LAST, BY_PARTS = "alone False True", "alone True True", "alone False False"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({ALONE: 100, "layers 4 True": 104}, ("alone", 1, False, True)),
        ({ALONE: 100, CHANNELS_LAST: 104}, ("alone", 1, False, True)),
        ({ALONE: 100, CHANNELS_LAST: 106}, ("alone", 1, True, True)),
        ({ALONE: 100, BY_PARTS: 104}, ("alone", 1, False, True)),
        ({ALONE: 100, BY_PARTS: 106}, ("alone", 1, False, False)),
        ({CHANNELS_LAST: 100, "layers 4 True": 106}, ("layers", 4, True, True)),
        ({ALONE: 90, "layers 4 True": 99, "layers 8 True": 100}, ("layers", 4, False, True)),
        ({ALONE: 90, "layers 4 True": 99, "layers 4 False": 105}, ("layers", 4, False, False)),
        ({ALONE: 99, "layers 4 True": 99, "layers 4 False": 105}, ("layers", 4, False, False)),
        ({ALONE: 90, "layers 4 True": 98, "layers 8 True": 100}, ("layers", 8, False, True)),
        ({ALONE: 90, "layers 4 True": 100, "onednn 4 True": 104}, ("layers", 4, False, True)),
        ({ALONE: 90, "layers 4 True": 100, "onednn 4 True": 106}, ("onednn", 4, False, True)),
        ({ALONE: 100, "layers 4 True": 100, "onednn 4 True": 106}, ("onednn", 4, False, True)),
    ],
)
def test_another_way_has_to_be_clearly_faster(
    monkeypatch: pytest.MonkeyPatch,
    rates: dict[str, float],
    expected: tuple[str, int, bool, bool],
) -> None:
    monkeypatch.setattr(calibration, "rate", lambda name, members: rates.get(name, 85.0))
    form = calibration._measure(Table(), 32)  # type: ignore[arg-type]
    assert (form.kind, form.size, form.channels_last, form.fused) == expected


@pytest.mark.parametrize(("untrusted", "expected"), [("onednn", "layers"), ("layers", "alone")])
def test_a_faster_way_that_may_not_be_trusted_is_left_out(
    monkeypatch: pytest.MonkeyPatch, untrusted: str, expected: str
) -> None:
    rates = {ALONE: 90, "layers 4 True": 100} | (
        {"onednn 4 True": 150} if untrusted == "onednn" else {}
    )
    monkeypatch.setattr(calibration, "rate", lambda name, members: rates.get(name, 85.0))
    table = Table()
    table.untrusted = untrusted
    assert calibration._measure(table, 32).kind == expected  # type: ignore[arg-type]


def test_memory_of_a_step_lies_between_parameters_and_what_is_written_down() -> None:
    rows, n = bench("lenet_300_100"), RECIPE.batch_size
    network = build_network("lenet_300_100", input_shape=(1, 8, 8), num_classes=10)
    weights = 4 * sum(p.numel() for p in network.parameters())
    assert weights == 4 * (64 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10)
    # Inputs, both hidden layers before and after the ReLU, logits, their logarithms, labels.
    activations = 4 * n * (64 + 2 * 300 + 2 * 100 + 2 * 10) + 8 * n
    needed = memory.step_memory(rows.alone(False).step, network)
    assert 4 * weights + 2 * 4 * n * (300 + 100) <= needed
    assert needed <= 4 * weights + 2 * (activations + weights) + 1000


def test_memory_of_a_step_counts_each_activation_once() -> None:
    layer = nn.Linear(10, 20, bias=False)
    x = torch.zeros(7, 10)

    def step() -> Tensor:
        hidden = layer(x).sigmoid()  # keeps x, and its own output
        return (hidden * hidden).sum()  # keeps that output, twice

    assert memory.step_memory(step, layer) == 4 * 4 * 200 + 2 * 4 * (7 * 10 + 7 * 20)


def test_available_memory_is_some_of_what_the_machine_has() -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory.available_memory(torch.device("cpu")) <= physical


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert memory._limit(tmp_path) is None
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._limit(tmp_path) == 700


def test_settings_of_the_processes_are_defaults_that_a_user_can_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "3", "HOME": "/nowhere"})
    prepare_environment()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["MKL_CBWR"] == "AUTO"
    assert int(os.environ["MALLOC_MMAP_THRESHOLD_"]) >= 2**20
    monkeypatch.setattr(os, "environ", {"MKL_CBWR": "COMPATIBLE"})
    prepare_environment()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_CBWR"]) == ("1", "COMPATIBLE")


def test_worker_processes_have_the_settings(pool: Executor) -> None:
    names = ("OMP_NUM_THREADS", "MKL_CBWR", "MALLOC_TRIM_THRESHOLD_")
    expected = {name: os.environ[name] for name in names}  # set by `open_pool`, or by the user
    assert call(pool, settings, names) == expected
    assert call(pool, torch.get_num_threads) == int(expected["OMP_NUM_THREADS"])


def test_a_network_with_hooks_is_trained_alone_or_by_vmap(pool: Executor, tmp_path: Path) -> None:
    form = call(pool, calibrated, tmp_path, recipe(f"{HERE}:Hooked"))
    assert form.kind in ("alone", "vmap")


def test_other_code_under_the_same_name_is_measured_again(tmp_path: Path) -> None:
    before = bench(f"{HERE}:Perceptron").facts()
    assert bench(f"{HERE}:Perceptron").facts() == before
    assert bench(f"{HERE}:Centred").facts() != before
    assert bench("lenet_300_100").facts() != before


def test_an_unreadable_or_unwritable_memory_is_measured_again(tmp_path: Path) -> None:
    first = calibrated(tmp_path, RECIPE)
    (file,) = (tmp_path / "ternary-studies" / "calibration").iterdir()
    file.write_text("{}")
    assert calibrated(tmp_path, RECIPE).kind == first.kind
    assert json.loads(file.read_text())["form"]["kind"] == first.kind
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert calibrated(blocked, RECIPE).kind == first.kind
