"""What a study cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from studies.engine.report.stored import StoredStudy


@dataclasses.dataclass(frozen=True)
class Cost:
    """Trainings of one stage, or of one family in the search.

    Args:
        stage: in words.
        trials: trials of the search; None for the confirmation.
        pruned: trials that were given up before their last seed.
        saved: trainings that were thereby not needed.
        trainings: trainings that were needed.
        diverged: trainings that diverged.
        seconds: their time, summed over processes. A training in a stack counts its part of it.
    """

    stage: str
    trials: int | None
    pruned: int
    saved: int
    trainings: int
    diverged: int
    seconds: float


def costs(study: StoredStudy) -> tuple[Cost, ...]:
    """A line per family of the search, one for the confirmation and one for the whole."""
    lines = []
    seeds = len(study.results.get("search_seeds", ())) or max(
        (trial.seeds for trial in study.trials), default=0
    )
    for label, trials in study.families.items():
        rows = [r for r in study.rows if r["stage"] == "search" and r["family"] == label]
        lines.append(
            Cost(
                f"search, {label}", len(trials), sum(t.state == "pruned" for t in trials),
                sum(seeds - t.seeds for t in trials), *_spent(rows),
            )
        )  # fmt: skip
    lines.append(Cost("confirmation", None, 0, 0, *_spent(study.confirmation)))
    total = Cost(
        "total", sum(line.trials or 0 for line in lines), sum(line.pruned for line in lines),
        sum(line.saved for line in lines), *_spent(study.rows),
    )  # fmt: skip
    return (*lines, total)


def _spent(rows: Sequence[Mapping[str, str]]) -> tuple[int, int, float]:
    diverged = sum(row["status"] == "diverged" for row in rows)
    return len(rows), diverged, sum(float(row.get("seconds") or 0) for row in rows)
