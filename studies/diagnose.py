"""See what initialisations do to a network, without training it.

    python -m studies.diagnose --network resnet20 --initializers ternary:density=0.1 he_normal
    python -m studies.diagnose --depths 10:200 --activation tanh
    python -m studies.diagnose --runs outputs/ternary_sparsity/digits-lenet_300_100

Prints measured and predicted numbers, and leaves figures, a long table (diagnostics.csv) and runs
in MLflow. The last form asks which diagnostic predicts the accuracies of a study.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from studies.engine.cli import command_line, parse, run_main
from studies.engine.diagnosis.options import DiagnoseOptions
from studies.engine.errors import UserError
from studies.engine.options import RecipeOptions
from studies.engine.processes import prepare_environment

if TYPE_CHECKING:
    from studies.engine.diagnosis.measuring import Measured


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the options, measure, and leave the process."""

    def body() -> int:
        options = parse(
            DiagnoseOptions,
            argv,
            prog="python -m studies.diagnose",
            description="See what initialisations do to a network, without training it.",
        )
        return explain(options) if options.runs is not None else diagnose_network(options)

    prepare_environment()
    run_main(body, interrupted="Interrupted.")


def diagnose_network(options: DiagnoseOptions) -> int:
    """Measure, print, draw and record; returns 0.

    Raises:
        UserError: a part that cannot be built, data that are not there, a folder that cannot be
            written.
    """
    from studies.engine.diagnosis.table import LEGEND, gaps_text, layer_table, summary_table
    from studies.engine.records import tracking_config

    started = time.monotonic()
    where = RecipeOptions(tracking_uri=options.tracking_uri, experiment=options.experiment)
    config = tracking_config(where)
    folder = _folder(options)
    measured, refused = _measured(options)
    title = f"{options.network} on {options.data}"
    for one in measured:
        print(f"\n{one.label}\n{layer_table(one)}")
    print(f"\n{summary_table(measured)}\n\n{LEGEND}")
    for label, reason in refused.items():
        print(f"\n{label} is not measured: {reason}")
    if gaps := gaps_text(measured):
        print(f"\n{gaps}")
    paths = [*_draw(options, measured, title, folder), *_write(measured, folder)]
    from studies.engine.diagnosis.recording import record
    from studies.engine.tracking import ui_command

    lost = record(options, config, measured, paths, command_line("studies.diagnose", options))
    names = ", ".join(path.name for path in paths)
    print(f"\n{time.monotonic() - started:.1f} s. Results: {folder}/ ({names})")
    if lost:
        print(f"warning: {lost}")
    print(f"MLflow UI: {ui_command(config)}")
    return 0


def explain(options: DiagnoseOptions) -> int:
    """Say which diagnostics went with accuracy in the runs of a study; returns 0.

    Raises:
        UserError: runs that are not there or hold no diagnostics.
    """
    from studies.engine.diagnosis.figures import outcome_figure
    from studies.engine.diagnosis.outcomes import outcomes, read_runs
    from studies.engine.diagnosis.table import outcome_table

    assert options.runs is not None
    found = outcomes(read_runs(options.runs))
    if not found:
        raise UserError(
            f"--runs {options.runs}: too few arms, or diagnostics that do not vary: nothing to say."
        )
    source = Path(options.runs)
    folder = Path(options.output or (source if source.is_dir() else source.parent))
    _make(folder)
    print(outcome_table(found))
    print(
        "\nRank correlation with validation accuracy over all runs; intervals by a bootstrap of "
        "whole arms and trials."
    )
    print(f"Figure: {outcome_figure(found, folder / 'diagnostics_outcomes.png')}")
    return 0


def _measured(options: DiagnoseOptions) -> tuple[list[Measured], dict[str, str]]:
    from datamodules.errors import DataError
    from studies.engine.diagnosis.measuring import batch_of, measure_all
    from studies.engine.worker import use_one_thread

    use_one_thread()
    try:
        return measure_all(options.network, options.initializers, batch_of(options), options.seeds)
    except (DataError, ValueError, TypeError) as error:
        raise UserError(" ".join(str(error).split())) from error


def _draw(
    options: DiagnoseOptions, measured: Sequence[Measured], title: str, folder: Path
) -> list[Path]:
    from studies.engine.diagnosis.depth_figure import depth_figure
    from studies.engine.diagnosis.depths import measure_depths
    from studies.engine.diagnosis.figures import propagation, spectra

    paths = [propagation(measured, title, folder / "propagation.png")]
    if (path := spectra(measured, title, folder / "jacobian.png")) is not None:
        paths.append(path)
    limits = options.depth_range()
    if limits is not None:
        try:
            decays, depths = measure_depths(
                options.initializers, limits[1], options.width, options.activation, options.seeds
            )
        except (ValueError, TypeError) as error:
            raise UserError(" ".join(str(error).split())) from error
        name = f"fully connected, width {options.width}, {options.activation}"
        paths.append(depth_figure(decays, depths, limits, name, folder / "depths.png"))
        (folder / "depths.json").write_text(
            json.dumps(
                _plain([*map(dataclasses.asdict, decays), *map(dataclasses.asdict, depths)]),
                indent=1,
            )
            + "\n"
        )
        paths.append(folder / "depths.json")
    return paths


def _write(measured: Sequence[Measured], folder: Path) -> list[Path]:
    from lightning_modules.diagnostics import write_csv

    table, details = folder / "diagnostics.csv", folder / "diagnostics.json"
    write_csv(table, ((one.label, one.everything.rows) for one in measured))
    content = [
        {
            "initializer": one.label,
            "summary": one.summary(),
            "predicted": [dataclasses.asdict(row) for row in one.predictions],
            "no_theory": one.reason,
            "not_measured": [str(gap) for gap in one.everything.gaps],
        }
        for one in measured
    ]
    details.write_text(json.dumps(_plain(content), indent=1) + "\n")
    return [table, details]


def _plain(value: object) -> object:
    """Plain data that JSON can hold: numbers that are not finite become None."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _folder(options: DiagnoseOptions) -> Path:
    name = re.sub(r"[^\w.=,-]+", "_", f"{options.data}-{options.network}")
    folder = Path(options.output or Path("outputs") / "diagnose" / name)
    _make(folder)
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The output folder {folder} cannot be written: {error.strerror}."
        ) from error


if __name__ == "__main__":
    main()
