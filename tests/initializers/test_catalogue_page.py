"""docs/catalogue.md says what the docstrings say."""

import re
import runpy
from pathlib import Path

import pytest

from initializers import initializer_names

DOCS = Path(__file__).parents[2] / "docs"
WRITTEN = (DOCS / "catalogue.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(DOCS / "catalogue.py"))
    assert script["page"]() == WRITTEN, "run: python docs/catalogue.py"


def test_every_method_has_one_formula_and_one_figure() -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", WRITTEN, re.MULTILINE | re.DOTALL))
    assert sorted(sections) == sorted(initializer_names())
    figures = re.findall(r"!\[\w+\]\((catalogue/\w+\.png)\)", WRITTEN)
    assert len(figures) == len(set(figures)) == len(sections) - 1  # pretrained needs a file
    files = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / "catalogue").iterdir())
    assert files == sorted(figures), "run: python docs/catalogue.py"
    assert all(text.count("```text\n") >= 1 for text in sections.values())
    assert sum(path.stat().st_size for path in (DOCS / "catalogue").iterdir()) < 1_500_000


@pytest.mark.parametrize("leftover", ["``g", "::\n", "Args:", "Raises:", "Formula:"])
def test_nothing_of_the_docstrings_markup_is_left(leftover: str) -> None:
    assert leftover not in WRITTEN
