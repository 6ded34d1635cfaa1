"""Every study file: what it declares is there, is consistent, and can be parsed and planned."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import studies
from initializers import get_initializer
from initializers.catalogue import initializer_names
from lightning_modules import get_method
from studies.atlas import LEFT_OUT, METHODS
from studies.engine.plan import make_plan
from studies.engine.settings import sittings
from studies.engine.study import Study

FILES = {
    name: study
    for name in (module.name for module in pkgutil.iter_modules(studies.__path__))
    if not name.startswith("_")
    and isinstance(
        study := getattr(importlib.import_module(f"studies.{name}"), "STUDY", None), Study
    )
}


@pytest.mark.parametrize("name", FILES)
def test_a_study_declares_what_it_asks_and_plans(name: str) -> None:
    study = FILES[name]
    assert study.name == name
    assert study.question.endswith("?")
    assert study.claim
    assert study.primary
    for arguments in ([], ["--quick"]):
        asked = sittings(study, arguments)
        assert len(asked) == max(1, len(study.places))
        plans = [make_plan(study, sitting.options) for sitting in asked]
        # Quick and full results never share a folder, nor do two places.
        folders = {plan.output for plan in plans}
        assert len(folders) == len(plans)
        assert all(("-quick" in folder.name) == bool(arguments) for folder in folders)
        for plan in plans:
            assert plan.most_runs[1] == len(study.labels) * len(plan.seeds)


@pytest.mark.parametrize("name", FILES)
def test_quick_is_not_larger_than_full(name: str) -> None:
    full, quick = (
        sum(sum(make_plan(FILES[name], s.options).most_runs) for s in sittings(FILES[name], argv))
        for argv in ([], ["--quick"])
    )
    assert quick <= full


@pytest.mark.parametrize("name", FILES)
def test_every_arm_is_of_the_catalogue_and_has_a_key_of_its_own(name: str) -> None:
    study = FILES[name]
    (first, *_) = sittings(study, [])
    plan = make_plan(study, first.options)
    arms = [*study.arms, *(f.arm({p.name: p.start for p in f.space}) for f in plan.families)]
    for arm in arms:
        get_initializer(dict(arm.initializer))
        if arm.method is not None:
            get_method(dict(arm.method))
    # Two fixed arms that would be the same training would say nothing of each other.
    keys = [plan.confirmation_run(arm, 0).key for arm in study.arms]
    assert len(set(keys)) == len(keys)


def test_the_atlas_ranks_the_catalogue_or_says_why_not() -> None:
    left_out = [name for names in LEFT_OUT.values() for name in names]
    assert sorted([*METHODS, *left_out]) == sorted(initializer_names())


def test_the_documentation_has_a_page_of_every_study() -> None:
    pages = Path(__file__).parents[2] / "docs" / "results"
    assert {name for name in FILES if not (pages / f"{name}.md").exists()} == set()
