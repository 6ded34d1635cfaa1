"""A headless Chromium, driven over the DevTools protocol through two pipes.

No driver is downloaded and no port opened: `--remote-debugging-pipe` speaks JSON, ended by a zero
byte, on the file descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def find_browser() -> str | None:
    """Path of an installed Chromium or Chrome."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a Chromium; leaving the context ends the process.

    Attributes:
        requests: addresses that the page has asked for since the last `open`.
        problems: what the console said as an error or warning, exceptions and failed requests.
    """

    def __init__(self, executable: str, seconds: float = 60.0) -> None:
        self._executable = executable
        self._seconds = seconds
        self._count = 0
        self._buffer = b""
        self.requests: list[str] = []
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        self._profile = tempfile.mkdtemp(prefix="browser-")
        theirs, self._out = os.pipe()  # the browser reads from 3 ...
        self._in, them = os.pipe()  # ... and writes to 4
        # A shell moves the pipes to the numbers; the higher ones first, out of the way.
        command = f'exec 13<&{theirs} 14>&{them} 3<&13 4>&14; exec "$0" "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", command, self._executable, *_FLAGS, f"--user-data-dir={self._profile}"],
            pass_fds=(theirs, them),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(them)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(
        self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        """Load a page and wait until it is complete."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.requests, self.problems = [], []
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait_for(self, condition: str, seconds: float | None = None) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            TimeoutError: it did not become so in time.
        """
        end = time.monotonic() + (seconds or self._seconds)
        while not self.value(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(f"the page never reached: {condition}")
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """Value of a JavaScript expression; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, such as ("Tab", 9)."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def screenshot(
        self, file: Path, *, whole: bool = False, clip: dict[str, float] | None = None
    ) -> None:
        """Save what is seen, or a clip in page coordinates, as PNG; whole: also what is not."""
        params: dict[str, Any] = {"captureBeyondViewport": whole}
        if clip is not None:
            params["clip"] = clip
        picture = self.call("Page.captureScreenshot", format="png", **params)
        file.write_bytes(base64.b64decode(picture["data"]))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol to the page."""
        return self._call(method, self._session, **params)

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], self._seconds)[0]:
                raise TimeoutError("the browser does not answer")
            piece = os.read(self._in, 1 << 16)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what a test asks about."""
        params = event.get("params", {})
        match event["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.loadingFailed":
                self.problems.append(f"request failed: {params['errorText']}")
            case "Runtime.exceptionThrown":
                self.problems.append(params["exceptionDetails"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.problems.append(str([arg.get("value") for arg in params["args"]]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.problems.append(params["entry"]["text"])
            case _:
                pass
