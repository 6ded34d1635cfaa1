"""What a result was made with: versions and commit, as tags."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "lightning", "optuna", "mlflow")


def environment_tags(folder: str | Path | None = None) -> dict[str, str]:
    """Return tags that say which code and versions made a result.

    `git_commit` (40 hex digits) and `git_dirty` (`true` if a tracked file differs from it) where
    the folder is the top of a git checkout with a commit; `<package>_version` for torch,
    lightning, optuna and mlflow where installed (nothing is imported); `python_version`;
    `platform` (system and machine type). No host name, no user name, no path.

    Args:
        folder: The project's folder; None: the one that holds the `studies` package.

    Source: derived.
    """
    home = Path(folder) if folder is not None else Path(__file__).resolve().parents[3]
    tags = _git_tags(home)
    for package in PACKAGES:
        try:
            tags[f"{package}_version"] = version(package)
        except PackageNotFoundError:
            continue
    tags["python_version"] = platform.python_version()
    tags["platform"] = f"{platform.system()} {platform.machine()}"
    return tags


def machine() -> str:
    """What a result was computed on, for people: cores that this process may use, and their model.

    No host name. Source: derived.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} {'core' if cores == 1 else 'cores'}, {_processor()}"


def _processor() -> str:
    """The processor's model where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return f"{' '.join(value.split())} ({platform.machine()})"
    return platform.processor() or platform.machine()


def _git_tags(folder: Path) -> dict[str, str]:
    """Return the commit of the checkout whose top is `folder`; empty if it is none."""
    places = _git(folder, "rev-parse", "--show-toplevel", "HEAD")
    if places is None:
        return {}
    top, commit = places.split("\n")[:2]
    # An installed package may lie inside somebody else's checkout.
    if Path(top).resolve() != folder.resolve():
        return {}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_dirty": "true" if changes else "false"}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command, or None where git or the checkout is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
