"""The processes that a launcher started to train one thing together, as they were started."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping

from studies.engine.errors import UserError


@dataclasses.dataclass(frozen=True)
class World:
    """A process's place among the processes that were launched together.

    Args:
        rank: number of this process, 0 to size - 1; process 0 leads.
        local_rank: its number on this host, 0 to local_size - 1.
        size: number of processes.
        local_size: processes per host, the same on every host.
        nodes: number of hosts; size = nodes * local_size.
        launcher: what started them, for people: "torchrun", "fabric run", "srun"; "" for a single
            process.
        address: host name at which the processes meet; "" for a single process.
        port: TCP port there; 0 for a single process.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1
    nodes: int = 1
    launcher: str = ""
    address: str = ""
    port: int = 0

    def describe(self) -> str:
        """ "srun started 4 processes on 2 hosts"."""
        hosts = "1 host" if self.nodes == 1 else f"{self.nodes} hosts"
        return f"{self.launcher} started {self.size} processes on {hosts}"


SINGLE = World()
#: variable by which our own launcher names itself
LAUNCHER = "TERNARY_STUDIES_LAUNCHER"


def launched_world(environ: Mapping[str, str] | None = None) -> World:
    """The world that this process was launched into, read from its environment.

    Understood are torch's elastic launcher (torchrun, `fabric run` and our own `--devices`),
    launchers that set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and SLURM's srun. The elastic
    launcher comes first: it may run inside a task of srun. Only steps of srun count for SLURM: a
    batch script without srun is a single process, whatever the job's number of tasks.

    Args:
        environ: the environment; None reads this process's own.

    Returns:
        The world; `SINGLE` for a process that was started alone.

    Raises:
        UserError: the environment describes no possible world.
    """
    environ = os.environ if environ is None else environ
    if launched_rank(environ) is None:
        return SINGLE
    world = _from_torch(environ) if "WORLD_SIZE" in environ else _from_slurm(environ)
    possible = (
        0 <= world.rank < world.size
        and 0 <= world.local_rank < world.local_size
        and world.size == world.nodes * world.local_size
    )
    if not possible:
        raise UserError(
            f"The environment of this process describes no possible world ({world.launcher}: "
            f"process {world.rank} of {world.size}, {world.local_rank} of {world.local_size} on "
            "its host): start equally many processes on every host, or unset the variables of the "
            "launcher."
        )
    return world if world.size > 1 else SINGLE


def launched_rank(environ: Mapping[str, str] | None = None) -> str | None:
    """The number that a launcher gave this process, as written and unchecked; None if none did."""
    environ = os.environ if environ is None else environ
    if "RANK" in environ and "WORLD_SIZE" in environ:
        return environ["RANK"]
    if "SLURM_PROCID" in environ and "SLURM_STEP_NUM_TASKS" in environ:
        return environ["SLURM_PROCID"]
    return None


def first_of_launcher(environ: Mapping[str, str] | None = None) -> bool:
    """Whether this is the first process of an elastic launcher, of which every host has one."""
    environ = os.environ if environ is None else environ
    return "TORCHELASTIC_RUN_ID" in environ and environ.get("LOCAL_RANK") == "0"


def crew(workers: int) -> str:
    """Who trains, for people: "on 2 worker processes", "on 4 devices together"."""
    size = launched_world().size
    if size > 1:
        return f"on {size} devices together"
    return f"on {workers} worker process{'es' if workers != 1 else ''}"


def _from_torch(environ: Mapping[str, str]) -> World:
    launcher = "torchrun" if "TORCHELASTIC_RUN_ID" in environ else "the launcher"
    if "LT_CLI_USED" in environ:
        launcher = "fabric run"
    size = _number(environ, "WORLD_SIZE")
    if size == 1:
        return SINGLE
    local_size = _number(environ, "LOCAL_WORLD_SIZE", "1")
    nodes = _number(environ, "GROUP_WORLD_SIZE", str(size // max(1, local_size)))
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environ]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE={size} are set in the environment, but {' and '.join(missing)} "
            "not: start the processes with torchrun, or unset RANK and WORLD_SIZE."
        )
    return World(
        rank=_number(environ, "RANK"),
        local_rank=_number(environ, "LOCAL_RANK", "0"),
        size=size,
        local_size=local_size,
        nodes=nodes,
        launcher=environ.get(LAUNCHER, launcher),
        address=environ["MASTER_ADDR"],
        port=_number(environ, "MASTER_PORT"),
    )


def _from_slurm(environ: Mapping[str, str]) -> World:
    size = _number(environ, "SLURM_STEP_NUM_TASKS")
    if size == 1:
        return SINGLE
    nodes = _number(environ, "SLURM_STEP_NUM_NODES", "1")
    if size % max(1, nodes):
        raise UserError(
            f"srun started {size} processes on {nodes} hosts, not equally many on each: use "
            "--ntasks-per-node."
        )
    here = "127.0.0.1" if nodes == 1 else environ.get("MASTER_ADDR") or first_host(environ)
    return World(
        rank=_number(environ, "SLURM_PROCID"),
        local_rank=_number(environ, "SLURM_LOCALID", "0"),
        size=size,
        local_size=size // nodes,
        nodes=nodes,
        launcher="srun",
        address=here,
        port=_number(environ, "MASTER_PORT", str(slurm_port(environ))),
    )


def slurm_port(environ: Mapping[str, str]) -> int:
    """A port on which all tasks of a SLURM step agree, and which other steps seldom share."""
    job, step = _number(environ, "SLURM_JOB_ID", "0"), _number(environ, "SLURM_STEP_ID", "0")
    return 15000 + (7 * job + step) % 15000


def first_host(environ: Mapping[str, str]) -> str:
    """The first host of a SLURM step or job: of "gpu[07-09,12],login" it is "gpu07".

    Raises:
        UserError: SLURM names no hosts.
    """
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,\[]*))?", hosts)
    if found is None:
        raise UserError("SLURM_STEP_NODELIST names no host: start the processes with srun.")
    return "".join(part or "" for part in found.groups())


def _number(environ: Mapping[str, str], name: str, default: str = "") -> int:
    text = environ.get(name, default)
    if not text.isdecimal():
        raise UserError(
            f"{name} in the environment must be a whole number, got {text!r}: start the processes "
            "with torchrun or srun, or unset the variables of the launcher."
        )
    return int(text)
