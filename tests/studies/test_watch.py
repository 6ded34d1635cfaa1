"""Processes that train together find each other, and notice that the others are gone."""

import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed import HashStore

from studies.engine import joining, watch
from studies.engine.errors import UserError
from studies.engine.world import World

WORLD = World(rank=1, size=2, nodes=2, launcher="srun", address="here", port=1)


class Network:
    """A store behind a network that goes down: who asks waits for long."""

    def __init__(self) -> None:
        self.down = threading.Event()

    def set(self, key: str, value: str) -> None:
        pass

    def multi_get(self, keys: list[str]) -> list[bytes]:
        if self.down.is_set():
            time.sleep(60)
        return [str(time.monotonic()).encode() for _ in keys]


def test_a_network_that_is_down_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PERIOD_SECONDS", 0.002)
    network, noticed, errors = Network(), threading.Event(), []
    link: Any = SimpleNamespace(
        world=WORLD, store=network, meet=lambda: None, ended=lambda: False, reported=lambda: None
    )

    def on_end(error: BaseException) -> None:
        errors.append(error)
        noticed.set()

    watch.Watch(link, on_end)
    assert not noticed.wait(0.5)
    network.down.set()
    assert noticed.wait(20)
    (error,) = errors
    assert isinstance(error, UserError)
    assert "cannot be reached" in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
def test_the_interface_is_the_one_that_leads_to_host_0() -> None:
    assert joining.interface_of(joining.source_address("127.0.0.1")) == "lo"
    assert joining.interface_of("192.0.2.1") is None  # of no host


def test_a_process_that_cannot_connect_fails_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    store = HashStore()

    def refused(world: World, store: HashStore) -> None:
        if world.rank == 1:
            raise RuntimeError("connection refused")
        time.sleep(60)  # for a connection that nobody makes

    monkeypatch.setattr(joining, "_create_group", refused)
    began = time.monotonic()
    for rank in (1, 0):
        with pytest.raises(RuntimeError, match="connection refused"):
            joining.join(World(rank=rank, size=2, nodes=2), store, store)
    assert time.monotonic() - began < 30
