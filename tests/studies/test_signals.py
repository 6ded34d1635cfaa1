"""Signals that a scheduler sends to every process of a job."""

import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from studies.engine.train import open_pool


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="cannot tell who sent a signal")
def test_a_worker_ends_when_its_own_process_says_so() -> None:
    with suppress(KeyboardInterrupt), open_pool(1) as pool:
        worker = pool.submit(os.getpid).result()
        subprocess.run(["kill", "-TERM", str(worker), str(pool.submit(os.getppid).result())])
        assert pool.submit(os.getpid).result() == worker
        raise KeyboardInterrupt
    deadline = time.monotonic() + 30
    while alive(worker):  # its parent, the fork server, may take its time to notice
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
