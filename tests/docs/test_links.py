"""Links between pages, to files and to pictures lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import NAMES, ROOT, blocks

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings: as GitHub makes them, and as the site does.

    The site's pages of the API reference have docutils' own, with a dash for anything else.
    """
    text = path.read_text(encoding="utf-8")
    for block in blocks(text):
        text = text.replace(block.code, "")
    found: set[str] = set()
    for heading in _HEADING.findall(text):
        plain = heading.replace("`", "").strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
        found.add(re.sub(r"[^a-z0-9]+", "-", plain).strip("-"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_links(name: str) -> None:
    page = ROOT / name
    text = page.read_text(encoding="utf-8")
    for block in blocks(text):
        text = text.replace(block.code, "")
    for link in _LINK.findall(text):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name}: {link}"
        assert path.is_relative_to(ROOT), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(path), f"{name}: {link}"


def test_every_picture_is_shown() -> None:
    shown = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in NAMES)
    for picture in (ROOT / "docs" / "images").rglob("*.png"):
        assert f"{picture.parent.name}/{picture.name}" in shown, picture
