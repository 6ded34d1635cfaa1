"""MLflow's UI on a store of ours, in a real browser: runs, prepared views, the compare page."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient

from studies.engine.errors import UserError
from studies.engine.tracking import Tracker, TrackingConfig
from studies.engine.tracking.views import study_views, view_address, view_key
from studies.ui import check_port, serve
from tests.browser import NAMES, Browser, find_browser
from tests.studies.conftest import environment
from tests.studies.postgres import free_port

BROWSER = find_browser()
PLACE = ("digits", "lenet_300_100")


def fill(config: TrackingConfig) -> str:
    """Record three trials and an arm with two seeds; returns the experiment's id."""
    tags = {"data": PLACE[0], "network": PLACE[1]}
    views = study_views(*PLACE, ["density", "scale"])
    with Tracker.open(config, experiment="ternary", views=views) as tracker:
        study = tracker.start_study("s", "the study", tags={**tags, "stage": "study"})
        for number in range(3):
            tracker.log_group(
                study, f"t{number}", f"ternary trial {number}", status="finished",
                params={"initializer": "ternary", "density": 0.1 * (number + 1), "scale": 1.5},
                tags={**tags, "stage": "search"},
                metrics={"val_accuracy": 0.9 + 0.01 * number, "seeds": 1},
            )  # fmt: skip
        tracker.log_group(study, "a", "He", tags={**tags, "stage": "confirm"}, status="finished")
        for seed in range(2):
            tracker.log_run(
                study, "a", f"k{seed}", f"He, seed {seed}",
                params={"initializer": "he_normal", "seed": seed},
                tags={**tags, "stage": "confirm"},
                history=[{"val_accuracy": 0.5}, {"val_accuracy": 0.9}],
                metrics={"test_accuracy": 0.9},
            )  # fmt: skip
        assert tracker.flush(60)
    client = MlflowClient(config.tracking_uri)
    experiment = client.get_experiment_by_name("ternary")
    assert experiment is not None
    return str(experiment.experiment_id)


@pytest.fixture
def served(config: TrackingConfig, tmp_path: Path) -> Iterator[str]:
    """Address of the UI that `python -m studies.ui` serves on the store."""
    port = free_port()
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    log = (tmp_path / "ui.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "studies.ui", "--port", str(port)],
        cwd=tmp_path, env=environment(), stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert process.poll() is None, (tmp_path / "ui.log").read_text()
                assert time.monotonic() < end
                time.sleep(0.3)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)
        log.close()


@pytest.mark.skipif(BROWSER is None, reason=f"no browser is installed ({', '.join(NAMES)})")
def test_prepared_views_and_the_compare_page_show_the_runs(
    config: TrackingConfig, served: str
) -> None:
    assert BROWSER is not None
    experiment = fill(config)
    text = "document.body.innerText"
    with Browser(BROWSER) as browser:
        browser.open(view_address(served, experiment, view_key("search", *PLACE)), width=1700)
        browser.wait_for(f"{text}.includes('3 matching runs') && {text}.includes('Parallel Co')")
        seen = browser.value(text)
        assert all(f"ternary trial {number}" in seen for number in range(3))
        assert "Search: digits, lenet_300_100" in seen
        assert all(title in seen for title in ("density vs. ", "scale vs. "))
        assert "He, seed" not in seen

        browser.open(view_address(served, experiment, view_key("arms", *PLACE)), width=1700)
        browser.wait_for(f"{text}.includes('Group: he_normal')")
        assert "Group by: initializer" in browser.value(text)

        runs = MlflowClient(config.tracking_uri).search_runs(
            [experiment], "tags.stage = 'search' AND metrics.seeds > 0"
        )
        ids = quote(json.dumps([run.info.run_id for run in runs]))
        chosen = quote(json.dumps([experiment]))
        browser.open(f"{served}/#/compare-runs?runs={ids}&experiments={chosen}", width=1700)
        browser.wait_for(f"{text}.includes('Comparing 3 Runs')")
        browser.wait_for(f"{text}.includes('density') && {text}.includes('val_accuracy')")
        away = [a for a in browser.requests if not a.startswith((served, "data:", "blob:"))]
        assert away == []


def test_views_are_equal_each_time_and_one_per_place() -> None:
    first, again = (study_views("digits", "mlp", ["scale"]) for _ in range(2))
    assert first == again
    assert len(first) == 2
    assert not first.keys() & study_views("mnist", "mlp", ["scale"]).keys()
    for key, value in first.items():
        assert key.startswith("mlflow.sharedViewState.")
        state = json.loads(json.loads(value)["state"])
        sections = {section["uuid"] for section in state["compareRunSections"]}
        charts = state["compareRunCharts"]
        assert {chart["metricSectionId"] for chart in charts} == sections
        assert len({chart["uuid"] for chart in charts}) == len(charts)


def test_the_ui_says_what_is_in_its_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"There is no store .*none.db yet; run a study first"):
        serve(free_port(), f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(UserError, match="between 1 and 65535, got 0"):
        check_port(0)
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"cannot be served \(address already in use\)"):
            check_port(taken.getsockname()[1])
    assert serve(5000, "http://ada:s3cr3t@host:5000") == 0
    printed = capsys.readouterr().out
    assert "http://ada:***@host:5000" in printed
    assert "s3cr3t" not in printed
