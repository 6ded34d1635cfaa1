"""How a recipe is trained: alone or in stacks, and how runs are gathered into stacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from studies.engine.run import Recipe, Run


@dataclasses.dataclass(frozen=True)
class Form:
    """The way in which all runs of a recipe are trained on this device.

    `kind`, `channels_last` and `fused` decide in which order numbers are added up and rounded, and
    so the last digits of a result; `size`, `blocks` and `mixed_seeds` do not.

    Args:
        kind: "alone", or a key of `lightning_modules.stacking.STACKS`.
        size: most networks that take a step together, >= 1.
        blocks: such sets of networks under one Trainer, which take turns epoch by epoch.
        channels_last: whether images and filters are held with the channel as innermost dimension.
        mixed_seeds: whether runs of different seeds may share a stack.
        rate: measured model-steps per second of one process; 0 if it was not measured.
        reason: why this form was chosen, for people.
        fused: whether the optimiser's step is one kernel.
    """

    kind: str = "alone"
    size: int = 1
    blocks: int = 1
    channels_last: bool = False
    mixed_seeds: bool = False
    rate: float = 0.0
    reason: str = ""
    fused: bool = True

    @property
    def stacked(self) -> bool:
        """Whether runs are trained as members of stacks."""
        return self.kind != "alone"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `Form(**data)` is the inverse."""
        return dataclasses.asdict(self)

    def bounded(self, most: int) -> Form:
        """The same form with at most `most` networks at once: the same results."""
        size = max(1, min(self.size, most))
        return dataclasses.replace(self, size=size, blocks=max(1, min(self.blocks, most // size)))

    def describe(self) -> str:
        """One line for people: what was chosen and why."""
        layout = " in channels-last format" if self.channels_last else ""
        if self.stacked:
            how = _HOW[self.kind]
            text = f"up to {self.size} networks in a stack, {how}{layout}"
        else:
            text = f"one by one{layout}"
        text += ", fused optimiser" if self.fused else ", optimiser not fused"
        return f"{text} ({self.reason})" if self.reason else text


_HOW = {
    "dense": "as batched matrix products",
    "onednn": "as matrix products of oneDNN",
    "layers": "layer by layer",
    "vmap": "by torch.func.vmap",
}
ALONE = Form()


def gather(runs: Sequence[Run], form: Form, workers: int) -> list[list[Run]]:
    """Split runs into the groups that are trained together.

    Runs with a training method are trained one by one. The others of a group share everything but
    arm and learning rate, and the seed unless the form allows to mix seeds. Groups are about
    equally large, and if possible their number is a multiple of that of the workers; the last ones
    are smaller where that costs no stack, so that all workers end at the same time.

    Args:
        runs: what to train.
        form: how.
        workers: processes that take groups.
    """
    if not form.stacked:
        return [[run] for run in runs]
    groups = [[run] for run in runs if run.arm.method is not None]
    kinds: dict[tuple[Recipe, bool, int | None], list[Run]] = {}
    for run in (run for run in runs if run.arm.method is None):
        recipe = dataclasses.replace(run.effective_recipe, lr=1.0)
        kinds.setdefault((recipe, run.test, None if form.mixed_seeds else run.seed), []).append(run)
    for kind in kinds.values():
        # Neighbours with equal learning rates are updated by one kernel.
        ordered = sorted(kind, key=lambda run: (run.effective_recipe.lr, run.seed))
        count = -(-len(ordered) // (form.size * form.blocks))
        if len(kinds) == 1:
            count = -(-count // workers) * workers
        parts = _split(ordered, count)
        if len(kinds) == 1 and 1 < workers < count:
            # One worker is always faster: the last round is dealt out in smaller pieces.
            parts, last = parts[:-workers], parts[-workers:]
            parts += [piece for part in last for piece in _split(part, form.blocks)]
        groups += parts
    return groups


def _split(runs: Sequence[Run], count: int) -> list[list[Run]]:
    """Runs in so many parts of about equal size, or fewer where there are not enough."""
    count = min(len(runs), count)
    edges = [len(runs) * i // count for i in range(count + 1)]
    return [list(runs[start:stop]) for start, stop in pairwise(edges)]
