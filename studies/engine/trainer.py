"""The Trainer of one training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch.callbacks import Checkpoint

from studies.engine.run import Environment, Recipe
from studies.engine.world import SINGLE, World, launched_world


def make_trainer(
    recipe: Recipe, environment: Environment, callbacks: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """A Trainer without logger and bars: results are taken from the module.

    With several devices, all processes of the launched world train together by DDP, in the process
    group that exists.

    Raises:
        ValueError: the launched world is not the environment's, in which case each process would
            train a copy by itself, or a part of the data only.
    """
    world = launched_world()
    if (world.local_size, world.nodes) != (environment.devices, environment.num_nodes):
        raise ValueError(
            f"{environment.devices} device(s) on {environment.num_nodes} host(s) were asked for, "
            f"but {world.describe() if world.size > 1 else 'this process was launched alone'}."
        )
    together: dict[str, Any] = {}
    if world.size > 1:
        together = {
            "strategy": "ddp",
            "sync_batchnorm": torch.cuda.is_available(),
            "use_distributed_sampler": False,
        }
    trainer = pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator=environment.accelerator,
        devices=environment.devices,
        num_nodes=environment.num_nodes,
        # Always: Lightning itself takes a lone process in a job of SLURM for one of many, refuses
        # the job's number of tasks, and requeues the job at a signal.
        plugins=[LaunchedWorld(world)],
        callbacks=list(callbacks),
        precision=cast(Any, recipe.precision),
        logger=False,
        # Lightning adds a checkpoint of its own where there is none, unless told not to.
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1_000_000,
        **together,
    )
    if trainer.world_size != world.size:
        raise ValueError(
            f"The Trainer would use {trainer.world_size} processes where {world.size} were "
            "launched."
        )
    return trainer


class LaunchedWorld(ClusterEnvironment):
    """Tells Lightning of the processes that exist, whatever has launched them.

    Args:
        world: this process's place among them.
    """

    def __init__(self, world: World = SINGLE) -> None:
        super().__init__()
        self._world = world

    @property
    def creates_processes_externally(self) -> bool:
        """True: Lightning launches none."""
        return True

    @property
    def main_address(self) -> str:
        """Where the processes met."""
        return self._world.address

    @property
    def main_port(self) -> int:
        """The port there."""
        return self._world.port

    @staticmethod
    def detect() -> bool:
        """False: it is chosen on purpose."""
        return False

    def world_size(self) -> int:
        """Number of processes."""
        return self._world.size

    def set_world_size(self, size: int) -> None:
        """Leave it as it was launched; `make_trainer` sees that both agree."""

    def global_rank(self) -> int:
        """Number of this process."""
        return self._world.rank

    def set_global_rank(self, rank: int) -> None:
        """Leave it as it was launched."""

    def local_rank(self) -> int:
        """Number of this process on its host, and of its device."""
        return self._world.local_rank

    def node_rank(self) -> int:
        """Number of this process's host."""
        return self._world.rank // self._world.local_size
