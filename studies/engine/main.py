"""`python -m studies.<name>`: from the command line to the printed answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from studies.engine.cli import parse, run_main
from studies.engine.devices import in_one_voice, on_devices
from studies.engine.options import StudyOptions
from studies.engine.study import Study


def study_main(study: Study, argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the options of a study, conduct it and leave the process.

    Args:
        study: what to conduct.
        argv: arguments; None reads the process's own.
    """

    def body() -> int:
        options = parse(
            StudyOptions,
            argv,
            prog=f"python -m studies.{study.name}",
            description=f"{study.title}. {study.question} Claim under test: {study.claim}.",
        )

        def lead() -> int:
            from studies.engine.conduct import conduct

            return conduct(study, options)

        again = sys.orig_argv[1:] if argv is None else ["-m", f"studies.{study.name}", *argv]
        return on_devices(options, lead, [sys.executable, *again])

    in_one_voice(lambda: run_main(body))
