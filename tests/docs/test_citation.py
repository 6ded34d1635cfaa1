"""CITATION.cff says what the package says of itself."""

from __future__ import annotations

import datetime
import tomllib

import yaml

from tests.docs.pages import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_it_has_the_keys_that_the_format_requires() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["message"]
    assert CITATION["title"]
    assert CITATION["type"] == "software"
    assert CITATION["authors"] == [{"name": "The ternary-studies maintainers"}]


def test_name_version_and_licence_are_those_of_the_package() -> None:
    assert CITATION["title"].startswith(PROJECT["name"])
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["abstract"].strip() == PROJECT["description"]
    assert not isinstance(CITATION["version"], float | datetime.date)
