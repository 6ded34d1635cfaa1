"""The search on a real Optuna storage, with a closed-form objective in the place of training."""

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from studies.engine.options import StudyOptions
from studies.engine.plan import Plan, make_plan
from studies.engine.run import Arm, Result, Run
from studies.engine.search import FamilySearch, Trial, search
from studies.engine.storage import open_storage
from studies.engine.study import Family
from studies.ternary_sparsity import STUDY

MAX_FAN_IN = 300


def plan(trials: int = 12, **options: object) -> Plan:
    return make_plan(STUDY, StudyOptions(trials=trials, search_seeds=3, **options))  # type: ignore[arg-type]


def accuracy(run: Run) -> float:
    """Highest at scale 1 and density 0.1, with seed effects and reproducible noise."""
    values = run.arm.initializer
    noise = random.Random(run.key).gauss(0, 0.004)
    distance = (
        math.log(values["scale"]) ** 2 + 0.2 * math.log(values.get("density", 0.1) / 0.1) ** 2
    )
    return max(0.0, 0.95 - 0.1 * distance + 0.01 * (run.seed % 3) + noise)


class Training:
    """Stands where workers would: counts what is trained, and can be interrupted."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.results: dict[str, Result] = {}
        self.interrupt_after = interrupt_after

    def __call__(self, runs: Sequence[Run]) -> list[Result]:
        for run in runs:
            if run.key not in self.results:
                if len(self.results) == self.interrupt_after:
                    raise KeyboardInterrupt
                value = accuracy(run)
                diverged = run.arm.initializer["scale"] > 3.9
                self.results[run.key] = Result(
                    key=run.key,
                    status="diverged" if diverged else "finished",
                    history=({"val_accuracy": value},),
                    val_accuracy=0.0 if diverged else value,
                    test_accuracy=None,
                    test_loss=None,
                    started=0.0,
                    seconds=0.0,
                    initialization={},
                    data={},
                )
        return [self.results[run.key] for run in runs]

    def lookup(self, run: Run) -> Result | None:
        return self.results.get(run.key)


def conduct(
    the_plan: Plan, storage: BaseStorage, training: Training
) -> tuple[tuple[Arm, ...], list[tuple[str, Trial]]]:
    trials: list[tuple[str, Trial]] = []

    def on_trial(family: Family, trial: Trial, before: bool) -> None:
        trials.append((family.label, trial))

    return search(the_plan, storage, "s", MAX_FAN_IN, training, training.lookup, on_trial), trials


def table(trials: list[tuple[str, Trial]]) -> list[tuple[object, ...]]:
    return sorted(
        (label, trial.number, tuple(trial.values.values()), trial.accuracies, trial.state)
        for label, trial in trials
    )


def test_every_family_gets_the_same_number_of_trials_and_starts_at_its_textbook_point() -> None:
    _, trials = conduct(plan(10), InMemoryStorage(), Training())
    for family in ("ternary", "Glorot", "He"):
        own = [trial for label, trial in trials if label == family]
        assert len(own) == 10
        assert own[0].values["scale"] == 1.0
        whole = [t for t in own if t.state == "complete" and not t.diverged]
        assert all(len(trial.results) == 3 for trial in whole)


def test_space_resolves_the_sparse_end_on_a_log_scale() -> None:
    _, trials = conduct(plan(40), InMemoryStorage(), Training())
    densities = [t.values["density"] for label, t in trials if label == "ternary"][1:]
    assert all(1 / MAX_FAN_IN <= d <= 1 for d in densities)
    places = [math.log(d) / math.log(1 / MAX_FAN_IN) for d in densities]
    # 0 is dense, 1 the sparsest; both ends are visited early.
    assert min(places[:8]) < 1 / 3
    assert max(places[:8]) > 2 / 3


def test_tuned_arm_is_the_best_complete_trial() -> None:
    arms, trials = conduct(plan(), InMemoryStorage(), Training())
    for arm, family in zip(arms, ("ternary", "Glorot", "He"), strict=True):
        complete = [t for label, t in trials if label == family and t.state == "complete"]
        best = max(complete, key=lambda t: t.objective)
        assert arm.label == f"{family} (tuned)"
        assert dict(arm.initializer) == dict(best.arm.initializer)


def test_search_finds_the_optimum_of_the_surface() -> None:
    arms, _ = conduct(plan(32), InMemoryStorage(), Training())
    tuned = arms[0].initializer
    # Within the region whose loss is below two noise standard errors, 0.004 * 2 / sqrt(3).
    loss = math.log(tuned["scale"]) ** 2 + 0.2 * math.log(tuned["density"] / 0.1) ** 2
    assert 0.1 * loss < 0.01


def test_some_trials_are_pruned_and_those_are_bad_ones() -> None:
    _, trials = conduct(plan(32), InMemoryStorage(), Training())
    for family in ("ternary", "Glorot", "He"):
        own = [t for label, t in trials if label == family]
        best = max((t for t in own if t.state == "complete"), key=lambda t: t.objective)
        pruned = [t for t in own if t.state == "pruned"]
        assert pruned
        assert all(len(t.results) < 3 for t in pruned)
        for trial in pruned:
            same_seeds = best.accuracies[: len(trial.accuracies)]
            assert sum(trial.accuracies) < sum(same_seeds)


def test_a_diverged_trial_is_complete_with_the_worst_value() -> None:
    family = FamilySearch(STUDY.families[1], plan(), InMemoryStorage(), "s", MAX_FAN_IN)
    family._study.enqueue_trial({"scale": 3.99})
    batch = family.next_batch()
    training = Training()
    hit = next(t for t in batch if t.values["scale"] == 3.99)
    hit.results = training([plan().search_run(hit.arm, plan().search_seeds[0])])
    hit.state = "complete"
    assert hit.diverged
    family.report(hit)
    family.tell(hit)
    assert [t.value for t in family.finished()] == [0.0]


@pytest.mark.parametrize("interrupt_after", [0, 1, 7, 12, 13, 25, 36, 40, 61])
def test_interrupted_and_started_again_ends_as_if_nothing_had_happened(
    interrupt_after: int, tmp_path: Path
) -> None:
    undisturbed = conduct(plan(), open_storage(None, tmp_path), Training())
    folder = tmp_path / "interrupted"
    folder.mkdir()
    training = Training(interrupt_after)
    with pytest.raises(KeyboardInterrupt):
        conduct(plan(), open_storage(None, folder), training)
    training.interrupt_after = None
    resumed = conduct(plan(), open_storage(None, folder), training)
    assert table(resumed[1]) == table(undisturbed[1])
    assert resumed[0] == undisturbed[0]


def test_finished_search_trains_nothing_and_a_higher_target_continues(tmp_path: Path) -> None:
    training = Training()
    first = conduct(plan(8), open_storage(None, tmp_path), training)
    before = len(training.results)
    assert conduct(plan(8), open_storage(None, tmp_path), training)[0] == first[0]
    assert len(training.results) == before
    more = conduct(plan(12), open_storage(None, tmp_path), training)
    assert len(more[1]) == 3 * 12
    assert table(more[1][:24]) == table(first[1])


def test_tuned_learning_rate_joins_every_family() -> None:
    arms, _ = conduct(plan(4, tune_lr=True), InMemoryStorage(), Training())
    for arm in arms:
        assert 1e-4 <= arm.overrides["lr"] <= 1e-2
        assert "lr" not in arm.initializer


def test_search_and_confirmation_seeds_are_disjoint() -> None:
    for study_seed in (0, 1, 7):
        the_plan = plan(study_seed=study_seed, seeds=500)
        assert not set(the_plan.search_seeds) & set(the_plan.seeds)
        assert len(set(the_plan.seeds)) == 500
