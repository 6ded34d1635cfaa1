"""A study so small that a test can conduct it from the shell."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Run `python -m MODULE ARGUMENTS` in an empty folder that has a tracking configuration."""
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")

    def run(module: str, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *argv],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=240,
            **options,  # type: ignore[call-overload]
        )

    return run
