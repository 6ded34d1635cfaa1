"""`python -m studies` lists the studies; `python -m studies run` starts one on several devices."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import sys
import textwrap
from typing import cast

import studies
from studies.engine.study import Study


def main() -> None:
    """Print name, question and usual time of every study, and how to run it; or `run` one."""
    if sys.argv[1:2] == ["run"]:
        from studies.run import main as run

        run(sys.argv[2:])
    if len(sys.argv) > 1 and sys.argv[1] not in ("-h", "--help"):
        sys.exit(f"error: Unknown command {sys.argv[1]!r}; run a study: python -m studies.NAME")
    for module in pkgutil.iter_modules(studies.__path__):
        if module.ispkg or module.name.startswith("_"):
            continue
        study = getattr(importlib.import_module(f"studies.{module.name}"), "STUDY", None)
        if study is not None:
            print(_entry(cast(Study, study)))
    print("Run one: python -m studies.NAME    In minutes: python -m studies.NAME --quick")
    print("Its options: python -m studies.NAME --help    Its plan and time: --dry-run")
    print("On several devices: python -m studies run --devices N -m studies.NAME")
    print("Train a single network: python -m studies.train --help")
    print("Measure networks without training: python -m studies.diagnose --help")


def _entry(study: Study) -> str:
    took = f"  ({study.duration})" if study.duration else ""
    width = max(shutil.get_terminal_size((100, 24)).columns, 40)
    question = textwrap.fill(study.question, width, initial_indent="  ", subsequent_indent="  ")
    return f"{study.name}{took}\n{question}\n"


if __name__ == "__main__":
    main()
