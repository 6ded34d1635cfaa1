"""How the processes of a launched world find each other on the network."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store

from studies.engine.world import World

JOIN = timedelta(minutes=5)
LOOPBACK = "127.0.0.1"
# A process waits for orders as long as the leader has other things to do; that one has died is
# told by the signs of life of `studies.engine.watch`, not by a limit of time.
_PATIENCE = timedelta(days=7)
_LOOK_SECONDS = 0.5
_SIOCGIFADDR = 0x8915  # of Linux: the address of a network interface


def join(world: World, store: Store, aside: Store) -> None:
    """Create the process group of a world; all processes have come when this returns.

    Where one process fails, all do: nobody waits for a connection that nobody makes.

    Args:
        world: this process's place.
        store: what the processes share; it may be blocked meanwhile.
        aside: a second connection with it.

    Raises:
        RuntimeError: the processes did not find each other within five minutes.
        OSError: the same, or a name that is no host's.
    """
    errors: list[Exception] = []

    def work() -> None:
        try:
            _create_group(world, store)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="joining", daemon=True)
    thread.start()
    until = time.monotonic() + JOIN.total_seconds()
    while thread.is_alive():
        thread.join(_LOOK_SECONDS)
        if thread.is_alive() and aside.check(["failed"]):
            raise RuntimeError(aside.get("failed").decode())
        if thread.is_alive() and time.monotonic() > until:
            errors.append(TimeoutError(f"not all had come after {JOIN.seconds // 60} minutes"))
            break
    if errors:
        with suppress(RuntimeError):  # who serves the store is gone, which says the same
            aside.set("failed", str(errors[0]))
        raise errors[0]


def _create_group(world: World, store: Store) -> None:
    if sys.platform == "linux" and "GLOO_SOCKET_IFNAME" not in os.environ:
        # Gloo by itself takes the address that this host's own name stands for, often a loopback.
        interface = interface_of(_own_address(world, store))
        if interface is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = interface
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore("group", store),
        rank=world.rank,
        world_size=world.size,
        timeout=_PATIENCE,
    )
    dist.all_reduce(torch.zeros(1))


def _own_address(world: World, store: Store) -> str:
    """The address under which the other hosts reach this one; "" if the main address is IPv6's.

    Host 0 hears it from the others: its own name may stand for a loopback address there.
    """
    if world.nodes == 1:
        return LOOPBACK
    if world.rank < world.local_size:
        store.wait(["address"], _PATIENCE)
        return store.get("address").decode()
    there = ""
    with suppress(OSError):
        there = socket.gethostbyname(world.address)
    store.set("address", there)
    return source_address(there) if there else ""


def source_address(there: str) -> str:
    """The address from which this host would send to another.

    Args:
        there: an IPv4 address; nothing is sent.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((there, 9))
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str | None:
    """The network interface, such as "eth0", that has an IPv4 address; None if none has. Linux."""
    from fcntl import ioctl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                found = ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(found[20:24]) == address:
                return name
    return None
