"""What the store holds of a study: found by ids, learned once, each thing there once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"


@dataclass
class Known:
    """What the store holds of one run.

    Attributes:
        run_id: MLflow's id.
        status: MLflow's word.
        end_ms: End, milliseconds since 1970; None while it is open.
        params, tags, metrics: As stored.
    """

    run_id: str
    status: str
    end_ms: int | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]

    @property
    def open(self) -> bool:
        """Whether MLflow shows it as running."""
        return self.status == "RUNNING"

    def ended_after(self, time_ms: int, *, opening: bool = False) -> bool:
        """Whether it ended later than the given time (milliseconds since 1970).

        `opening`: the time of a record that says it is running. What ends within the millisecond
        of its beginning has ended after it.
        """
        if self.open or self.end_ms is None:
            return False
        return self.end_ms >= time_ms if opening else self.end_ms > time_ms


class Catalogue:
    """Finds studies, groups and runs by their ids and remembers what it found.

    A call that was given up may still be carried out by a slow server, so that a thing comes to
    be there twice; whoever learns of it next keeps one and discards the other.

    Args:
        client: The client.
        experiment_id: The experiment of all runs.

    Source: derived.
    """

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._roots: dict[str, Known] = {}  # by study id
        # parent's MLflow id -> child's id (a group id or a run key) -> what is known of it
        self._children: dict[str, dict[str, Known]] = {}

    def forget(self) -> None:
        """Learn everything anew: what a failed call has done is unknown."""
        self._roots.clear()
        self._children.clear()

    def root(self, study_id: str) -> Known | None:
        """The run of a study, or of a training that belongs to none; with all that is below it."""
        if study_id in self._roots:
            return self._roots[study_id]
        found = list(self._pages(f"tags.study_id = '{study_id}'"))
        if not found:
            return None
        found.sort(key=lambda run: (run.info.start_time, run.info.run_id))
        below = {run.info.run_id: self._below(run.info.run_id) for run in found}
        first = max(found, key=lambda run: len(below[run.info.run_id]))
        for double in found:
            if double is not first and not below[double.info.run_id]:
                self._discard(double)
        self._learn(below[first.info.run_id])
        return self.add_root(study_id, known(first))

    def add_root(self, study_id: str, created: Known) -> Known:
        """Remember a study's run."""
        self._roots[study_id] = created
        return created

    def children(self, run_id: str) -> dict[str, Known]:
        """What is known below a run, by group id or run key; additions are remembered."""
        return self._children.setdefault(run_id, {})

    def find_group(self, root_id: str, group_id: str) -> Known | None:
        """Look for a group that another process may have made in the meantime."""
        found = self._client.search_runs(
            [self._experiment_id],
            f"tags.study_run = '{root_id}' and tags.group_id = '{group_id}'",
            max_results=1,
        )
        return known(found[0]) if found else None

    def _below(self, root_id: str) -> "list[Run]":
        return list(self._pages(f"tags.study_run = '{root_id}'"))

    def _learn(self, runs: "list[Run]") -> None:
        """Remember groups and runs; of two with one id keep the one that ended, or the older."""

        def rank(run: "Run") -> tuple[bool, bool, int, str]:
            info = run.info
            is_run = run.data.tags.get("kind") != "group"
            return is_run, info.status == "RUNNING", info.start_time, info.run_id

        moved: dict[str, str] = {}  # a discarded group's MLflow id -> that of the one kept
        for run in sorted(runs, key=rank):
            tags = run.data.tags
            own_id = tags.get("group_id") or tags.get("run_key", "")
            parent = tags[PARENT_TAG]
            siblings = self.children(moved.get(parent, parent))
            if own_id in siblings:
                moved[run.info.run_id] = siblings[own_id].run_id
                self._discard(run)
                continue
            if parent in moved:
                self._client.set_tag(run.info.run_id, PARENT_TAG, moved[parent])
            siblings[own_id] = known(run)

    def _discard(self, run: "Run") -> None:
        if run.info.status == "RUNNING":
            self._client.set_terminated(run.info.run_id, "KILLED")
        self._client.delete_run(run.info.run_id)

    def _pages(self, condition: str) -> "Iterator[Run]":
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], condition, max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def known(run: "Run") -> Known:
    """Return what a run of MLflow says.

    Source: derived.
    """
    data = run.data
    return Known(
        run.info.run_id, run.info.status, run.info.end_time, data.params, data.tags, data.metrics
    )
