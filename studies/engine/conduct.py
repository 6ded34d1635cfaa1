"""Conduct a study: search, confirm, compare, report."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from studies.engine.claims import Evidence
from studies.engine.cli import command_line
from studies.engine.devices import environment_of
from studies.engine.errors import UserError
from studies.engine.identity import check_identity
from studies.engine.members import Members
from studies.engine.options import StudyOptions
from studies.engine.plan import Plan, make_plan
from studies.engine.progress import Progress
from studies.engine.recorder import Recorder
from studies.engine.report import (
    REPORT_FILE,
    answer,
    comparison_table,
    verdict_text,
    write_report,
    write_results,
)
from studies.engine.report.files import RESULTS_FILE, Row
from studies.engine.report.terminal import finding_text
from studies.engine.session import Session
from studies.engine.spoken import closing, heading
from studies.engine.stages import confirm_stage, search_stage
from studies.engine.storage import Ledger, open_storage
from studies.engine.study import Study
from studies.engine.tracking import environment_tags, machine
from studies.engine.train import default_workers
from studies.engine.uncollected import uncollected

if TYPE_CHECKING:
    from studies.engine.compare import Comparisons


def conduct(
    study: Study,
    options: StudyOptions,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Answer a study's question, continuing whatever its storage already holds.

    Any number of processes may conduct one study at a time: one leads, the others train for it.

    Args:
        study: question, arms and comparisons.
        options: the user's options.
        defaults: options that the study sets by itself, which the command that repeats this need
            not name.

    Returns:
        The process's exit code, 0.

    Raises:
        UserError: anything the user can put right, in one sentence.
    """
    started = time.monotonic()
    plan = make_plan(study, options)
    environment = dataclasses.replace(
        environment_of(options),
        checkpoints=str(plan.output / "checkpoints"),
        checkpoint_every=options.checkpoint_every,
        diagnostics=options.diagnostics,
    )
    workers = default_workers(options.accelerator) if options.workers == "auto" else options.workers
    stack = None if options.stack == "auto" else options.stack
    if options.dry_run:
        from studies.engine.rehearsal import rehearse

        return rehearse(plan, environment, workers, stack)
    _make_folder(plan.output)
    if not options.fresh:
        check_identity(plan.output, plan.identity())
    storage = open_storage(options.storage, plan.output)
    ledger = Ledger(storage, plan.name_in(options.storage))
    progress = Progress(sum(plan.most_runs), quiet=options.quiet)
    with (
        Members(storage, ledger.name) as members,
        Session(plan, ledger, members, environment, workers, progress, stack) as session,
    ):
        finished = _follow(session, members, _totals(plan), fresh=options.fresh)
        progress.quiet = options.quiet or finished
        if not finished:
            print(heading(plan, workers), flush=True)
        command = command_line(study.module, options, defaults)
        recorder = Recorder(plan, options, ledger, command, active=not finished)
        # The workers end first, so that what is still to be recorded does not keep them training.
        with recorder, session:
            comparisons, sentence, finding, paths = _lead(
                session, recorder, options, command, started, finished=finished
            )
        if finished:
            print(heading(plan, workers))
        print(f"\n{verdict_text(comparisons, sentence, finding=finding)}\n")
        print(closing(plan, session.trained, time.monotonic() - started, paths), flush=True)
        print(recorder.closing(send=members.alone()))
    return 0


