"""See that the built pages load nothing from elsewhere: no scripts, styles, fonts or pictures."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

_LOG = logging.getLogger(__name__)
_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
_ONLY_NAMED = {"canonical", "alternate", "author", "license", "next", "prev"}


class _Loads(HTMLParser):
    """Collects the addresses of other hosts that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        values = dict(attrs)
        address = values.get(_LOADS.get(tag, "")) or ""
        named = set((values.get("rel") or "").split()) & _ONLY_NAMED
        if address.startswith(("http:", "https:", "//")) and not named:
            self.found.append(address)


def loaded_from_elsewhere(html: str) -> list[str]:
    """Return the addresses of other hosts that a page would load by itself."""
    parser = _Loads()
    parser.feed(html)
    return parser.found


def check(app: Sphinx, exception: Exception | None) -> None:
    """Warn of every page that needs a network (Sphinx's event build-finished)."""
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*.html")):
        for address in loaded_from_elsewhere(path.read_text(encoding="utf-8")):
            _LOG.warning("%s loads %s", path.name, address)
    for path in sorted(Path(app.outdir).rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        if "url(http" in text or "url(//" in text or "@import url(" in text:
            _LOG.warning("%s loads something from elsewhere", path.name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
