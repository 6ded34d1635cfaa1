"""Where the processes of one host meet: a free port that other hosts cannot reach."""

from __future__ import annotations

from torch._C._distributed_c10d import PrefixStore
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

from studies.engine.joining import LOOPBACK
from studies.engine.link import serve_on_loopback

BACKEND = "loopback"


def register() -> None:
    """Make the rendezvous known to the elastic launcher as `BACKEND`; once is enough."""
    if BACKEND not in rendezvous_handler_registry._registry:
        rendezvous_handler_registry.register(BACKEND, LoopbackRendezvous)


class LoopbackRendezvous(RendezvousHandler):
    """A rendezvous of one host with itself; its store also serves the launched processes.

    torch's own listens on every network interface, and finds its address by the host's name, which
    need not resolve.

    Args:
        parameters: the launcher's; only `run_id` counts.
    """

    def __init__(self, parameters: RendezvousParameters) -> None:
        self._run_id = parameters.run_id
        self._store = serve_on_loopback()

    @property
    def use_agent_store(self) -> bool:
        """True: the processes are clients of this store."""
        return True

    def get_backend(self) -> str:
        """The name it is registered under."""
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        """This host, alone."""
        place = RendezvousStoreInfo(LOOPBACK, self._store.port)
        return RendezvousInfo(PrefixStore(self._run_id, self._store), 0, 1, place)

    def is_closed(self) -> bool:
        """False: it lasts as long as the launcher."""
        return False

    def set_closed(self) -> None:
        """Nothing else could join."""

    def num_nodes_waiting(self) -> int:
        """No other host waits."""
        return 0

    def get_run_id(self) -> str:
        """The launcher's name of the team."""
        return self._run_id

    def shutdown(self) -> bool:
        """True: nothing is left open."""
        return True
