"""From a study and the user's options to the numbers that will be used."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from studies.engine.defaults import defaults_for
from studies.engine.options import RecipeOptions, StudyOptions
from studies.engine.run import Arm, Plain, Recipe, Run, content_hash
from studies.engine.study import Family, Study

# Search and confirmation seeds never meet: a study seed owns a block of a million seeds, and the
# search takes its upper half.
_SEED_BLOCK = 1_000_000


def recipe_from(options: RecipeOptions) -> Recipe:
    """The recipe that options ask for, gaps filled with the data set's defaults."""
    defaults = defaults_for(options.data)
    names = {field.name for field in dataclasses.fields(Recipe)}
    given: dict[str, Any] = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name in names and getattr(options, field.name) is not None
    }
    filled = {name: getattr(defaults, name) for name in ("network", "epochs", "batch_size", "lr")}
    given["milestones"] = tuple(given["milestones"])
    return Recipe(**{**filled, **given})


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study with every number settled.

    Args:
        study: question, arms and comparisons.
        recipe: what all arms share.
        families: the study's families, with the learning rate if it is tuned.
        trials: search trials per family.
        search_seeds: seeds of every search trial.
        seeds: confirmation seeds, disjoint from the search's.
        margin: equivalence margin, in the unit that differences are shown in.
        study_seed: seed of the search's proposals.
        output: folder of results.
    """

    study: Study
    recipe: Recipe
    families: tuple[Family, ...]
    trials: int
    search_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    margin: float
    study_seed: int
    output: Path

    def name_in(self, storage: str | None) -> str:
        """Name of the study in a storage.

        The embedded storage belongs to its output folder, which holds one study. In a shared
        one (a URL or path), hosts with the same configuration share a study, and studies of other
        configurations stand beside it.
        """
        if storage is None:
            return self.study.name
        return f"{self.study.name}/{content_hash(self.identity())}"

    @property
    def title(self) -> str:
        """Name of the study for people: study/data/network."""
        return f"{self.study.name}/{self.recipe.data}/{self.recipe.network}"

    @property
    def most_runs(self) -> tuple[int, int]:
        """Trainings of search (before pruning) and of confirmation."""
        search = len(self.families) * self.trials * len(self.search_seeds)
        return search, len(self.study.labels) * len(self.seeds)

    def identity(self) -> Plain:
        """What may not change within one output folder; totals and the margin may."""
        recipe = {**dataclasses.asdict(self.recipe), "milestones": list(self.recipe.milestones)}
        return {
            **recipe,
            "search_seeds": len(self.search_seeds),
            "study_seed": self.study_seed,
            "tune_lr": self.families != self.study.families,
            "families": [_plain(family) for family in self.study.families],
            "arms": [arm.to_dict() for arm in self.study.arms],
        }

    def search_run(self, arm: Arm, seed: int) -> Run:
        """A training of the search: the test split stays closed."""
        return Run(self.recipe, arm, seed)

    def confirmation_run(self, arm: Arm, seed: int) -> Run:
        """A training of the confirmation, which opens the test split."""
        return Run(self.recipe, arm, seed, test=True)


def _plain(family: Family) -> Plain:
    space = [[p.name, p.low, p.high, p.start] for p in family.space]
    plain = dataclasses.asdict(family) | {"space": space}
    if family.method is None:  # the folders of studies without methods stay valid
        del plain["method"]
    return plain


def make_plan(study: Study, options: StudyOptions) -> Plan:
    """Settle every number of a study."""
    defaults = defaults_for(options.data)
    recipe = recipe_from(options)
    base = options.study_seed * _SEED_BLOCK
    families = study.families
    if options.tune_lr:
        families = tuple(family.with_lr(recipe.lr) for family in families)
    searches = base + _SEED_BLOCK // 2
    search_seeds = options.search_seeds or defaults.search_seeds
    return Plan(
        study=study,
        recipe=recipe,
        families=families,
        trials=options.trials or defaults.trials,
        search_seeds=tuple(range(searches, searches + search_seeds)),
        seeds=tuple(range(base, base + (options.seeds or defaults.seeds))),
        margin=study.margin if options.margin is None else options.margin,
        study_seed=options.study_seed,
        output=Path(options.output or Path("outputs") / study.name / folder_of(options)),
    )


def folder_of(options: StudyOptions) -> str:
    """Name of a study's folder below the study's: data set and network, and whether it is quick."""
    recipe = recipe_from(options)
    name = re.sub(r"[^\w.=,-]+", "_", f"{recipe.data}-{recipe.network}")
    return f"{name}-quick" if options.quick else name
