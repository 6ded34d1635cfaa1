"""`python -m studies` lists the studies."""

from __future__ import annotations

import importlib
import pkgutil
from typing import cast

import studies
from studies.engine.study import Study


def main() -> None:
    """Print name and title of every study, and how to run it."""
    for module in pkgutil.iter_modules(studies.__path__):
        if module.ispkg or module.name.startswith("_"):
            continue
        study = getattr(importlib.import_module(f"studies.{module.name}"), "STUDY", None)
        if study is not None:
            print(f"{module.name:<20} {cast(Study, study).title}")
    print("\nRun one: python -m studies.NAME    Its options: python -m studies.NAME --help")
    print("Train a single network: python -m studies.train --help")


if __name__ == "__main__":
    main()
