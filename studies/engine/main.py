"""`python -m studies.<name>`: from the command line to the printed answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from studies.engine.cli import run_main
from studies.engine.devices import in_one_voice, on_devices
from studies.engine.settings import sittings
from studies.engine.study import Study


def study_main(study: Study, argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the options of a study, conduct it, at each of its places, and leave the process.

    Args:
        study: what to conduct.
        argv: arguments; None reads the process's own.
    """

    def body() -> int:
        asked = sittings(study, argv)

        def lead() -> int:
            from studies.engine.conduct import conduct

            for sitting in asked:
                conduct(study, sitting.options, sitting.defaults)
            if len(asked) > 1 and not asked[0].options.dry_run:
                from studies.engine.plan import make_plan
                from studies.report import report

                folders = [make_plan(study, sitting.options).output for sitting in asked]
                together = "comparison-quick" if asked[0].options.quick else "comparison"
                print()
                report(folders, folders[0].parent / together)
            return 0

        again = sys.orig_argv[1:] if argv is None else ["-m", study.module, *argv]
        return on_devices(asked[0].options, lead, [sys.executable, *again])

    in_one_voice(lambda: run_main(body))
