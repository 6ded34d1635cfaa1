import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from studies.engine.tracking import Tracker, TrackingConfig
from studies.engine.tracking.sqlite_file import create_file


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store; its migrations take a second, a copy takes none."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    create_file(file, str(file.parent))
    return file


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
