"""A real MLflow server on the loopback, and a line to it that can be cut."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """A server over the store `folder`/mlflow.db, which exists; yields its port."""
    port = free_port()
    switches = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1",
        "--port", str(port), "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **switches}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while not _healthy(port):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(port: int) -> bool:
    try:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        line.request("GET", "/health")
        return line.getresponse().status == 200
    except OSError:
        return False


class Line:
    """A line to a server: passes requests on, or fails in a chosen way.

    Attributes:
        mode: "open"; "lossy" (some requests and some answers get lost); or
            an HTTP status that every request gets.
        loss: The portion that gets lost if it is lossy.
        broken: Requests whose path ends so are answered with status 500.
        port: Its own port; nothing listens there while it is cut.
    """

    def __init__(self, server_port: int) -> None:
        self.mode: str | int = "open"
        self.port = free_port()
        self.loss = 0.0
        self.broken: str | None = None
        self._chance = random.Random(0)
        self._server_port = server_port
        self._listener: ThreadingHTTPServer | None = None
        self.connect()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> None:
        if self._listener is None:
            self._listener = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
            threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def cut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None

    def _handler(line) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if isinstance(line.mode, int):
                    self.send_error(line.mode)
                    return
                if line.broken is not None and self.path.endswith(line.broken):
                    self.send_error(500)
                    return
                chance = line._chance.random() if line.mode == "lossy" else 1.0
                if chance < line.loss / 2:  # the request gets lost
                    return
                server = http.client.HTTPConnection("127.0.0.1", line._server_port, timeout=30)
                server.request(self.command, self.path, body, dict(self.headers))
                answer = server.getresponse()
                content = answer.read()
                server.close()
                if chance < line.loss:  # the answer gets lost
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        return Handler
