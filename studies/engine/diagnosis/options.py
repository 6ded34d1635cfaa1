"""Options of `python -m studies.diagnose`."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from studies.engine.errors import UserError

SYNTHETIC = "synthetic"


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class DiagnoseOptions:
    """Options of `python -m studies.diagnose`."""

    network: str = _option("lenet_300_100", "network: name, spec or pkg.mod:Class")
    initializers: list[str] = dataclasses.field(
        default_factory=lambda: ["ternary:density=0.1", "he_normal", "gaussian_submatrix"],
        metadata={"help": "initialisers to compare: names, specs or pkg.mod:Class", "nargs": "+"},
    )
    data: str = _option("digits", "data set (see python -m studies.train), or synthetic: N(0, 1)")
    data_root: str | None = _option(None, "folder of the data files (default: the user's cache)")
    input_shape: str = _option("3x32x32", "shape of one synthetic example")
    num_classes: int = _option(10, "number of classes of synthetic data")
    batch_size: int = _option(128, "examples to measure on")
    seeds: int = _option(3, "seeds of the weights")
    depths: str | None = _option(
        None, "also draw how deep one can train, as 10:200: fully connected networks, no --network"
    )
    width: int = _option(200, "width of the networks of --depths")
    activation: str = _option("relu", "activation of the networks of --depths")
    runs: str | None = _option(
        None, "instead: a study's runs.csv or its folder; which diagnostics predict its accuracies?"
    )
    output: str | None = _option(None, "results folder (default: outputs/diagnose/DATA-NETWORK)")
    tracking_uri: str | None = _option(None, "MLflow store (default: mlflow.yaml)")
    experiment: str | None = _option(None, "MLflow experiment (default: diagnose)")

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        for name, low in (("num_classes", 2), ("batch_size", 2), ("seeds", 1), ("width", 2)):
            value = getattr(self, name)
            if value < low:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} must be at least {low}, got {value}.")
        self.shape()
        self.depth_range()

    def shape(self) -> tuple[int, ...]:
        """The synthetic examples' shape.

        Raises:
            UserError: it is no shape.
        """
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", self.input_shape):
            raise UserError(f"--input-shape must be like 3x32x32, got {self.input_shape!r}.")
        return tuple(int(part) for part in self.input_shape.split("x"))

    def depth_range(self) -> tuple[int, int] | None:
        """Least and greatest depth of the trainable-depth picture.

        Raises:
            UserError: they are none.
        """
        if self.depths is None:
            return None
        found = re.fullmatch(r"(\d+):(\d+)", self.depths)
        low, high = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 2 <= low < high <= 2000:
            raise UserError(
                f"--depths must be LOW:HIGH with 2 <= LOW < HIGH <= 2000, got {self.depths!r}."
            )
        return low, high
