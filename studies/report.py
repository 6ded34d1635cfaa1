"""Make the report of finished studies again, and compare several.

    python -m studies.report outputs/ternary_sparsity/digits-lenet_300_100
    python -m studies.report STUDY STUDY ... [--output FOLDER]

From what the studies' output folders hold; nothing is trained. Each study gets report.html, its
table as LaTeX and Markdown, and its figures as PNG and PDF in its own folder. With several, those
that have a current report keep it, and a page that compares them goes to --output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from studies.engine.cli import run_main
from studies.engine.errors import UserError

DEFAULT_OUTPUT = Path("outputs/comparison")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the arguments, write, print, and leave the process."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", nargs="+", type=Path, help="output folder of a finished study")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"folder of the comparison of several studies (default: {DEFAULT_OUTPUT})",
    )
    options = parser.parse_args(argv)
    run_main(
        lambda: report(options.study, options.output),
        interrupted="Interrupted. Run the same command again.",
    )


def report(folders: Sequence[Path], output: Path | None = None) -> int:
    """Write the reports of studies, and of several the comparison; returns 0.

    Args:
        folders: output folders of finished studies.
        output: folder of the comparison; None is `outputs/comparison`.

    Raises:
        UserError: a folder that holds no finished study, one named twice, --output with a single
            study, or studies without common arms.
    """
    from studies.engine.report.stored import load_study
    from studies.engine.report.terminal import verdict_text
    from studies.engine.report.write import is_current, write_report

    _check(folders, output)
    studies = [load_study(folder) for folder in folders]
    if len(studies) > 1:
        from studies.engine.report.several_page import common_arms

        common_arms(studies)  # before anything is written
    for study in studies:
        if len(studies) == 1 or not is_current(study.folder):
            written = write_report(study.folder)
            print(f"{written[0]} and {len(written) - 1} files beside it")
    if len(studies) == 1:
        results = studies[0].results
        told = verdict_text(
            studies[0].comparisons, results["answer"], finding=results.get("finding")
        )
        print(f"\n{told}")
        return 0
    from studies.engine.report.several_page import in_words, rank, write_comparison

    written = write_comparison(studies, output or DEFAULT_OUTPUT)
    print(f"{written[0]} and {len(written) - 1} files beside it\n\n{in_words(rank(studies))}")
    return 0


def _check(folders: Sequence[Path], output: Path | None) -> None:
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{folder} is named twice; name every study once.")
    if output is None:
        return
    if len(folders) == 1:
        raise UserError(
            "--output is for the comparison of several studies; a single study's report goes into "
            "its own folder."
        )
    if output.resolve() in places:
        raise UserError(f"--output {output} is a study's own folder; name another.")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is not a folder; name another.")


if __name__ == "__main__":
    main(sys.argv[1:])