def _lead(
    session: Session,
    recorder: Recorder,
    options: StudyOptions,
    command: str,
    started: float,
    *,
    finished: bool,
) -> tuple[Comparisons, str, Mapping[str, str] | None, tuple[Path, ...]]:
    """Search, confirm, compare and write down; returns comparisons, answer, finding and files."""
    plan, study, ledger = session.plan, session.plan.study, session.ledger
    if not finished:
        session.open_workers()
        # While the workers get ready: MLflow, and what the confirmation needs.
        with uncollected():
            recorder.open()
            import studies.engine.compare  # noqa: F401
        gc.freeze()
    facts = session.facts(fresh=options.fresh)
    if not finished:
        print(f"  trained {session.form.describe()}", flush=True)
    recorder.start(facts)
    rows: list[Row] = []
    tuned = search_stage(session, facts, recorder, rows)
    arms = (*tuned, *study.arms)
    values, diverged = confirm_stage(session, arms, recorder, rows)
    session.progress.close()
    from studies.engine.compare import TEST_ACCURACY, compare_pairs

    comparisons = compare_pairs(
        values,
        study.comparisons,
        margin=plan.margin,
        diverged=diverged,
        outcome=study.outcome or TEST_ACCURACY,
    )
    sentence = answer(plan, comparisons)
    table = comparison_table(comparisons)
    finding = _finding(study, comparisons, rows)
    results = {
        "study": study.name,
        "title": study.title,
        "question": study.question,
        "claim": study.claim,
        "answer": sentence,
        "finding": finding,
        "reduced": study.reduced,
        "also": [outcome.to_dict() for outcome in study.also],
        "command": command,
        "seconds": _spent(session, time.monotonic() - started),
        "machine": machine(),
        "recipe": dataclasses.asdict(plan.recipe),
        "trials_per_family": plan.trials,
        "search_seeds": list(plan.search_seeds),
        "seeds": list(plan.seeds),
        "tuned": [arm.to_dict() for arm in tuned],
        "facts": facts,
        "versions": _versions(ledger),
        **comparisons.to_dict(),
    }
    rows.sort(key=lambda row: (row["stage"] == "confirm", row["seed"], row["trial"] or 0))
    report, file = plan.output / REPORT_FILE, plan.output / RESULTS_FILE
    before = file.read_bytes() if finished and file.exists() else None
    paths = write_results(plan.output, rows, results, table)
    # Other comparisons of the same runs are judged anew, and drawn anew.
    drawn = report.exists() and before == file.read_bytes()
    paths = (*paths, *((report,) if drawn else write_report(plan.output, session.spread)))
    told = sentence if finding is None else f"{sentence}\n\n{finding_text(finding)}"
    recorder.finish(arms, comparisons, told, table, paths)
    ledger.remember("finished", _totals(plan))
    shutil.rmtree(plan.output / "checkpoints", ignore_errors=True)  # of runs under way once
    return comparisons, sentence, finding, paths


def _follow(session: Session, members: Members, totals: Mapping[str, Any], *, fresh: bool) -> bool:
    """Train for another process while it leads this study; returns whether it is finished.

    Raises:
        UserError: --fresh while others are at work.
    """
    if fresh:
        if not members.alone():
            raise UserError(
                "Other processes are conducting this study; wait for them to end before --fresh, "
                "or choose another --output."
            )
        return False

    def finished() -> bool:
        return session.ledger.recall("finished") == totals

    if not finished() and not members.lead():
        print("Another process leads this study; this one trains for it.", flush=True)
        session.follow(lambda: finished() or members.lead())
        session.ledger.refresh()
    return finished()


def _finding(
    study: Study, comparisons: Comparisons, rows: Sequence[Row]
) -> Mapping[str, str] | None:
    """What the study says of its claim; None where it leaves that to the reader."""
    if study.judge is None:
        return None
    confirmed = [row for row in rows if row["stage"] == "confirm"]
    return study.judge(Evidence(comparisons, confirmed)).to_dict()


def _spent(session: Session, seconds: float) -> float:
    """Wall-clock seconds of all sittings that trained, this one included."""
    before = float((session.ledger.recall("spent") or {"seconds": 0.0})["seconds"])
    if session.trained == 0:
        return before
    session.ledger.remember("spent", {"seconds": round(before + seconds, 1)})
    return round(before + seconds, 1)


def _versions(ledger: Ledger) -> Mapping[str, str]:
    """What the study was made with: versions and commit of the process that first ended it."""
    versions = ledger.recall("versions")
    if versions is None:
        versions = environment_tags()
        ledger.remember("versions", versions)
    return versions


def _totals(plan: Plan) -> dict[str, Any]:
    """What a finished study may be continued beyond."""
    return {"trials": plan.trials, "seeds": len(plan.seeds), "margin": plan.margin}


def _make_folder(folder: Path) -> None:
    """Create the output folder.

    Raises:
        UserError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"The output folder {folder} cannot be written ({reason}); choose another --output."
        ) from error
