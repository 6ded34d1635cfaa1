"""One command on one or several devices: start them, check them, lead or follow."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

from studies.engine.errors import UserError
from studies.engine.options import StudyOptions
from studies.engine.processes import prepare_environment
from studies.engine.run import Environment
from studies.engine.world import (
    LAUNCHER,
    SINGLE,
    World,
    first_of_launcher,
    launched_rank,
    launched_world,
)
from studies.engine.world_pool import dismiss, leading, serve

# A process that would end before process 0 has spoken gets it ended by its launcher.
_PAUSE_SECONDS = 10.0


class Terminated(KeyboardInterrupt):
    """SIGTERM: to be left like Ctrl-C, with what is open put in order."""


def environment_of(options: StudyOptions) -> Environment:
    """Where the runs of a study are trained: on all devices that this process was launched with."""
    world = launched_world()
    return Environment(options.data_root, options.accelerator, world.local_size, world.nodes)


def on_devices(options: StudyOptions, lead: Callable[[], int], command: Sequence[str]) -> int:
    """Carry out a study on the devices that were asked for or launched.

    Args:
        options: how many devices and hosts, among others.
        lead: conducts the study; called in one process.
        command: starts this program again, for processes that nobody has launched yet.

    Returns:
        The exit code.

    Raises:
        UserError: what was asked for and what was launched do not fit.
    """
    world = launched_world()
    check_devices(options, world)
    if world.size > 1:
        prepare_environment()
        return _lead(world, lead) if world.rank == 0 else serve(world)
    devices = 1 if options.devices == "auto" else options.devices
    if devices == 1:
        return lead()
    from studies.engine.launch import start_team

    return start_team(command, devices)


def check_devices(options: StudyOptions, world: World = SINGLE) -> None:
    """See that the options fit the world that was launched.

    Raises:
        UserError: a mismatch, in one sentence.
    """
    asked = {"--devices": options.devices, "--num-nodes": options.num_nodes}
    if world.size > 1:
        there = {
            "--devices": (world.local_size, "device{} per host"),
            "--num-nodes": (world.nodes, "host{}"),
        }
        for flag, (number, noun) in there.items():
            if asked[flag] not in ("auto", number):
                what = noun.format("" if number == 1 else "s")
                raise UserError(
                    f"{flag} {asked[flag]} does not fit: {world.describe()}, which makes "
                    f"{number} {what}; leave {flag} out, or start as many processes."
                )
    elif options.num_nodes not in ("auto", 1):
        raise UserError(
            f"--num-nodes {options.num_nodes} needs a launcher on every host: "
            f"lightning run --num-nodes {options.num_nodes} --node-rank RANK --main-address HOST, "
            "or srun or torchrun."
        )
    together = world.size > 1 or options.devices not in ("auto", 1)
    if together and options.workers not in ("auto", 1):
        raise UserError(
            f"--workers {options.workers} does not go with several devices, which train one run "
            "after the other together; leave it out, or start the command several times with one "
            "--storage."
        )


def in_one_voice(main: Callable[[], NoReturn]) -> NoReturn:
    """Run a program that may be one of several launched processes, of which the first speaks.

    What the others would print is process 0's to say. Mistakes are also said by the first process
    of every other host, where a launcher was started in a terminal of its own. A process that
    failed leaves at once, with whatever its threads still wait for.

    Args:
        main: parses the command line, works, and raises SystemExit.
    """
    rank = launched_rank()
    if rank is None:
        main()
    try:
        if rank == "0":
            main()
        with open(os.devnull, "w") as nowhere:
            errors = sys.stderr if first_of_launcher() else nowhere
            with redirect_stdout(nowhere), redirect_stderr(errors):
                main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    if code == 0:
        sys.exit(0)
    if rank != "0":
        time.sleep(_PAUSE_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    dismiss()
    os._exit(code)


def _lead(world: World, lead: Callable[[], int]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with leading(world):
            return lead()
    except Terminated:
        if LAUNCHER not in os.environ:  # else the launcher says so
            print(TERMINATED, file=sys.stderr)
        return 128 + signal.SIGTERM


TERMINATED = "Terminated. Run the same command again to continue."


def _interrupt(number: int, frame: Any) -> None:
    # A second signal, the launcher's or the user's, must not disturb what is put in order.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
