"""Several studies on one page: one table over data sets and networks, ranks, probabilities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from studies.engine.errors import UserError
from studies.engine.report.figures import finished
from studies.engine.report.figures.ranks import draw_improvement, draw_ranks
from studies.engine.report.figures.style import house_style, laid_out
from studies.engine.report.files import write_text
from studies.engine.report.markup import definitions, figures, page, table, verdict_cell
from studies.engine.report.paper import latex
from studies.engine.report.pictures import Picture
from studies.engine.report.several import Improvement, Ranking, improvement, rank_arms
from studies.engine.report.stored import StoredStudy
from studies.engine.report.table import points

_NUMBERS = frozenset(range(1, 1000))


def common_arms(studies: Sequence[StoredStudy]) -> tuple[str, ...]:
    """The arms that all studies have, in the first one's order.

    Raises:
        UserError: there are fewer than two, which leaves nothing to rank; or the studies compare
            different outcomes.
    """
    first = studies[0].comparisons.outcome
    for study in studies:
        if study.comparisons.outcome != first:
            raise UserError(
                f"{studies[0].folder} compares {first.words}, {study.folder} "
                f"{study.comparisons.outcome.words}; name studies with the same outcome."
            )
    shared = [
        arm for arm in studies[0].accuracies if all(arm in study.accuracies for study in studies)
    ]
    if len(shared) < 2:
        raise UserError(
            "The studies have fewer than two arms in common, so there is nothing to compare; name "
            "studies with the same arms, or report on each by itself."
        )
    return tuple(shared)


def rank(studies: Sequence[StoredStudy]) -> Ranking:
    """Ranks of the common arms over the studies."""
    shared = common_arms(studies)
    sign = studies[0].comparisons.outcome.sign
    means = {arm: [sign * s.comparisons.arm(arm).mean for s in studies] for arm in shared}
    return rank_arms(means)


def improvements(studies: Sequence[StoredStudy]) -> tuple[Improvement, ...]:
    """Probabilities of improvement for the comparisons that all studies made."""
    sign = studies[0].comparisons.outcome.sign
    accuracies = [
        {arm: {seed: sign * v for seed, v in row.items()} for arm, row in study.accuracies.items()}
        for study in studies
    ]
    return tuple(improvement(arm, other, accuracies) for arm, other in _common_pairs(studies))


def in_words(ranking: Ranking) -> str:
    """What the ranks say, in one or two sentences."""
    clear = [
        arm for arm, p in zip(ranking.arms, ranking.p_values, strict=True) if p <= ranking.alpha
    ]
    told = (
        f"worse than it by Holm's procedure: {', '.join(clear)}"
        if clear
        else "no arm is told apart from it by Holm's procedure"
    )
    text = (
        f"Over {ranking.studies} studies {ranking.arms[0]} has the best average rank "
        f"({ranking.ranks[0]:.2f} of {len(ranking.arms)}); {told}. Friedman's test that all arms "
        f"rank alike: p = {ranking.p_friedman:.3g}."
    )
    if ranking.studies < 5:
        text += " With so few studies ranks decide little; read the differences study by study."
    return text


def write_comparison(studies: Sequence[StoredStudy], folder: Path) -> tuple[Path, ...]:
    """Write report.html, comparison.tex, comparison.md and the figures of a comparison.

    Args:
        studies: at least two.
        folder: where to write; it is made.

    Returns:
        The paths.

    Raises:
        UserError: fewer than two arms in common.
        OSError: the folder cannot be written.
    """
    ranking, found = rank(studies), improvements(studies)
    with house_style():
        made = (draw_ranks(ranking), *([draw_improvement(found)] if found else []))
        drawings = [laid_out(drawing) for drawing in made]
    pictures = [finished(drawing, folder / "figures") for drawing in drawings]
    head, rows = accuracy_rows(studies, ranking)
    return (
        write_text(folder / "report.html", _page(studies, ranking, pictures, folder)),
        write_text(folder / "comparison.tex", _latex(head, rows)),
        write_text(folder / "comparison.md", _markdown(head, rows)),
        *(path for picture in pictures for path in picture.files),
    )


def accuracy_rows(
    studies: Sequence[StoredStudy], ranking: Ranking
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table: arms by rank, mean and standard deviation per study."""
    head = ("arm", *_names(studies), "average rank", "p against the best")
    rows = []
    for arm, value, p in zip(ranking.arms, ranking.ranks, ranking.p_values, strict=True):
        found = [study.comparisons.arm(arm) for study in studies]
        outcome = studies[0].comparisons.outcome
        cells = (f"{outcome.text(s.mean)} ± {outcome.text(s.std)}" for s in found)
        rows.append((arm, *cells, f"{value:.2f}", "" if arm == ranking.arms[0] else f"{p:.3g}"))
    return head, rows


