"""Make a study's report from what its output folder holds."""

from __future__ import annotations

from pathlib import Path

from studies.engine.report.files import write_text
from studies.engine.report.pictures import Spread, paint_all

REPORT_FILE = "report.html"


def write_report(folder: Path, spread: Spread = map) -> tuple[Path, ...]:
    """Write report.html, comparison.tex, comparison.md and the figures of a finished study.

    Nothing is trained and no storage opened: runs.csv, curves.csv and results.json are read.

    Args:
        folder: the study's output folder.
        spread: who draws the figures; see `studies.engine.report.pictures.paint_all`.

    Returns:
        The paths of what was written.

    Raises:
        UserError: the folder holds no finished study, or a file of it cannot be read.
    """
    from studies.engine.report.paper import latex_table, markdown_table
    from studies.engine.report.stored import load_study
    from studies.engine.report.study_page import study_page

    study = load_study(folder)
    pictures = paint_all(folder, spread)
    seeds = len(study.results["seeds"])
    outcome = study.comparisons.outcome
    caption = (
        f"{outcome.words[:1].upper()}{outcome.words[1:]} on {study.place}, {seeds} seeds; "
        f"differences in {outcome.difference}, paired "
        f"by seed, equivalence margin {study.comparisons.margin:g}."
    )
    label = f"{study.results['study']}-{folder.resolve().name}"
    return (
        write_text(folder / REPORT_FILE, study_page(study, pictures)),
        write_text(
            folder / "comparison.tex", latex_table(study.comparisons, caption=caption, label=label)
        ),
        write_text(folder / "comparison.md", markdown_table(study.comparisons)),
        *(path for picture in pictures for path in picture.files),
    )


def is_current(folder: Path) -> bool:
    """Whether a folder's report is there and not older than its results."""
    report, results = folder / REPORT_FILE, folder / "results.json"
    return report.exists() and report.stat().st_mtime >= results.stat().st_mtime
