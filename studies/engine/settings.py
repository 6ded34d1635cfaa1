"""Which options a study sets by itself: for its data set, for --quick, for each of its places."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from studies.engine.cli import parse
from studies.engine.errors import UserError
from studies.engine.options import StudyOptions
from studies.engine.study import Study

ALL = "all"
"""The data set's name that stands for every place of a study."""


@dataclasses.dataclass(frozen=True)
class Sitting:
    """One experiment of a study's command: what the user and the study settled.

    Args:
        options: every option.
        defaults: what the same command would use without its other options; the command that
            repeats this one need not name them.
    """

    options: StudyOptions
    defaults: Mapping[str, Any]


def sittings(study: Study, argv: Sequence[str] | None) -> tuple[Sitting, ...]:
    """The experiments that a command asks for: one, or one for each place of the study.

    Args:
        study: says what it sets.
        argv: the command's arguments; None reads those of the process.

    Raises:
        SystemExit, UserError: as `studies.engine.cli.parse`.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    asked = _peek(given)
    data, quick = str(asked.get("data") or study.data), bool(asked.get("quick"))
    places = _places(study, asked)
    if not places:
        return (_sitting(study, given, settings_for(study, data, quick=quick), {}),)
    found = []
    for place in places:
        defaults = settings_for(study, str(place["data"]), quick=quick)
        sitting = _sitting(study, given, defaults, place)
        if sitting.options.output is not None and len(places) > 1:
            folder = Path(sitting.options.output) / folder_name(sitting.options)
            options = dataclasses.replace(sitting.options, output=str(folder))
            sitting = dataclasses.replace(sitting, options=options)
        found.append(sitting)
    return tuple(found)


def settings_for(study: Study, data: str, *, quick: bool) -> dict[str, Any]:
    """The options that a study sets on a data set."""
    chosen = {"data": data, **study.recipes.get(data, {})}
    return {**chosen, **study.quick} if quick else chosen


def folder_name(options: StudyOptions) -> str:
    """What the default folder of a place is called, without the study's name."""
    from studies.engine.plan import folder_of

    return folder_of(options)


def _places(study: Study, asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if not study.places:
        return []
    wanted = asked.get("data") or ALL
    if asked.get("network"):
        if wanted == ALL:
            raise UserError(
                f"--network {asked['network']} needs --data too: this study has several data sets, "
                f"{', '.join(dict.fromkeys(str(place['data']) for place in study.places))}."
            )
        return []
    return [place for place in study.places if wanted in (ALL, place["data"])]


def _sitting(
    study: Study, given: Sequence[str], defaults: dict[str, Any], place: Mapping[str, Any]
) -> Sitting:
    options = parse(
        StudyOptions,
        given,
        prog=f"python -m {study.module}",
        description=f"{study.title}. {study.question} Claim under test: {study.claim}.",
        defaults={**defaults, **place},
    )
    if place:  # whatever the command said of the data set, this place has its own
        options = dataclasses.replace(options, data=str(place["data"]))
    # A command without --data is one on the study's own.
    return Sitting(options, {**defaults, "data": study.data})


def _peek(given: Sequence[str]) -> dict[str, Any]:
    """Data set, network and --quick of a command line and its configuration file.

    What is wrong with either is said later, when they are read in full.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--data", "--network", "--config"):
        parser.add_argument(name)
    parser.add_argument("--quick", action="store_true", default=None)
    try:
        found = vars(parser.parse_known_args(list(given))[0])
    except argparse.ArgumentError:
        return {}
    held: Any = None
    if found["config"]:
        try:
            held = yaml.safe_load(Path(found["config"]).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            held = None
    from_file = held if isinstance(held, dict) else {}
    return {**from_file, **{name: value for name, value in found.items() if value is not None}}
