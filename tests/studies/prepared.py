"""Commands in processes that are forked from one which has imported everything: they start at once.

Real processes, which may be killed. They come from `multiprocessing`'s fork server, as a study's
workers do (`open_pool`), and a study in one of them gets its workers from the same server: that
spares two imports of torch, Lightning and MLflow per start. What belongs to a start of one's own
needs `python -m`: the end of the server with its study, Ctrl-C for a whole process group, the
environment of the workers.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.studies.conftest import ROOT, environment

PRELOAD = [
    "studies.engine.worker",
    "studies.engine.calibration",
    "studies.engine.conduct",
    "studies.engine.report.figures",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna",
    "tests.studies.prepared",
]


class Prepared:
    """A command that runs; to be used like `subprocess.Popen`.

    Args:
        module: what would be typed behind `python -m`; or "-c", followed by a program as text.
        argv: the arguments.
        folder: the current folder of the process.
    """

    def __init__(self, module: str, argv: list[str], folder: Path) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as out:
            self._out = Path(out.name)
        with tempfile.NamedTemporaryFile(delete=False) as err:
            self._err = Path(err.name)
        self.args = [module, *argv]
        context = _context()
        arguments = (module, argv, folder, self._out, self._err, environment(), _address())
        self._process = context.Process(target=_run, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; returns what was printed, and the errors."""
        self._process.join(timeout)
        assert self.returncode is not None, f"{self.pid} still runs after {timeout:g} s"
        said = self._out.read_text(), self._err.read_text()
        self._out.unlink()
        self._err.unlink()
        return said

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def run_prepared(folder: Path, module: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a prepared process and wait for its end."""
    process = Prepared(module, list(argv), folder)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.poll() or 0, out, err)


def workers(process: Prepared) -> list[int]:
    """The workers of the only study that runs: what its server has forked besides it."""
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    server = int(stat.rpartition(")")[2].split()[1])
    return [child for child in children(server) if child != process.pid]


def children(pid: int) -> list[int]:
    """The children of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:  # as the server starts, unless it runs already
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("PYTHONPATH", str(ROOT))
        context.set_forkserver_preload(PRELOAD)
        multiprocessing.forkserver.ensure_running()
    return context


# `multiprocessing` says that "usually a child process will just reuse the forkserver started by its
# parent", but starts another one: the child does not learn the address of the first.
_SERVER: Any = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]


def _address() -> dict[str, Any]:
    """How to reach the server, as its attributes."""
    names = ("_forkserver_address", "_forkserver_authkey")  # the latter since Python 3.14
    return {name: getattr(_SERVER, name) for name in names if hasattr(_SERVER, name)}


def _run(
    module: str,
    argv: list[str],
    folder: Path,
    out: Path,
    err: Path,
    variables: Mapping[str, str],
    address: Mapping[str, Any],
) -> None:
    """Be what `python -m MODULE ARGUMENTS` would be, in a session of one's own."""
    vars(_SERVER).update(address)
    _SERVER.ensure_running = lambda: None
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    for descriptor, file in ((1, out), (2, err)):
        opened = os.open(file, os.O_WRONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    if module == "-c":
        program, *rest = argv
        sys.argv = ["-c", *rest]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        return
    sys.argv = [module, *argv]
    sys.orig_argv = [sys.executable, "-m", module, *argv]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
