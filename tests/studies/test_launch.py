"""`lightning run`: how a command line is read, and what the launched processes see."""

import json
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from studies.run import lightning, main, meeting, parser, program, split
from tests.studies.conftest import ROOT, Shell, environment

MAIN = ["-m", "studies.ternary_sparsity"]


@pytest.mark.parametrize(
    ("line", "mine", "started"),
    [
        ("", [], MAIN),
        ("--devices 4", ["--devices", "4"], MAIN),
        ("--devices=4 --epochs 2", ["--devices=4"], [*MAIN, "--epochs", "2"]),
        # The program's own options are its own, whatever they are called.
        ("--epochs 2 --devices 4", [], [*MAIN, "--epochs", "2", "--devices", "4"]),
        (
            "--num-nodes 2 -m studies.train --devices 3",
            ["--num-nodes", "2"],
            ["-m", "studies.train", "--devices", "3"],
        ),
        ("-- --seed 1", [], [*MAIN, "--seed", "1"]),
        (f"--devices 2 {__file__} -m x", ["--devices", "2"], [__file__, "-m", "x"]),
    ],
)
def test_whose_options_are_whose(line: str, mine: list[str], started: list[str]) -> None:
    own, rest = split(line.split())
    assert own == mine
    assert program(rest) == started


def test_the_accelerator_is_handed_on() -> None:
    assert program(["--epochs", "2"], "cpu") == [*MAIN, "--accelerator", "cpu", "--epochs", "2"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--devices 0", "--devices must be a whole number of at least 1, got '0'."),
        ("--devices four", "--devices must be a whole number of at least 1, got 'four'."),
        ("--devices", "Argument --devices: expected one argument (see lightning run --help)."),
        ("--devices 2 -m", "-m needs the name of a module, as in -m studies.ternary_sparsity."),
        (
            "--devices 2 -m studies.none",
            "There is no module studies.none; `python -m studies` lists the studies.",
        ),
        (
            "--devices 2 none.py",
            "There is no file none.py; a module is named with -m, as in "
            "-m studies.ternary_sparsity.",
        ),
        (
            "--devices 2 --num-nodes 2",
            "Several hosts need --node-rank and --main-address on each of them.",
        ),
        (
            "--num-nodes 2 --node-rank 2 --main-address host0",
            "--node-rank 2 is not below --num-nodes 2.",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    line: str, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_NODEID", raising=False)
    with pytest.raises(SystemExit) as end:
        main(line.split(), prog="lightning run")
    assert end.value.code == 2
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


def test_other_commands_belong_to_lightning_sdk(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        lightning(["login"])
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "error: `lightning login` is a command of the package lightning-sdk, which is not "
        "installed; this package has `lightning run`.\n"
    )
    with pytest.raises(SystemExit) as end:
        lightning(["run", "--help"])
    assert end.value.code == 0
    assert "usage: lightning run [options] [-m MODULE | FILE]" in capsys.readouterr().out


def test_lightning_sdk_gets_its_commands_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package of that name with a script of that name, as an installer lays it out."""
    info = tmp_path / "lightning_sdk-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lightning-sdk\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nlightning = sdk_script:main\n")
    (tmp_path / "sdk_script.py").write_text("import sys\ndef main():\n    print(sys.argv[1:])\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lightning"])
    with pytest.raises(SystemExit) as end:
        lightning(["login", "--user", "me"])
    assert end.value.code == 0
    assert capsys.readouterr().out == "['login', '--user', 'me']\n"


def test_the_script_is_named_in_the_package() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert EntryPoint("lightning", scripts["lightning"], "console_scripts").load() is lightning


SEEN = """
import json, os, sys
from studies.engine.world import launched_world
world = launched_world()
with open(f"{world.rank}.json", "w") as file:
    json.dump({**vars(world), "argv": sys.argv[1:], "mkl": os.environ["MKL_CBWR"]}, file)
sys.exit(int(sys.argv[2]) if world.rank == 1 else 0)
"""


def test_the_launched_processes_know_each_other_and_one_exit_code_counts(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "seen.py").write_text(SEEN)
    done = shell("studies", "run", "--devices", "2", "seen.py", "--devices", "7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    worlds = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert worlds[0]["port"] == worlds[1]["port"] > 0
    for rank, world in enumerate(worlds):
        del world["port"]
        assert world == {
            "rank": rank,
            "local_rank": rank,
            "size": 2,
            "local_size": 2,
            "nodes": 1,
            "launcher": "python -m studies run",
            "address": "127.0.0.1",
            "argv": ["--devices", "7"],
            "mkl": "AUTO",
        }


def test_two_hosts_meet(tmp_path: Path) -> None:
    """Two launchers, each with one process, as on two hosts."""
    (tmp_path / "seen.py").write_text(SEEN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = ["--num-nodes", "2", "--main-address", "127.0.0.1", "--main-port", port]
    start, seen = ["-m", "studies", "run"], ["seen.py", "--devices", "0"]
    hosts = [
        subprocess.Popen(
            [sys.executable, *start, *place, "--node-rank", str(rank), *seen],
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    assert [(host.communicate(timeout=120)[1], host.returncode) for host in hosts] == [("", 0)] * 2
    worlds = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [world["nodes"] for world in worlds] == [2, 2]
    assert [world["local_size"] for world in worlds] == [1, 1]
    assert {world["port"] for world in worlds} == {int(port)}


def test_under_slurm_the_hosts_find_each_other() -> None:
    slurm = {"SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "10"}
    options = parser("lightning run").parse_args(["--num-nodes", "2"])
    assert meeting(options, slurm) == (1, "gpu07", 15070)
    given = ["--node-rank", "0", "--main-address", "ib0", "--main-port", "99"]
    options = parser("lightning run").parse_args(["--num-nodes", "2", *given])
    assert meeting(options, slurm) == meeting(options, {}) == (0, "ib0", 99)
