"""Send to MLflow what it missed while it was away.

    python -m studies.sync [FOLDER ...] [--tracking-uri URI]

A study keeps what the tracking store could not take in its output folder; its next start sends
it, and so does this command. Runs that a killed study left open are ended. Sending twice, or being
stopped in the middle, changes nothing: what is there already is found by its id.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from studies.engine.cli import run_main
from studies.engine.errors import UserError
from studies.engine.records import sentence
from studies.engine.tracking import TrackingConfig, TrackingError, load_tracking_config
from studies.engine.tracking.delivery import Delivery, deliver, spools_below

DEFAULT_FOLDER = Path("outputs")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the arguments, send, and leave the process: 0 if nothing is left, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.sync",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        nargs="*",
        type=Path,
        help=f"output folder of a study, or one that holds some (default: {DEFAULT_FOLDER})",
    )
    parser.add_argument(
        "--tracking-uri",
        help="send to this store (default: the one that each study was recorded in; a password "
        "that its address needs is taken from MLFLOW_TRACKING_URI or mlflow.yaml)",
    )
    options = parser.parse_args(argv)
    run_main(
        lambda: sync(options.folder, options.tracking_uri),
        interrupted="Interrupted. Run the same command again to send the rest.",
    )


def sync(folders: Sequence[Path], tracking_uri: str | None = None) -> int:
    """Send every spool in or below the folders; returns the exit code.

    Args:
        folders: where to look; none means `outputs`.
        tracking_uri: the store; None takes the one that each spool names.

    Raises:
        UserError: a folder that is none or has never held a spool, a damaged spool, or a tracking
            URI of an unsupported form.
    """
    try:
        given = load_tracking_config(tracking_uri=tracking_uri)
        files = _files(folders)
        code = 0
        for file in files:
            code |= _send(file, given, elsewhere=tracking_uri is not None)
    except TrackingError as error:
        raise UserError(sentence(error)) from error
    if not files:
        print("Nothing is left to send.")
    return code


def _send(file: Path, given: TrackingConfig, *, elsewhere: bool) -> int:
    """Send one spool and tell what became of it; 1 if something is left."""
    done: Delivery = deliver(file, given, elsewhere=elsewhere)
    sent = f"{done.sent} sent" + (f", {done.present} there already" if done.present else "")
    print(f"{file.parent}: {sent}, {done.left} left (to {done.address})", flush=True)
    if done.problem is None:
        return 0
    print(f"error: {sentence(TrackingError(done.problem))}", file=sys.stderr)
    return 1


def _files(folders: Sequence[Path]) -> list[Path]:
    """The spools in or below the folders.

    Raises:
        UserError: a folder that is none, or has never held a spool.
    """
    if not folders:
        return spools_below(DEFAULT_FOLDER)[0] if DEFAULT_FOLDER.is_dir() else []
    files: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise UserError(f"{folder} {what}; name the output folder of a study.")
        found, held_before = spools_below(folder)
        if not found and not held_before:
            raise UserError(
                f"{folder} holds no records that wait to be sent (tracking-*.jsonl), and no study "
                "has recorded from it; name the output folder of a study."
            )
        files |= dict.fromkeys(found)
    return list(files)


if __name__ == "__main__":
    main()