def _common_pairs(studies: Sequence[StoredStudy]) -> list[tuple[str, str]]:
    pairs = [{(c.arm, c.reference) for c in s.comparisons.comparisons} for s in studies]
    first = [(c.arm, c.reference) for c in studies[0].comparisons.comparisons]
    return [pair for pair in first if all(pair in some for some in pairs)]


def _names(studies: Sequence[StoredStudy]) -> tuple[str, ...]:
    """A short name per study: data and network, and the folder where two would be the same."""
    places = [study.place for study in studies]
    return tuple(
        place if places.count(place) == 1 else f"{place} ({study.folder.resolve().name})"
        for place, study in zip(places, studies, strict=True)
    )


def _page(
    studies: Sequence[StoredStudy],
    ranking: Ranking,
    pictures: Sequence[Picture],
    folder: Path,
) -> str:
    top = (
        "<h1>Studies compared</h1>\n"
        f'<p class="place">{escape("; ".join(_names(studies)))}</p>\n'
        f'<div class="answer"><p><strong>Answer.</strong> {escape(in_words(ranking))}</p></div>'
    )
    head, rows = accuracy_rows(studies, ranking)
    caption = (
        "Test accuracy in per cent, mean and standard deviation over the seeds, for the arms that "
        "all studies have; ranks of the means, p by Holm's procedure against the best rank."
    )
    cells = [tuple(escape(cell) for cell in row) for row in rows]
    sections = {
        "accuracy": ("Accuracy and ranks", table(caption, head, cells, numbers=_NUMBERS)),
        "figures": ("Figures", figures(pictures)),
    }
    if pairs := _common_pairs(studies):
        sections["differences"] = ("Differences, study by study", _differences(studies, pairs))
    sections["studies"] = ("The studies", _links(studies, folder))
    sections["method"] = ("How it was compared", _METHOD)
    return page("Studies compared", sections, top)


def _differences(studies: Sequence[StoredStudy], pairs: Sequence[tuple[str, str]]) -> str:
    rows = []
    for arm, reference in pairs:
        cells = []
        for study in studies:
            c = study.comparisons.between(arm, reference)
            cells.append(
                f"{escape(points(c.mean_difference))} ({points(c.low)} to {points(c.high)})<br>"
                + verdict_cell(c.verdict, c.verdict)
            )
        rows.append((f"{escape(arm)}<br>against {escape(reference)}", *cells))
    caption = (
        "Differences in percentage points with their intervals, and each study's own verdict, "
        "which is corrected for that study's comparisons."
    )
    return table(caption, ("comparison", *_names(studies)), rows, numbers=_NUMBERS)


def _links(studies: Sequence[StoredStudy], folder: Path) -> str:
    items = {}
    for name, study in zip(_names(studies), studies, strict=True):
        report = study.folder / "report.html"
        text = escape(f"{study.title}: {study.results['answer']}")
        if report.exists():
            link = escape(Path(os.path.relpath(report, folder)).as_posix(), quote=True)
            text = f'{text} <a href="{link}">Report of {escape(name)}</a>'
        items[name] = text
    return definitions(items)


_METHOD = (
    "<p>Ranks, Friedman's test, Nemenyi's critical difference and Holm's procedure as Demšar "
    "(2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7) describes "
    "them, with a study in the place of a data set. Arms chosen as best by the same data are "
    "described, not tested. Probability of improvement as in Agarwal et al. (2021, Deep "
    "reinforcement learning at the edge of the statistical precipice), averaged over the studies, "
    "with a bootstrap that draws seeds within each study.</p>"
)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [head, rule, *([c.replace("|", r"\|") for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _latex(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(row: Sequence[str]) -> str:
        return " & ".join(latex(cell).replace("±", r"$\pm$") for cell in row) + r" \\"

    return "\n".join([
        r"% needs \usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"  \toprule",
        f"  {line(head)}",
        r"  \midrule",
        *(f"  {line(row)}" for row in rows),
        r"  \bottomrule",
        r"\end{tabular}",
        "",
    ])  # fmt: skip
