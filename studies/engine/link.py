"""What connects the processes of a launched world: orders, meetings and reports of failure."""

from __future__ import annotations

import os
import pickle
import socket
import time
import traceback
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from studies.engine.errors import UserError
from studies.engine.joining import JOIN, LOOPBACK, join
from studies.engine.world import World

Order = partial[Any]

_GRACE_SECONDS = 5.0


class Link:
    """A process's connection with the others of its world.

    Its methods `tell`, `hear` and `meet` are collective: every process takes part, in one thread.

    Args:
        world: this process's place.

    Raises:
        UserError: the processes did not find each other.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        try:
            # Kept: the server lives as long as this object.
            self._server = _open_store(world)
            self.store = PrefixStore(f"study/{attempt}", self._server)
            aside = PrefixStore(f"study/{attempt}", _connect(world))
            join(world, self.store, aside)
        except (RuntimeError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"The {world.size} processes that {world.launcher} started could not connect "
                f"at {world.address}:{world.port} ({reason})."
            ) from error

    def tell(self, order: Order | None) -> None:
        """Give all others an order; None sends them home. Of process 0."""
        dist.broadcast_object_list([order], src=0, device=torch.device("cpu"))

    def hear(self) -> Order | None:
        """The next order; None to leave. Of the other processes."""
        orders: list[Order | None] = [None]
        dist.broadcast_object_list(orders, src=0, device=torch.device("cpu"))
        return orders[0]

    def meet(self) -> None:
        """Wait until every process has come here."""
        dist.all_reduce(torch.zeros(1))

    def close(self) -> None:
        """Take leave, after a last `meet`."""
        dist.destroy_process_group()

    def end(self) -> None:
        """Let the other processes know that it is over, even in the middle of an order."""
        self.store.set("over", "1")

    def ended(self) -> bool:
        """Whether process 0 has said that it is over."""
        return bool(self.store.check(["over"]))

    def report(self, error: BaseException) -> None:
        """Let process 0 know that this process failed and how; the first report counts."""
        if is_lost(error):
            return  # another process is the cause
        where = f"In process {self.world.rank} of {self.world.size} on {socket.gethostname()}:\n"
        text = where + "".join(traceback.format_exception(error)).rstrip()
        content = pickle.dumps((_plain(error), text)).hex()
        if self.store.add("reports", 1) == 1:
            self.store.set("report", content)

    def reported(self) -> BaseException | None:
        """What the first process that failed has reported, if one has."""
        if not self.store.check(["report"]):
            return None
        error, text = pickle.loads(bytes.fromhex(self.store.get("report").decode()))
        error.add_note(text)
        return _exception(error)

    def explained(self, error: BaseException) -> BaseException:
        """The cause of an error: where the connection was lost, what another process reported."""
        if not is_lost(error):
            return error
        until = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < until:
            try:
                if (reported := self.reported()) is not None:
                    return reported
            except RuntimeError:
                break  # the store is gone as well
            time.sleep(0.1)
        return lost(self.world)


def lost(world: World) -> UserError:
    """The error of a process whose companions are gone."""
    return UserError(
        f"One of the {world.size} processes that train together was killed or cannot be reached; "
        "what was finished is kept: run the same command again."
    )


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error).lower()


def _open_store(world: World) -> TCPStore:
    """The store at the world's address; process 0 serves it, unless the elastic launcher does."""
    serves = world.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if serves and world.address == LOOPBACK:
        return serve_on_loopback(world.port)
    return _connect(world, serves=serves)


def _connect(world: World, serves: bool = False) -> TCPStore:
    return TCPStore(
        world.address, world.port, is_master=serves, timeout=JOIN, wait_for_workers=False
    )


def serve_on_loopback(port: int = 0) -> TCPStore:
    """A store to which only processes of this host can connect.

    Args:
        port: where it listens; 0 takes a free one, which is then the store's `port`.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(128)
    return TCPStore(
        LOOPBACK,
        listener.getsockname()[1],
        is_master=True,
        timeout=JOIN,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def _plain(error: BaseException) -> BaseException:
    """The error itself if it travels, else one that says the same."""
    try:
        return _exception(pickle.loads(pickle.dumps(error)))
    except Exception:  # whatever a user's exception class does
        return RuntimeError(f"{type(error).__name__}: {error}")


def _exception(value: Any) -> BaseException:
    assert isinstance(value, BaseException)
    return value
