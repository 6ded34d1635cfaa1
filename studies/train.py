"""Train one network from one initialisation.

    python -m studies.train --data mnist --network conv4 --initializer ternary:density=0.1
    python -m studies.train --data mnist --method free_pruning

Leaves a checkpoint that `Classifier.load_from_checkpoint` reads, the result as JSON and a run in
MLflow, and prints the test accuracy.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from studies.engine.cli import command_line, parse, run_main
from studies.engine.devices import in_one_voice
from studies.engine.errors import UserError
from studies.engine.options import TrainOptions
from studies.engine.world import launched_world


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the options, train, and leave the process."""

    def body() -> int:
        options = parse(
            TrainOptions,
            argv,
            prog="python -m studies.train",
            description="Train one network from one initialisation.",
        )
        return train_one(options)

    in_one_voice(
        lambda: run_main(body, interrupted="Interrupted; only --checkpoint-every keeps a part.")
    )


def train_one(options: TrainOptions) -> int:
    """Train, test, save and record one run; returns 0.

    Raises:
        UserError: a part that cannot be built, data that are not there, a folder that cannot be
            written.
    """
    from pathlib import Path

    from studies.engine.plan import recipe_from
    from studies.engine.records import (
        open_tracker,
        run_record,
        tracking_config,
    )
    from studies.engine.run import Arm, Environment, Run
    from studies.engine.tracking import environment_tags, ui_command

    if launched_world().size > 1:
        raise UserError(
            "python -m studies.train trains on one device, but "
            f"{launched_world().describe()}: start it alone."
        )
    config = tracking_config(options)
    recipe = recipe_from(options)
    environment = Environment(
        options.data_root,
        options.accelerator,
        checkpoints=str(Path(options.output) / "checkpoints"),
        checkpoint_every=options.checkpoint_every,
        diagnostics=options.diagnostics,
    )

    from datamodules.errors import DataError
    from initializers import get_initializer
    from lightning_modules import get_method
    from studies.engine import worker
    from studies.engine.inspection import inspect

    worker.use_one_thread()
    try:
        arm = Arm(options.initializer, get_initializer(_spec(options.initializer)).to_dict())
        if options.method is not None:
            method = get_method(_spec(options.method, "method"))
            arm = dataclasses.replace(
                arm,
                label=f"{options.initializer} {options.method}",
                overrides=method.paper_optimization() if options.lr is None else {},
                method=method.to_dict(),
            )
        methods = [] if arm.method is None else [arm.method]
        inspect(recipe, environment, [arm.initializer], methods)
    except (DataError, ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    run = Run(recipe, arm, options.seed, test=True)
    folder = Path(options.output) / run.key
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The output folder {folder} cannot be written: {error.strerror}."
        ) from None
    tracker = open_tracker(config, "train", folder, "Single trainings")
    checkpoint = folder / "model.ckpt"
    result = worker.run_one(run, environment, checkpoint, quiet=options.quiet)
    (folder / "result.json").write_text(json.dumps(result.to_dict(), indent=1) + "\n")
    with tracker:
        tags = {
            **environment_tags(),
            "stage": "train",
            "command": command_line("studies.train", options),
            "data_fingerprint": result.data["fingerprint"],
        }
        name = f"{arm.label} {recipe.network} {recipe.data} seed {run.seed}"
        recorded = tracker.log_single(run.key, name, **run_record(run, result, tags))
        tracker.log_dict(recorded, dict(result.initialization), "initialization.json")
        tracker.log_artifact_file(recorded, folder / "result.json")
        tracker.log_artifact_file(recorded, checkpoint)
        lost = tracker.close().message
    print(f"{arm.label} on {recipe.data} with {recipe.network}, seed {options.seed}:")
    if result.status == "diverged":
        print(f"diverged in epoch {len(result.history)}: the loss is not finite")
    else:
        print(
            f"test accuracy {100 * (result.test_accuracy or 0):.2f} %, "
            f"validation accuracy {100 * result.val_accuracy:.2f} % "
            f"({len(result.history)} epochs, {result.seconds:.1f} s)"
        )
    print(f"Checkpoint: {checkpoint}")
    if lost:
        print(f"warning: {lost}")
    print(f"MLflow UI: {ui_command(config)}")
    return 0


def _spec(text: str, option: str = "initializer") -> str | dict[str, Any]:
    """An initialiser or method as typed: a spec string, or a mapping in JSON."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise UserError(f"--{option} {text} is no valid JSON: {error}.") from error


if __name__ == "__main__":
    main()
