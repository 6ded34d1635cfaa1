"""The API reference lists what the packages call public."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.docs.pages import ROOT

PACKAGES = (
    "initializers",
    "initializers.theory",
    "lightning_modules",
    "lightning_modules.networks",
    "lightning_modules.methods",
    "lightning_modules.diagnostics",
    "datamodules",
    "studies.engine.compare",
)
_DIRECTIVE = re.compile(
    r"^\.\. (?:auto(?:class|function|data|exception)|py:\w+):: ([\w.]+)$", re.MULTILINE
)


def listed(page: str) -> list[str]:
    """Full names that the directives of a page describe."""
    return _DIRECTIVE.findall((ROOT / "docs" / "api" / f"{page}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_listed_once(package: str) -> None:
    public = importlib.import_module(package).__all__
    names = listed(package)
    assert len(names) == len(set(names))
    own = [name.removeprefix(f"{package}.") for name in names]
    assert sorted(name for name in own if "." not in name) == sorted(public)


@pytest.mark.parametrize("package", [*PACKAGES, "studies.engine"])
def test_every_listed_name_exists(package: str) -> None:
    for name in listed(package):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize(
    "module", [f"studies.engine.{name}" for name in ("study", "run", "claims")]
)
def test_a_study_is_described_with_all_its_parts(module: str) -> None:
    text = (ROOT / "docs" / "api" / "studies.engine.md").read_text(encoding="utf-8")
    assert f".. automodule:: {module}\n   :members:\n" in text


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    pages = {path.stem for path in (ROOT / "docs" / "api").glob("*.md")} - {"index"}
    assert pages == {*PACKAGES, "studies.engine"}
    assert all(f"\n{page}\n" in index for page in pages)
