"""The pages in a real browser: figures that show something, no requests, no complaints."""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.browser import NAMES, Browser, find_browser

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser is installed (one of {', '.join(NAMES)})"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert BROWSER is not None
    with Browser(BROWSER) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(reported: Path) -> list[Path]:
    return [reported / name / "report.html" for name in ("one", "all")]


def pixels(png: bytes) -> Counter[bytes]:
    """Colours of an 8-bit RGB or RGBA picture and how often they occur."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind) in ((8, 2), (8, 6))
    size = 3 if kind == 2 else 4
    data, at = b"", 8
    while at < len(png):
        length = struct.unpack(">I", png[at : at + 4])[0]
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw = zlib.decompress(data)
    rows: list[bytearray] = [bytearray(width * size)]
    for y in range(height):
        start = y * (width * size + 1)
        rows.append(
            _unfiltered(raw[start], raw[start + 1 : start + 1 + width * size], rows[-1], size)
        )
    return Counter(bytes(row[i : i + 3]) for row in rows[1:] for i in range(0, width * size, size))


def _unfiltered(kind: int, line: bytes, above: bytearray, size: int) -> bytearray:
    out = bytearray(line)
    for i in range(len(out)):
        left = out[i - size] if i >= size else 0
        up, corner = above[i], above[i - size] if i >= size else 0
        if kind == 4:
            guess = left + up - corner
            gaps = (abs(guess - left), abs(guess - up), abs(guess - corner))
            out[i] = (out[i] + (left, up, corner)[gaps.index(min(gaps))]) & 255
        else:
            out[i] = (out[i] + (0, left, up, (left + up) // 2)[kind]) & 255
    return out


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_there_and_not_blank(
    browser: Browser, pages: list[Path], tmp_path: Path, dark: bool
) -> None:
    browser.open(pages[0].as_uri(), width=1280, dark=dark)
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(22, 22, 21)" if dark else "rgb(253, 253, 252)")
    boxes = browser.value(
        "[...document.querySelectorAll('figure svg')].map(s => {const r = "
        "s.getBoundingClientRect(); return [s.getAttribute('aria-label'), r.x, r.y + scrollY, "
        "r.width, r.height]})"
    )
    assert len(boxes) == 6
    for index, (alt, x, y, width, height) in enumerate(boxes):
        assert len(alt) > 40
        assert width > 300
        assert height > 100
        file = tmp_path / f"{index}.png"
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 0.5}
        browser.screenshot(file, clip=clip, whole=True)
        seen = pixels(file.read_bytes())
        ground, often = seen.most_common(1)[0]
        assert tuple(ground) == ((22, 22, 21) if dark else (253, 253, 252))
        drawn = 1 - often / seen.total()
        assert 0.03 < drawn < 0.9
        assert len(seen) > 20


def test_nothing_leaves_the_page_and_nothing_complains(browser: Browser, pages: list[Path]) -> None:
    for page in pages:
        for width in (1280, 360):
            browser.open(page.as_uri(), width=width)
            assert browser.requests == [page.as_uri()]
            assert browser.problems == []
            wide = browser.value("document.documentElement.scrollWidth")
            assert wide <= width  # tables scroll inside, not the page


def test_the_driver_notices_requests_and_complaints(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='missing.png'><script>console.error('oh')</script>")
    browser.open(page.as_uri())
    assert [Path(address).name for address in browser.requests] == ["bad.html", "missing.png"]
    assert any("oh" in problem for problem in browser.problems)


def test_every_link_works(browser: Browser, pages: list[Path]) -> None:
    for page in pages:
        browser.open(page.as_uri())
        links = browser.value("[...document.querySelectorAll('a')].map(a => a.href)")
        assert len(links) > 4
        inside = [link.partition("#")[2] for link in links if link.startswith(page.as_uri())]
        assert browser.value(f"{inside!r}.every(id => document.getElementById(id))")
        outside = [link for link in links if not link.startswith(page.as_uri())]
        assert len(outside) == (3 if page.parent.name == "all" else 0)
        for link in outside:
            browser.open(link)
            assert "Answer" in browser.value("document.body.textContent")


def test_a_keyboard_and_a_screen_reader_find_their_way(browser: Browser, pages: list[Path]) -> None:
    for page in pages:
        browser.open(page.as_uri())
        levels = browser.value(
            "[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        assert browser.value("document.documentElement.lang") == "en"
        assert browser.value(
            "[...document.querySelectorAll('table')].every(t => t.caption && "
            "[...t.querySelectorAll('th')].every(h => h.scope === 'col' || h.scope === 'row'))"
        )
        assert browser.value(
            "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
        ) == (browser.value("document.querySelectorAll('[id]').length"))
        order = []
        for _ in range(3):
            browser.press("Tab", 9)
            order.append(browser.value("document.activeElement.textContent"))
        assert order[0] == "Skip to the content"
        assert order[1:] == browser.value(
            "[...document.querySelectorAll('nav a')].slice(0, 2).map(a => a.textContent)"
        )
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_text_has_contrast_in_light_and_dark(browser: Browser, pages: list[Path]) -> None:
    script = """
    (() => {
      const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(n => n / 255).map(
        x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
        return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
      const ground = e => { while (e) { const c = getComputedStyle(e).backgroundColor;
        if (!/, 0\\)/.test(c)) return c; e = e.parentElement; } };
      return Math.min(...[...document.querySelectorAll('p,dt,dd,td,th,a,figcaption,caption,span')]
        .filter(e => e.textContent.trim()).map(e => {
          const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
          return (a + .05) / (b + .05); }));
    })()
    """
    for dark in (False, True):
        browser.open(pages[0].as_uri(), dark=dark)
        assert browser.value(script) >= 4.5  # WCAG AA
