"""A study so small that a test can conduct it from the shell."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.engine.tracking.sqlite_file import create_file

ROOT = Path(__file__).parents[2]
SMALL = [
    "--epochs",
    "1",
    "--train-limit",
    "100",
    "--trials",
    "2",
    "--search-seeds",
    "1",
    "--seeds",
    "2",
    "--workers",
    "2",
]

Shell = Callable[..., subprocess.CompletedProcess[str]]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "OMP_"))}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store; its migrations take a second or two, a copy takes none."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    create_file(file, str(file.parent))
    return file


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """An empty folder that has a tracking configuration."""
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    return tmp_path


@pytest.fixture
def shell(configured: Path) -> Shell:
    """Run `python -m MODULE ARGUMENTS` in that folder."""

    def run(module: str, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *argv],
            cwd=configured,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=240,
            **options,  # type: ignore[call-overload]
        )

    return run


@pytest.fixture
def prepared(configured: Path) -> Shell:
    """The same in a process that need not import anything; see `tests.studies.prepared`."""
    from tests.studies.prepared import run_prepared  # which imports this file

    return functools.partial(run_prepared, configured)
