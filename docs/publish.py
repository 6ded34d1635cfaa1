"""Write the pages of docs/results from finished studies: nothing on them is typed by hand.

    python -m docs.publish NAME STUDY_FOLDER [STUDY_FOLDER ...] [--comparison FOLDER]

Writes docs/results/NAME.md with question, finding, table, figures, command, commit, time and
hardware, and beside it one CSV per study, with a row per training, and the figures as PNG. Prose of
docs/results/notes/NAME.md, if there is any, becomes the section "Reading".
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from studies.engine.report.figures.saving import DPI
from studies.engine.report.measured import also_rows, duration, measured
from studies.engine.report.paper import markdown_table
from studies.engine.report.stored import StoredStudy, load_study

RESULTS = Path(__file__).with_name("results")
_SHOWN = ("course", "differences", "seeds", "landscape")
_MOST = 2


def main(argv: Sequence[str] | None = None) -> None:
    """Write one page."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.publish", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("name", help="of the page")
    parser.add_argument("study", nargs="+", type=Path, help="output folder of a finished study")
    parser.add_argument("--comparison", type=Path, help="folder of the page that compares them")
    options = parser.parse_args(argv)
    publish(options.name, [load_study(folder) for folder in options.study], options.comparison)


def publish(
    name: str, studies: Sequence[StoredStudy], comparison: Path | None = None, to: Path = RESULTS
) -> Path:
    """Write a page and what it shows; returns the page's path.

    Args:
        name: of the page and its files.
        studies: what it tells of; of one question.
        comparison: folder written by `python -m studies.report` over these studies.
        to: folder of the pages.
    """
    first = studies[0].results
    parts = [f"# {_sentence(studies[0].results['study'].replace('_', ' '))}", first["question"]]
    parts.append(f"**Claim under test**: {first['claim']}.")
    if comparison is not None:
        _smaller(comparison / "figures" / "ranks.png", to / f"{name}-ranks.png")
        parts += [
            "## Together",
            f"![Average ranks with the critical difference]({name}-ranks.png)",
            (comparison / "comparison.md").read_text(encoding="utf-8").strip(),
        ]
    several = len(studies) > 1
    for study in studies:
        if several:
            parts.append(f"## {study.place}")
        label = f"{name}-{plain(study)}" if several else name
        parts += _study(study, label, to, "###" if several else "##", brief=comparison is not None)
    notes = RESULTS / "notes" / f"{name}.md"
    if notes.exists():
        parts += ["## Reading", notes.read_text(encoding="utf-8").strip()]
    page = to / f"{name}.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def _study(study: StoredStudy, label: str, to: Path, heading: str, *, brief: bool) -> list[str]:
    results = study.results
    parts = []
    if found := results.get("finding"):
        parts.append(f"**The claim: {found['verdict']}.** {found['reason']}")
    if not brief:
        parts.append(f"**Answer**: {results['answer']}")
    parts.append(f"    {anywhere(results['command'])}")
    shutil.copy(study.folder / "runs.csv", to / f"{label}.csv")
    facts = measured(study)
    spent = sum(float(row["seconds"]) for row in study.rows)
    facts["Time"] = (
        f"{len(study.rows)} trainings, {duration(spent)} summed over the worker processes, while "
        "other work shared the machine"
    )
    told = "\n".join(f"- {term}: {meaning.rstrip('.')}." for term, meaning in facts.items())
    if not brief:
        parts.append(markdown_table(study.comparisons).strip())
        parts += [*_also(study), *_figures(study, label, to)]
    parts += [
        f"{heading} How it was measured",
        told,
        f"One row per training: [{label}.csv]({label}.csv).",
    ]
    return parts


def plain(study: StoredStudy) -> str:
    """A place in a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", study.folder.resolve().name).strip("-")


def _also(study: StoredStudy) -> list[str]:
    if not study.also:
        return []
    head, rows = also_rows(study)
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return ["Means and standard deviations of what else was measured:", table]


def anywhere(command: str) -> str:
    """A study's command without the folders of the machine that ran it."""
    command = re.sub(r" --(?:tracking-uri|output|workers|experiment) (?:'[^']*'|\S+)", "", command)
    return re.sub(r"(--data-root) (?:'[^']*'|\S+)", r"\1 FOLDER", command)


def _figures(study: StoredStudy, label: str, to: Path) -> list[str]:
    there = [name for name in _SHOWN if (study.folder / "figures" / f"{name}.png").exists()]
    lines = []
    for name in there[:_MOST]:
        file = f"{label}-{name}.png"
        _smaller(study.folder / "figures" / f"{name}.png", to / file)
        lines.append(f"![{_sentence(name)}]({file})")
    return lines


def _smaller(source: Path, target: Path) -> None:
    """Half of the print's resolution is plenty for a page."""
    from PIL import Image

    with Image.open(source) as image:
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        half.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(
            target, optimize=True, dpi=(DPI / 2, DPI / 2)
        )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    main()
