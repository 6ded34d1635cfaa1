"""Start a program on several devices: `lightning run`, or `python -m studies run`.

    lightning run --devices 4
    lightning run --devices 4 -m studies.ternary_sparsity --data cifar10
    lightning run --devices 4 --num-nodes 2 --node-rank 0 --main-address host0 my_study.py

The package lightning-sdk has a script named `lightning` too: what is no `run` goes to it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import NoReturn

from studies.engine.cli import run_main
from studies.engine.errors import UserError
from studies.engine.world import first_host, slurm_port

DEFAULT_MODULE = "studies.ternary_sparsity"
_PORT = 29400


def lightning(argv: Sequence[str] | None = None) -> NoReturn:
    """The script `lightning`: `run` is ours, all else lightning-sdk's.

    Args:
        argv: arguments; None reads the process's own.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["run"]:
        main(arguments[1:], prog="lightning run")
    run_main(lambda: _sdk(arguments))


def main(argv: Sequence[str], prog: str = "python -m studies run") -> NoReturn:
    """Start a program as often as there are devices, and leave with its exit code.

    Args:
        argv: the launcher's options, the program, and its arguments.
        prog: how the command is typed.
    """
    run_main(lambda: _run(list(argv), prog))


def _run(argv: list[str], prog: str) -> int:
    mine, rest = split(argv)
    options = parser(prog).parse_args(mine)
    command = [sys.executable, *program(rest, options.accelerator)]
    devices, nodes = (_count(flag, getattr(options, flag)) for flag in ("devices", "num_nodes"))
    if devices == nodes == 1:
        # Not told to be one of several, the program is started as if typed alone.
        sys.stdout.flush()
        return subprocess.call(command) if os.name == "nt" else os.execv(command[0], command)
    from studies.engine.launch import Hosts, start_team

    hosts = Hosts() if nodes == 1 else Hosts(nodes, *meeting(options, os.environ))
    return start_team(command, devices, hosts, name=prog)


_OPTIONS = {
    "--devices": "processes on this host, one per device (default: 1)",
    "--num-nodes": "hosts, on each of which this command is given (default: 1)",
    "--node-rank": "number of this host, from 0 (default: SLURM's)",
    "--main-address": "name of host 0, which all can reach (default: SLURM's)",
    "--main-port": f"port there (default: {_PORT}, under SLURM one of its own)",
    "--accelerator": "handed on to the study: auto, cpu, gpu ...",
}


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The launcher's own options, which come first, and the rest: program and its arguments."""
    mine: list[str] = []
    rest = list(argv)
    while rest:
        name = rest[0].split("=")[0]
        if name in ("-h", "--help"):
            return [*mine, rest[0]], []
        if name not in _OPTIONS:
            break
        count = 1 if "=" in rest[0] else 2
        mine, rest = [*mine, *rest[:count]], rest[count:]
    return mine, rest


def program(rest: Sequence[str], accelerator: str | None = None) -> list[str]:
    """Arguments of Python that start the named program, or the main study.

    Args:
        rest: "-m MODULE", a FILE or neither, and the program's arguments.
        accelerator: a study's option to be set; None sets none.

    Raises:
        UserError: no such module or file.
    """
    rest = list(rest)
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if rest[:1] == ["-m"]:
        if len(rest) < 2:
            raise UserError("-m needs the name of a module, as in -m studies.ternary_sparsity.")
        target, arguments = rest[:2], rest[2:]
        _check_module(rest[1])
    elif rest and not rest[0].startswith("-"):
        target, arguments = rest[:1], rest[1:]
        if not os.path.isfile(rest[0]):
            raise UserError(
                f"There is no file {rest[0]}; a module is named with -m, as in "
                "-m studies.ternary_sparsity."
            )
    else:
        target, arguments = ["-m", DEFAULT_MODULE], rest
    chosen = [] if accelerator is None else ["--accelerator", accelerator]
    return [*target, *chosen, *arguments]


def _check_module(name: str) -> None:
    from importlib.util import find_spec

    if "" not in sys.path:
        sys.path.insert(0, "")  # as python -m would
    try:
        found = find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UserError(f"There is no module {name}; `python -m studies` lists the studies.")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help)")


def parser(prog: str) -> argparse.ArgumentParser:
    """Reads the launcher's own options, as `split` found them."""
    own = _Parser(
        prog=prog,
        usage=f"{prog} [options] [-m MODULE | FILE] [arguments of the program]",
        description="Start a program once per device, under torch's elastic launcher.",
        epilog=f"Without MODULE and FILE: -m {DEFAULT_MODULE}. What follows the first word that "
        "is none of these options belongs to the program.",
        allow_abbrev=False,
    )
    for name, text in _OPTIONS.items():
        own.add_argument(name, help=text)
    return own


def _count(name: str, text: str | None) -> int:
    return 1 if text in (None, "auto") else _number(name, text, 1)


def _number(name: str, text: str | None, low: int) -> int:
    if text is None or not text.isdecimal() or int(text) < low:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} must be a whole number of at least {low}, got {text!r}.")
    return int(text)


def meeting(options: argparse.Namespace, environ: Mapping[str, str]) -> tuple[int, str, int]:
    """This host's number, and address and port of host 0: as given, or as SLURM says.

    Raises:
        UserError: neither was given nor can be known.
    """
    slurm = "SLURM_NODEID" in environ
    rank, address, port = options.node_rank, options.main_address, options.main_port
    if not slurm and (rank is None or address is None):
        raise UserError("Several hosts need --node-rank and --main-address on each of them.")
    number = _number("node_rank", rank or environ.get("SLURM_NODEID"), 0)
    if number >= int(options.num_nodes):
        raise UserError(f"--node-rank {number} is not below --num-nodes {options.num_nodes}.")
    place = _number("main_port", port, 1) if port else slurm_port(environ) if slurm else _PORT
    return number, address or first_host(environ), place


def _sdk(argv: Sequence[str]) -> int:
    """Hand a command over to lightning-sdk's script of the same name."""
    if not argv or argv[0] in ("-h", "--help"):
        print("lightning run --help tells how to start a study on several devices.")
    try:
        scripts = distribution("lightning-sdk").entry_points
    except PackageNotFoundError:
        if not argv or argv[0] in ("-h", "--help"):
            return 0
        raise UserError(
            f"`lightning {argv[0]}` is a command of the package lightning-sdk, which is not "
            "installed; this package has `lightning run`."
        ) from None
    (script,) = scripts.select(group="console_scripts", name="lightning")
    sys.argv = [sys.argv[0], *argv]
    return int(script.load()() or 0)


if __name__ == "__main__":
    main(sys.argv[1:], prog="python -m studies.run")
