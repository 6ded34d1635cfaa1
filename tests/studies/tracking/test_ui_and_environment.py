import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from studies.engine.tracking import TrackingConfig, environment_tags, ui_command


def test_ui_command_of_a_local_store_is_quoted_for_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = TrackingConfig("sqlite:////a b/it's.db", artifact_location="/a $b")
    words = shlex.split(ui_command(config, port=5001, env={}))
    assert words == [
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false",
        "MLFLOW_DISABLE_TELEMETRY=true",
        *[sys.executable, "-m", "mlflow", "server", "--workers", "1"],
        *["--host", "127.0.0.1", "--port", "5001"],
        *["--artifacts-destination", "/a $b"],
        *["--backend-store-uri", "sqlite:////a b/it's.db"],
    ]


def test_ui_command_shortens_an_interpreter_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    command = ui_command(TrackingConfig("sqlite:////a.db"), env={})
    assert " .venv/bin/python -m mlflow server " in command


def test_ui_command_holds_no_password() -> None:
    uri = "postgresql://ada:s3cr3t@db/x"
    config = TrackingConfig(uri)
    from_env = ui_command(config, env={"MLFLOW_TRACKING_URI": uri})
    from_file = ui_command(config, env={})
    assert '--backend-store-uri "$MLFLOW_TRACKING_URI"' in from_env
    assert "--backend-store-uri 'postgresql://ada:***@db/x'" in from_file
    assert "s3cr3t" not in from_env + from_file
    server = TrackingConfig("http://ada:s3cr3t@host:5000")
    assert ui_command(server) == "http://ada:***@host:5000"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
    ).stdout.strip()


def test_git_tags_follow_the_checkout(tmp_path: Path) -> None:
    assert "git_commit" not in environment_tags(tmp_path)
    git(tmp_path, "init", "-q")
    assert "git_commit" not in environment_tags(tmp_path)  # no commit yet
    (tmp_path / "a.py").write_text("a = 1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "sub").mkdir()
    (tmp_path / "untracked").touch()
    clean = environment_tags(tmp_path)
    assert (clean["git_commit"], clean["git_dirty"]) == (commit, "false")
    (tmp_path / "a.py").write_text("a = 2\n")
    assert environment_tags(tmp_path)["git_dirty"] == "true"
    # A folder inside somebody's checkout is not the project's own.
    assert "git_commit" not in environment_tags(tmp_path / "sub")


def test_no_git_no_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git_commit" not in environment_tags()


def test_versions_without_imports() -> None:
    tags = environment_tags()
    for package in ("torch", "lightning", "optuna", "mlflow"):
        assert tags[f"{package}_version"] == version(package)
    assert tags["python_version"] == sys.version.split()[0]
    assert tags["platform"].split()[0] in {"Linux", "Darwin", "Windows"}
    assert all(os.uname().nodename not in text for text in tags.values())
