"""Starts a program once per device under torch's elastic launcher, and speaks for it."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from studies.engine.devices import TERMINATED
from studies.engine.errors import UserError
from studies.engine.processes import prepare_environment
from studies.engine.world import LAUNCHER


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The hosts of a team, and where they meet.

    Args:
        nodes: number of hosts, each with its own launcher.
        rank: number of this host, 0 to nodes - 1.
        address: name of host 0; unused for one host, which meets itself on its loopback address.
        port: port there; unused for one host, which takes a free one.
    """

    nodes: int = 1
    rank: int = 0
    address: str = ""
    port: int = 0


ONE_HOST = Hosts()


def start_team(
    command: Sequence[str], devices: int, hosts: Hosts = ONE_HOST, name: str = "--devices"
) -> int:
    """Run a command in as many processes as there are devices, and wait for their end.

    The processes see what torchrun would tell them. They write to this process's terminal. When
    one fails or is killed the others are ended; none outlives this call.

    Args:
        command: program and arguments.
        devices: processes on this host.
        hosts: the other hosts.
        name: what the processes call their launcher in messages.

    Returns:
        The exit code: that of the first process that failed; 128 + the number of a signal that
        ended the team.

    Raises:
        UserError: a process was killed, or the hosts did not find each other.
    """
    prepare_environment()
    os.environ[LAUNCHER] = name
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from studies.engine.loopback import BACKEND, register

    register()
    program, *arguments = command
    with _silence(), tempfile.TemporaryDirectory(prefix="team-") as folder:
        config = LaunchConfig(
            min_nodes=hosts.nodes,
            max_nodes=hosts.nodes,
            nproc_per_node=devices,
            run_id="study",
            rdzv_backend=BACKEND if hosts.nodes == 1 else "static",
            rdzv_endpoint="" if hosts.nodes == 1 else f"{hosts.address}:{hosts.port}",
            rdzv_configs={"rank": hosts.rank, "timeout": 300},
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, program)(*arguments)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode > 0:
                if failure.exitcode == 1 and hosts.rank > 0:
                    print(f"error: Host 0 ({hosts.address}) says what failed.", file=sys.stderr)
                return int(failure.exitcode)  # it has said why
            raise UserError(
                f"Process {rank} of {devices * hosts.nodes} was killed "
                f"({signal.Signals(-failure.exitcode).name}), perhaps for lack of memory; what was "
                "finished is kept: run the same command again."
            ) from None
        except SignalException as error:
            if error.sigval != signal.SIGINT:  # of Ctrl-C process 0 speaks
                print(TERMINATED, file=sys.stderr)
            return 128 + int(error.sigval)
        except (RendezvousError, RuntimeError, TimeoutError, OSError) as error:
            if hosts.nodes == 1:
                raise
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"Host {hosts.rank} of {hosts.nodes} did not meet the others at "
                f"{hosts.address}:{hosts.port} ({reason})."
            ) from error
    return 0


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the elastic launcher's log, which would bury what the processes say, to itself."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
