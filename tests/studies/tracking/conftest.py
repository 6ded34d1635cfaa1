import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from studies.engine.tracking import Tracker, TrackingConfig


@pytest.fixture
def config(tmp_path: Path, template: Path) -> TrackingConfig:
    shutil.copy(template, tmp_path / "mlflow.db")
    return TrackingConfig(
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        artifact_location=str(tmp_path / "art ifacts"),
        tags={"team": "vision"},
    )


@pytest.fixture
def tracker(config: TrackingConfig) -> Iterator[Tracker]:
    with Tracker.open(config, experiment="digits") as opened:
        yield opened


@pytest.fixture
def client(config: TrackingConfig) -> MlflowClient:
    return MlflowClient(config.tracking_uri, config.tracking_uri)
