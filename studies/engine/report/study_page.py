"""One study as a page: question and answer, how it was measured, table, figures, cost."""

from __future__ import annotations

from html import escape

from studies.engine.report.cost import costs
from studies.engine.report.markup import definitions, figures, page, table, verdict_cell
from studies.engine.report.measured import also_rows, duration, measured
from studies.engine.report.pictures import Picture
from studies.engine.report.stored import StoredStudy, best_trial
from studies.engine.report.table import NUMBERS, footnotes, head, verdict_rows


def study_page(study: StoredStudy, pictures: tuple[Picture, ...]) -> str:
    """The page as HTML.

    Args:
        study: a finished study.
        pictures: its figures.
    """
    results = study.results
    claim = results.get("claim")
    tested = f"<p>Claim under test: {escape(claim)}.</p>\n{_finding(study)}" if claim else ""
    top = (
        f"<h1>{escape(study.title[:1].upper() + study.title[1:])}</h1>\n"
        f'<p class="place">{escape(study.place)}</p>\n'
        f"<p>{escape(results['question'])}</p>\n{tested}"
        f'<div class="answer"><p><strong>Answer.</strong> {escape(results["answer"])}</p></div>'
    )
    sections = {
        "measured": (
            "How it was measured",
            definitions({k: escape(v) for k, v in measured(study).items()} | _repeat(study)),
        ),
        "comparison": ("Comparison", _comparison(study)),
        "figures": ("Figures", figures(pictures)),
    }
    if study.also:
        sections["also"] = ("Also measured", _also(study))
    if study.trials:
        sections["tuned"] = ("What the search found", _tuned(study))
    if study.diagnostics:
        sections["diagnostics"] = ("Diagnostics", _diagnostics(study))
    sections["cost"] = ("What it cost", _cost(study))
    sections["files"] = ("Files and words", _files(pictures))
    return page(f"{study.title}: {study.place}", sections, top)


def _finding(study: StoredStudy) -> str:
    found = study.results.get("finding")
    if not found:
        return ""
    verdict, reason = escape(found["verdict"]), escape(found["reason"])
    return f"<p><strong>The claim: {verdict}.</strong> {reason}</p>\n"


def _repeat(study: StoredStudy) -> dict[str, str]:
    command = study.results.get("command")
    return {"To repeat it": f"<code>{escape(command)}</code>"} if command else {}


def _comparison(study: StoredStudy) -> str:
    rows, notes = verdict_rows(study.comparisons)
    cells = [
        (*(escape(text) for text in row[:6]), verdict_cell(row.verdict, row.word)) for row in rows
    ]
    seeds = len(study.results["seeds"])
    outcome = study.comparisons.outcome
    caption = (
        f"{outcome.words[:1].upper()}{outcome.words[1:]} over {seeds} seeds; differences in "
        f"{outcome.difference}, paired by seed."
    )
    below = "".join(f'<p class="notes">{escape(note)}</p>' for note in footnotes(notes))
    top = [name or "95 % interval" for name in head(study.comparisons)]
    return table(caption, top, cells, numbers=NUMBERS) + below


def _tuned(study: StoredStudy) -> str:
    rows = []
    for label, trials in study.families.items():
        best = best_trial(trials)
        if best is None:
            continue
        values = ", ".join(f"{name} {value:.4g}" for name, value in best.values.items())
        rows.append(
            (escape(label), str(len(trials)), escape(values or "nothing varied"),
             f"{100 * best.accuracy:.2f}", str(best.number + 1))
        )  # fmt: skip
    head = ("family", "trials", "best hyperparameters", "validation accuracy %", "in trial")
    caption = "The best trial of each family, which went into the confirmation as its tuned arm."
    return table(caption, head, rows, numbers=frozenset({1, 3, 4}))


def _also(study: StoredStudy) -> str:
    head, rows = also_rows(study)
    cells = [tuple(escape(cell) for cell in row) for row in rows]
    caption = "Mean and standard deviation over the confirmation runs; not compared."
    return table(caption, head, cells, numbers=frozenset(range(1, len(head))))


def _diagnostics(study: StoredStudy) -> str:
    rows = []
    for summary in study.comparisons.arms:
        runs = [row for row in study.confirmation if row["arm"] == summary.arm]
        cells = []
        for name in study.diagnostics:
            values = [float(row[name]) for row in runs if row[name]]
            cells.append(f"{sum(values) / len(values):.4g}" if values else "")
        rows.append((escape(summary.arm), *cells))
    names = tuple(n.removeprefix("diagnostics.").replace("_", " ") for n in study.diagnostics)
    return table(
        "Means over the confirmation runs.", ("arm", *names), rows,
        numbers=frozenset(range(1, len(names) + 1)),
    )  # fmt: skip


def _cost(study: StoredStudy) -> str:
    rows, classes = [], []
    for line in costs(study):
        searched = line.trials is not None
        possible = line.trainings + line.saved
        share = f"{100 * line.saved / possible:.0f} %" if searched and possible else ""
        rows.append((
            escape(line.stage), f"{line.trials:,}" if searched else "",
            f"{line.pruned:,}" if searched else "", f"{line.trainings:,}", share,
            f"{line.diverged:,}", duration(line.seconds),
        ))  # fmt: skip
        classes.append("total" if line.stage == "total" else "first")
    head = ("stage", "trials", "pruned", "trainings", "saved by pruning", "diverged", "time")
    caption = "Trainings and their time, summed over all processes that trained."
    return table(caption, head, rows, numbers=frozenset(range(1, 7)), classes=classes)


def _files(pictures: tuple[Picture, ...]) -> str:
    names = ", ".join(f"<code>{escape(picture.name)}</code>" for picture in pictures)
    return (
        definitions(
            {
                "runs.csv": "a row per training",
                "curves.csv": "a row per training and epoch, found by the training's key",
                "results.json": "everything on this page as plain data",
                "comparison.tex, comparison.md": "the table for a paper or a page",
                "figures/": f"each figure as PNG and PDF: {names}",
            }
        )
        + '<p class="notes">Better, worse: the signed-rank test says so. Equivalent: the '
        "equivalence tests say that the difference lies within the margin. Undecided: neither; the "
        "number is that of the seeds which would decide with 80 % power.</p>"
    )
