"""The comparison table for papers and pages: LaTeX and Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from studies.engine.report.table import footnotes, head, verdict_rows

if TYPE_CHECKING:
    from studies.engine.compare import Comparisons

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def markdown_table(comparisons: Comparisons) -> str:
    """The table in GitHub's Markdown, with its notes below."""
    rows, notes = verdict_rows(comparisons)
    lines: list[tuple[str, ...]] = [
        _head(comparisons),
        ("---", "---:", "---:", "---", "---:", "---:", "---"),
    ]
    lines += [tuple(cell.replace("|", r"\|") for cell in row[:7]) for row in rows]
    table = ["| " + " | ".join(line) + " |" for line in lines]
    below = [f"\n{note}" for note in footnotes(notes)]
    return "\n".join([*table, *below]) + "\n"


def latex_table(comparisons: Comparisons, *, caption: str, label: str) -> str:
    """The table as a LaTeX float; needs the package booktabs.

    Args:
        comparisons: what is shown.
        caption: plain text; special characters are escaped.
        label: what `\\ref` finds it by, after "tab:".
    """
    rows, notes = verdict_rows(comparisons)
    body = [" & ".join(_number(latex(cell)) for cell in row[:7]) + r" \\" for row in rows]
    return "\n".join([
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{latex(' '.join([caption, *footnotes(notes)]))}}}",
        f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', label)}}}",
        r"  \begin{tabular}{lrrlrrl}",
        r"    \toprule",
        "    " + " & ".join(latex(cell) for cell in _head(comparisons)) + r" \\",
        r"    \midrule",
        *(f"    {line}" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ])  # fmt: skip


def _head(comparisons: Comparisons) -> tuple[str, ...]:
    return tuple(name or "95 % interval" for name in head(comparisons))


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def _number(cell: str) -> str:
    """Signs as minus and plus, ranges with a dash."""
    cell = re.sub(r"(?<![\w.])([+-])(?=\d)", lambda m: f"${m[1]}$", cell)
    return re.sub(r"(?<=\d) to (?=[\d$])", "--" if "$" not in cell else " to ", cell)
