"""``python -m initializers``: the list, one method, and what methods do to a network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from initializers import HeNormal, Ternary, get_initializer, initializer_names
from initializers.__main__ import main
from initializers.figures import MOST_LAYERS, Panel, save_distributions
from initializers.listing import NEEDS, catalogue_entries, entry_of
from initializers.show import EXAMPLES, panels, record_text, show, synthetic_batch
from initializers.texttable import text_table
from lightning_modules import build_network

SMALL = ["--network", "mlp:hidden=8-6", "--input-shape", "5", "--num-classes", "3"]


def run(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    main(arguments)
    return capsys.readouterr().out


def test_every_name_has_a_formula_a_description_and_known_needs() -> None:
    entries = catalogue_entries()
    assert sorted(entry.name for entry in entries) == sorted(initializer_names())
    families = [entry.family for entry in entries]
    assert families == sorted(families)
    for entry in entries:
        assert entry.formula, f"{entry.name}: add a Formula section to the docstring"
        assert "\n" not in entry.formula
        assert entry.summary
        assert entry.family != "own", f"{entry.name}: name a family"
        assert set(entry.needs) <= set(NEEDS)


def test_presets_keep_the_needs_of_their_method_and_may_name_another_source() -> None:
    assert entry_of("gradinit").needs == ("data", "labels", "second derivatives")
    assert entry_of("patel_he").citation.startswith("Patel")
    assert entry_of("he_normal").citation.startswith("He et al. 2015")
    assert entry_of("ternary_he_twin").citation == Ternary.citation
    assert entry_of("pretrained").family == "composition"
    assert entry_of("initializers.classical:HeNormal").formula == entry_of("he_normal").formula


@pytest.mark.parametrize("width", [80, 200])
def test_the_list_fits_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    main([])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    named = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert named[1:] == [entry.name for entry in catalogue_entries()]
    assert any("w ~ N(0, 2 / fan_in)" in line for line in lines) == (width == 200)


def test_the_list_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = json.loads(run(["--json"], capsys, monkeypatch))
    assert len(entries) == len(initializer_names())
    (lsuv,) = [entry for entry in entries if entry["name"] == "lsuv"]
    assert (lsuv["family"], lsuv["needs"]) == ("data-driven", ["data"])


def test_one_name_is_described(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run(["mup"], capsys, monkeypatch)
    for part in ("structural", "Yang et al. 2021", "base_width: b, at least 1.", "Var w_last"):
        assert part in text


def test_a_network_is_shown_layer_by_layer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = json.loads(run(["ternary:density=0.25", *SMALL, "--json"], capsys, monkeypatch))
    module = build_network("mlp:hidden=8-6", input_shape=(5,), num_classes=3)
    record = Ternary(density=0.25)(module, seed=0)
    assert plain["records"] == [record.to_dict()]
    assert plain["synthetic_batch"] == []
    text = run(["ternary:density=0.25", *SMALL], capsys, monkeypatch)
    rows = [line.split() for line in text.splitlines() if ".weight" in line]
    assert [(row[0], row[1]) for row in rows] == [
        (layer.name, "x".join(map(str, layer.shape))) for layer in record.layers
    ]
    assert [row[5] for row in rows] == [f"{layer.zero_fraction:.2%}" for layer in record.layers]
    assert "also set: 3 biases" in text
    assert "synthetic" not in text


def test_several_stand_side_by_side_and_the_synthetic_batch_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run(["lsuv", "ternary:density=0.25", "zeros", *SMALL], capsys, monkeypatch)
    assert f"lsuv: on a synthetic batch of {EXAMPLES} inputs N(0, 1)" in " ".join(text.split())
    assert "A  lsuv\nB  ternary:density=0.25\nC  zeros\n" in text
    row = next(line.split() for line in text.splitlines() if ".weight" in line)
    assert row[2::2] == ["0.0%", "75.0%", "100.0%"]
    assert max(map(len, text.splitlines())) <= 80


def test_nested_specs_and_rules_are_what_they_say() -> None:
    spec = (
        "rewired:base=(per_layer:base=(sign_constant:base=he_normal),"
        "rules=(first=zeros,*.2=(ternary:density=0.25))),temperature=0"
    )
    module = nn.Sequential()
    module.add_module("a", nn.Linear(8, 8))
    module.add_module("b", nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)))
    module.add_module("c", nn.Linear(8, 4))
    (shown,) = show(module, [(spec, get_initializer(spec))], torch.zeros(1, 8), 0)
    assert [layer.zero_fraction for layer in shown.record.layers] == [1.0, 0.0, 0.75, 0.0]
    constants = [len(torch.unique(sample.abs())) for sample in shown.samples]
    assert constants == [1, 1, 2, 1]


def test_the_synthetic_batch_depends_on_the_seed_alone() -> None:
    inputs, labels = synthetic_batch((3, 4), 5, 7)
    again, same_labels = synthetic_batch((3, 4), 5, 7)
    assert torch.equal(inputs, again)
    assert torch.equal(labels, same_labels)
    assert inputs.shape == (EXAMPLES, 3, 4)
    assert set(labels.tolist()) == {0, 1, 2, 3, 4}
    assert not torch.equal(inputs, synthetic_batch((3, 4), 5, 8)[0])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_figure_is_written(
    suffix: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f"weights{suffix}"
    text = run(["he_normal", "zeros", *SMALL, "--figure", str(path)], capsys, monkeypatch)
    assert f"figure: {path} (3 of 3 layers)" in text
    assert path.stat().st_size > 3000


def test_of_many_layers_an_even_choice_is_drawn(tmp_path: Path) -> None:
    many = [Panel(f"layers.{n}.weight", (torch.randn(4),)) for n in range(MOST_LAYERS + 40)]
    path = tmp_path / "many.svg"
    assert save_distributions(path, "title", ["one"], many) == MOST_LAYERS
    assert f"title ({MOST_LAYERS} of {MOST_LAYERS + 40} layers)" in path.read_text()


def test_samples_of_a_large_weight_keep_its_distribution() -> None:
    module = nn.Linear(1024, 512)
    (shown,) = show(module, [("t", Ternary(density=0.25))], torch.zeros(1, 1024), 0)
    (panel,) = panels([shown])
    assert panel.values[0].numel() == 2**17
    share = float((panel.values[0] == 0).double().mean())
    assert share == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 2**17) ** 0.5)


def test_skipped_parameters_are_told_with_their_reason() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 2), nn.PReLU())
    text = record_text(HeNormal()(module, seed=0), 80)
    assert text.splitlines()[-1] == "skipped (slope of PReLU): 1.weight, 3.weight"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["he_nrmal"], "Unknown initialiser 'he_nrmal' (did you mean 'he_normal'"),
        (["os:getcwd"], "'os:getcwd' is no initialiser"),
        (["he_normal:scal=2"], "unknown option 'scal' (did you mean 'scale'?)"),
        (["he_normal:scale=0"], "HeNormal: scale must be in (0, inf), got 0"),
        (["he_normal", "--network", "resnt20"], "unknown network 'resnt20': did you mean"),
        (["he_normal", "--network", "resnet20", "--input-shape", "3x8"], "(3, 8)"),
        (["he_normal", *SMALL[:2], "--input-shape", "3y8"], "--input-shape must be sizes joined"),
        (["he_normal", *SMALL[:2], "--input-shape", "3x0"], "--input-shape must be sizes joined"),
        (["he_normal", *SMALL[:4], "--num-classes", "one"], "--num-classes must be a whole number"),
        (["he_normal", *SMALL, "--seed", "-1"], "--seed must be a whole number, at least 0"),
        (["he_normal", *SMALL, "--figure", "a.bmp"], "--figure must end in .png, .svg, .pdf"),
        (["he_normal", *SMALL, "--figure", "none/a.png"], "there is no folder 'none'"),
        (["he_normal", "--figure", "a.png"], "name one with --network"),
        (SMALL, "name one or several"),
        (["mimetic", *SMALL], "Mimetic sets nn.MultiheadAttention"),
        (["zeros", "mimetic", *SMALL], "mimetic: Mimetic sets nn.MultiheadAttention"),
        (["he_normal", "--sed", "1"], "unrecognized arguments: --sed"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 2  # the sentence, and where help is
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "initializers", "patel_he"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "w ~ N(0, 2 / fan_in)" in done.stdout
    assert done.stderr == ""


def test_tables_wrap_their_last_column() -> None:
    rows = [("name", "text"), ("a", "word " * 12)]
    assert text_table(rows).splitlines()[1] == "a     " + ("word " * 12).strip()
    for width in (30, 20):  # room beside the first column, and none
        lines = text_table(rows, width).splitlines()
        assert max(map(len, lines)) <= width
        assert " ".join(lines).split().count("word") == 12
