"""A network that is built for its data and initialised exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn

from initializers import Batch, Initializer, InitRecord, get_initializer
from lightning_modules.first_batch import first_batch
from lightning_modules.memory_format import in_channels_last
from lightning_modules.methods import Applied, TrainingMethod, get_method
from lightning_modules.networks import build_network, plain_spec

Spec = str | Mapping[str, Any]


class InitializedModule(pl.LightningModule):
    """A LightningModule around a network, whose weights an injected initialiser sets.

    The network is built when the Trainer first meets the data (shapes come from the DataModule),
    and initialised exactly once, before the optimiser exists: the same weights on every process,
    and never again when training resumes from a checkpoint or the model was loaded from one.
    An initialiser that needs data is given the first training batch, of all processes together.

    What trains the network is a subclass's: it calls `initialize_once` before it builds its
    optimiser. Arguments and attributes are those of `Classifier`.
    """

    network: nn.Module | None

    def __init__(
        self,
        network: Spec | nn.Module | None,
        initializer: Spec | Initializer,
        *,
        seed: int = 0,
        input_shape: tuple[int, ...] | list[int] | None = None,
        num_classes: int | None = None,
        channels_last: bool = False,
        method: Spec | TrainingMethod | None = None,
    ) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.initializer = get_initializer(initializer)
        self.method = None if method is None else get_method(method)
        self.applied: Applied | None = None
        self.seed = seed
        self.record: InitRecord | None = None
        self._initialized = False
        self._spec = network
        self.network = network if isinstance(network, nn.Module) else None
        self._shape: tuple[list[int], int] | None = None
        if self.network is None and input_shape is not None and num_classes is not None:
            self._build(tuple(input_shape), num_classes)

    def plain_arguments(self) -> dict[str, Any]:
        """Return network, initialiser, seed and method as plain data, as checkpoints hold them.

        They hold nothing else, so that they load with ``weights_only=True``. A network object is
        None, and has to be given again.
        """
        named = None if isinstance(self._spec, nn.Module | None) else plain_spec(self._spec)
        method = {} if self.method is None else {"method": self.method.to_dict()}
        return {
            "network": named,
            "initializer": self.initializer.to_dict(),
            "seed": self.seed,
            **method,
        }

    def setup(self, stage: str) -> None:
        """Build the network for the attached data, if it is not there yet."""
        if self.network is None:
            data = getattr(self.trainer, "datamodule", None)
            shape, classes = (getattr(data, name, None) for name in ("input_shape", "num_classes"))
            if shape is None or classes is None:
                raise ValueError(
                    "Classifier: the network's shape is unknown; pass a DataModule with "
                    "input_shape and num_classes to the Trainer, or give both to Classifier."
                )
            self._build(tuple(shape), int(classes))
        # In training the optimiser's hook initialises: by then a checkpoint has been restored. What
        # a method trains has to be there before: strategies and checkpoints look for it.
        if not self._initialized and (stage != "fit" or self.method is not None):
            self.initialize(self._first_batch() if stage == "fit" else None)

    def initialize(self, batch: Batch | None = None) -> InitRecord:
        """Set the network's parameters by the injected initialiser; returns its record.

        Called by the Trainer's hooks; of use without a Trainer. A second call sets the same
        weights again.

        Args:
            batch: inputs and labels for an initialiser that needs data.

        Raises:
            ValueError: no network yet, data that are needed and missing, or a network that the
                initialiser cannot handle.
        """
        if self.network is None:
            raise ValueError("Classifier: give input_shape and num_classes, or attach data first.")
        if self.applied is not None:
            self.applied.release()
        self.record = self.initializer(self.network, seed=self.seed, batch=batch)
        self._apply_method()
        self._initialized = True
        return self.record

    def _apply_method(self) -> None:
        if self.method is not None and self.network is not None:
            self.applied = self.method.apply(self.network, seed=self.seed)

    def initialize_once(self) -> None:
        """Initialise the network, unless that was done or it came from a checkpoint."""
        if not self._initialized:
            self.initialize(self._first_batch())

    def adopt(self, record: InitRecord | None) -> None:
        """Take the weights as they are for initialised; `record` says by what."""
        self.record = record
        self._initialized = True

    def _first_batch(self) -> Batch | None:
        """The first training batch, if the initialiser needs data."""
        if "data" not in self.initializer.requirements():
            return None
        self.trainer.fit_loop.setup_data()  # else there may be no loader yet
        return first_batch(self._batches(), self.trainer.world_size)

    def _batches(self) -> Any:
        """The loader of training batches."""
        return self.trainer.train_dataloader

    def _build(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        if self._spec is None:
            raise ValueError(
                "Classifier: this checkpoint was made with a network object; load it with "
                "Classifier.load_from_checkpoint(path, network=<the same network>)."
            )
        self.network = build_network(self._spec, input_shape=input_shape, num_classes=num_classes)
        self._shape = (list(input_shape), num_classes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep with the weights what is needed to rebuild the network around them."""
        checkpoint["classifier"] = {"shape": None if self._shape is None else list(self._shape)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rebuild the network before its weights arrive; they count as initialised."""
        saved = checkpoint["classifier"]
        if self.network is None:
            shape, classes = saved["shape"] or ((), 0)
            self._build(tuple(shape), classes)
        if self.applied is None:
            self._apply_method()
        self._initialized = True

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of a batch (n, *input_shape)."""
        if self.network is None:
            raise ValueError("Classifier: give input_shape and num_classes, or attach data first.")
        logits: Tensor = self.network(in_channels_last(x) if self.channels_last else x)
        return logits
