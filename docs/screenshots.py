"""Make the README's screenshots from a finished study and the store that recorded it.

    python -m docs.screenshots STUDY_FOLDER

Run it where the study's mlflow.yaml is. Needs Chromium; the MLflow UI is served for the while.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from mlflow import MlflowClient

from studies.engine.tracking import load_tracking_config
from studies.engine.tracking.views import view_address, view_key
from tests.browser import Browser, find_browser

IMAGES = Path(__file__).with_name("images")
PORT = 5088


def main(folder: Path) -> None:
    """Take the pictures."""
    executable = find_browser()
    if executable is None:
        sys.exit("error: No browser is installed; install chromium.")
    results = json.loads((folder / "results.json").read_text())
    IMAGES.mkdir(exist_ok=True)
    with Browser(executable) as browser:
        browser.open((folder / "report.html").resolve().as_uri(), width=1200)
        foot = browser.value(
            "document.querySelector('#figure-seeds').getBoundingClientRect().bottom"
        )
        clip = {"x": 0, "y": 0, "width": 1200, "height": foot, "scale": 0.8}
        browser.screenshot(IMAGES / "report.png", clip=clip, whole=True)
        server = subprocess.Popen([sys.executable, "-m", "studies.ui", "--port", str(PORT)])
        try:
            _wait(f"http://127.0.0.1:{PORT}/health")
            _mlflow(browser, results)
        finally:
            server.terminate()
            server.wait()


def _mlflow(browser: Browser, results: dict[str, dict[str, str]]) -> None:
    client = MlflowClient(load_tracking_config().tracking_uri)
    experiment = client.get_experiment_by_name(str(results["study"]))
    assert experiment is not None, "the study is not in this store"
    recipe = results["recipe"]
    key = view_key("search", recipe["data"], recipe["network"])
    address = view_address(f"http://127.0.0.1:{PORT}", experiment.experiment_id, key)
    browser.open(address, width=2100, height=1000)
    browser.wait_for("document.body.innerText.includes('Parallel Co')")
    time.sleep(14)  # its charts are drawn when they come into view
    # Without the assistant's panel at the right.
    clip = {"x": 0, "y": 0, "width": 1562, "height": 780, "scale": 1}
    browser.screenshot(IMAGES / "mlflow.png", clip=clip)


def _wait(address: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    sys.exit(f"error: {address} does not answer.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("error: Name the output folder of one study.")
    main(Path(sys.argv[1]))
