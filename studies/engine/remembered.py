"""Forms of training that were measured before, in the user's cache."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from datamodules.options import default_root
from studies.engine.forms import Form
from studies.engine.run import content_hash


class Memory:
    """The form measured for some facts; a file beside the folder of downloaded data.

    Args:
        facts: all that the choice depends on, as plain data.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        self.file = default_root().parent / "calibration" / f"{content_hash(facts)}.json"

    def recall(self) -> Form | None:
        """What was measured; None if nothing was, or the file cannot be read."""
        try:
            return Form(**json.loads(self.file.read_text())["form"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it will be measured again

    def remember(self, form: Form) -> None:
        """Keep a form. Where the cache cannot be written, the next start measures again."""
        if self.recall() == form:
            return
        part = self.file.with_suffix(f".{os.getpid()}")
        content = {"facts": self._facts, "form": dataclasses.asdict(form)}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(content, indent=1) + "\n")
            part.replace(self.file)
        except OSError:
            return


def device_name(device: torch.device) -> str:
    """The processor's or accelerator's model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = ()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"
