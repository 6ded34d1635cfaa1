"""The verdict on terminals of any width."""

import io
import re
from pathlib import Path

import pytest

from studies.engine.report.stored import load_study
from studies.engine.report.table import comparison_table
from studies.engine.report.terminal import has_colour, table_for_width, verdict_text

SENTENCE = "On digits the first is better than the second, by a good deal more than chance would."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_wide_terminal_gets_the_table_and_a_narrow_one_the_same_words(fashion: Path) -> None:
    comparisons = load_study(fashion).comparisons
    plain = comparison_table(comparisons)
    widest = max(map(len, plain.splitlines()))
    assert table_for_width(comparisons, widest) == plain
    for width in (widest - 1, 80, 40, 24):
        folded = table_for_width(comparisons, width)
        assert max(map(len, folded.splitlines())) <= width
        words = " ".join(folded.split())
        for comparison in comparisons.comparisons:
            assert f"against {comparison.reference}: {comparison.verdict}" in words
        for summary in comparisons.arms:
            assert f"{summary.arm}: {100 * summary.mean:.2f} (" in words
    assert table_for_width(comparisons, 5) == table_for_width(comparisons, 24)


def test_colour_marks_verdicts_and_nothing_else(fashion: Path) -> None:
    comparisons = load_study(fashion).comparisons
    for width in (200, 60):
        painted = table_for_width(comparisons, width, coloured=True)
        assert re.sub(r"\x1b\[\d+m", "", painted) == table_for_width(comparisons, width)
        found = re.findall(r"\x1b\[36m\s*(\w+)", painted)
        assert found == ["equivalent"] * len(comparisons.comparisons)


def test_a_pipe_gets_no_colour_and_whole_lines(fashion: Path) -> None:
    comparisons = load_study(fashion).comparisons
    text = verdict_text(comparisons, SENTENCE, io.StringIO())
    assert text == f"{comparison_table(comparisons)}\n\n{SENTENCE}"


def test_a_terminal_gets_colour_unless_it_asks_for_none(
    fashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparisons = load_study(fashion).comparisons
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = verdict_text(comparisons, SENTENCE, Terminal())
    assert "\x1b[" in text
    assert max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in text.splitlines()) <= 50
    assert " ".join(text.split("\n\n")[-1].split()) == SENTENCE
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in verdict_text(comparisons, SENTENCE, Terminal())
    assert not has_colour({"TERM": "dumb"})
