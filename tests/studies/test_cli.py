"""The command line: what is accepted, what a mistake costs, how fast --help is."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from studies.engine.cli import command_line, parse
from studies.engine.errors import UserError
from studies.engine.options import StudyOptions


def read(*argv: str) -> StudyOptions:
    return parse(StudyOptions, argv, prog="python -m studies.x", description="d")


def test_defaults_are_those_of_the_dataclass() -> None:
    assert read() == StudyOptions()


def test_types_and_command_line_round_trip() -> None:
    argv = [
        "--data",
        "mnist",
        "--epochs",
        "3",
        "--lr",
        "0.01",
        "--tune-lr",
        "--milestones",
        "[2,4]",
        "--schedule",
        "steps",
    ]
    options = read(*argv, "--storage", "postgresql://me:secret@host/db")
    assert (options.epochs, options.lr, options.tune_lr, options.milestones) == (
        3,
        0.01,
        True,
        [2, 4],
    )
    line = command_line("studies.x", options)
    assert "secret" not in line
    assert "--tune-lr" in line
    assert "--epochs 3" in line
    again = read(*argv)
    assert read(*shlex.split(command_line("studies.x", again))[3:]) == again


def test_yaml_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("epochs: 3\nlr: 0.02\nmargin: 1\n")
    options = read("--config", str(file), "--lr", "0.5")
    assert (options.epochs, options.lr, options.margin) == (3, 0.5, 1.0)


def test_printed_configuration_is_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        read("--epochs", "4", "--print-config")
    assert stopped.value.code == 0
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out)
    assert read("--config", str(file)) == read("--epochs", "4")


def test_printed_configuration_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--storage", "postgresql://u:hidden@h/d", "--print-config")
    printed = capsys.readouterr().out
    assert "hidden" not in printed
    assert "postgresql://u:***@h/d" in printed


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--seds", "3"], "Unknown option --seds (did you mean --seeds"),
        (["--epochs", "x"], "--epochs must be a whole number, got 'x'."),
        (["--margin", "x"], "--margin must be a number, got 'x'."),
        (["--stack", "x"], "--stack must be a whole number or auto, got x."),
        (["--optimizer", "adm"], "must be one of sgd, adam, adamw, rmsprop, adadelta, got adm."),
        (["--config", "missing.yaml"], "missing.yaml"),
    ],
)
def test_mistakes_get_one_sentence_and_code_2(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        read(*argv)
    assert stopped.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert sentence in first
    assert second == "See: python -m studies.x --help"


def test_unknown_yaml_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("epoch: 3\n")
    with pytest.raises(SystemExit):
        read("--config", str(file))
    assert (
        "Unknown key 'epoch' in the configuration (did you mean epochs" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--seeds", "1"], "--seeds must be at least 2, got 1"),
        (["--trials", "0"], "--trials must be at least 1, got 0"),
        (["--margin", "0"], "--margin must be in"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--study-seed", "100000000000000"], "--study-seed must be at most 1000000"),
    ],
)
def test_impossible_numbers_are_refused(argv: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(*argv)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['x', '--help']\n"
        "try:\n    runpy.run_module('studies.ternary_sparsity', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'lightning', 'optuna', 'mlflow', 'numpy', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--search-seeds" in done.stdout
