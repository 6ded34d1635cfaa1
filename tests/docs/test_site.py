"""What the site's two extensions do to docstrings and look for in pages."""

from __future__ import annotations

import runpy

import pytest

from tests.docs.pages import ROOT

EXTENSIONS = ROOT / "docs" / "extensions"
PREPARE = runpy.run_path(str(EXTENSIONS / "docstring_markup.py"))["prepare"]
LOADED = runpy.run_path(str(EXTENSIONS / "offline.py"))["loaded_from_elsewhere"]


def prepared(text: str, what: str = "function", value: object = None) -> str:
    lines = text.split("\n")
    PREPARE(None, what, "name", value, None, lines)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shape (n, *input_shape), |x| < 1", r"shape (n, \*input_shape), \|x\| < 1"),
        ("``(n, *shape)`` and `|x|`, 2 * 3", "``(n, *shape)`` and `|x|`, 2 * 3"),
        ("* an item\n* another", "* an item\n* another"),
        ("Args:\n    lr, gamma,\n        clip: see", "Args:\n    lr, gamma, clip: see"),
        ("So::\n\n    f(*x)\n\nthen *y", "So::\n\n    f(*x)\n\nthen \\*y"),
        (">>> f(*x)", ">>> f(*x)"),
        ("Formula:\n    |w| = a*b", "Formula::\n\n    |w| = a*b"),
    ],
)
def test_plain_text_stays_what_it_is(text: str, expected: str) -> None:
    assert prepared(text) == expected


def test_an_attributes_first_words_are_no_type_and_a_constants_class_is_not_its_text() -> None:
    assert prepared("What it needs: data", "attribute") == "\\\nWhat it needs: data"
    assert prepared(tuple.__doc__ or "", "data", ("a",)) == ""
    assert prepared("Names of all.", "data", ("a",)) == "\\\nNames of all."


def test_what_a_page_loads_from_elsewhere_is_found() -> None:
    page = (
        '<script src="https://a.example/x.js"></script><img src="../y.png">'
        '<link rel="stylesheet" href="//b.example/z.css"><link rel="next" href="https://c.example/">'
        '<a href="https://d.example/">a link is followed, not loaded</a>'
    )
    assert LOADED(page) == ["https://a.example/x.js", "//b.example/z.css"]
