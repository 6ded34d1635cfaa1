"""Bayesian initialisation in which data decide how far each random sample is trusted."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from initializers import validate
from initializers.bayesian import BayesKalman
from initializers.context import LayerContext
from initializers.job import Job, draw_buffer


@dataclass(frozen=True)
class DataBayesKalman(BayesKalman):
    """``BayesKalman`` whose samples are networks, trusted the more the lower their loss.

    Sample t draws all weights of the network, which is then run on the batch; its loss ``E_t`` sets
    the noise ``R_t = (E_t / E_0)^power R`` for every layer, where ``E_0`` is the loss at the prior
    mean. The result is an average of random networks weighted by their losses (derived).

    A batch holds no labels. The loss is the cross-entropy expected over labels that are independent
    of the inputs and uniform over the classes, ``-mean log softmax(outputs)``: it tells confident
    random networks from moderate ones, and is ``E_0 = log(classes)`` where all outputs are 0.

    The networks run on a copy, with norm layers on the statistics of the batch, dropout off and
    biases 0; one that cannot be run on the batch is refused before anything is changed.

    Args:
        samples: See ``BayesKalman``, as for all arguments but the last.
        stop: Applied to each weight.
        calibrated: The constant takes the noise variances as they turned out.
        output: See above.
        prior: See above.
        noise: See above.
        prior_correlation: See above.
        noise_correlation: See above.
        scale: See above.
        gain: See above.
        mode: See above.
        convention: See above.
        power: How strongly the loss decides, in [0, inf); 0 gives ``BayesKalman``.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range; on a call, if there is no batch, or the
            network's outputs on it are no finite tensor (examples, classes, ...).
    """

    power: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("data",)

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "power", "[0, inf)")

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return the calibrated standard deviation; without calibration it depends on the data."""
        return self.sample_std(context) if self.calibrated else None

    def check(self, job: Job) -> None:
        """Refuse a call without data; see ``Initializer.check``."""
        if job.batch is None:
            raise ValueError(
                "DataBayesKalman needs data: call it with batch=inputs, for instance the first "
                "training batch; bayes_kalman does without."
            )

    def run(self, job: Job) -> None:
        """Sample networks, weigh them by their losses and set the posterior means."""
        trial = _Trial(job)
        values = [draw_buffer(layer.weight.shape, layer.weight.segments[0]) for layer in job.layers]
        estimates = [
            self.begin(mean, layer.context) for mean, layer in zip(values, job.layers, strict=True)
        ]
        samples = [torch.empty_like(mean.flatten(1)) for mean in values]
        while not all(estimate.done for estimate in estimates):
            for estimate, sample in zip(estimates, samples, strict=True):
                estimate.draw(sample)
            distrust = trial.relative_loss(samples) ** self.power
            for estimate, sample in zip(estimates, samples, strict=True):
                if not estimate.done:
                    estimate.update(sample, distrust)
        for estimate, sample in zip(estimates, samples, strict=True):
            estimate.finish(sample)
        super().run(replace(job, layers=()))  # biases and norm layers
        for layer, mean in zip(job.layers, values, strict=True):
            layer.weight.write(mean)


class _Trial:
    """A copy of the job's module on which sampled weights are tried."""

    def __init__(self, job: Job) -> None:
        assert job.batch is not None
        network = copy.deepcopy(job.module)
        double = any(parameter.dtype == torch.float64 for parameter in network.parameters())
        network.to(torch.float64 if double else torch.float32)
        network.to(memory_format=torch.contiguous_format)  # another layout rounds otherwise
        for part in network.modules():
            part.training = isinstance(part, _NormBase)
        twin = Job.of("DataBayesKalman", network, job.streams.seed, None, None)
        twin.plan.reset_norms_and_padding()
        for bias in twin.plan.biases:
            bias.parameter.zero_()
        self.network, self.layers = network, twin.layers
        self.seed = job.streams.seed_of("DataBayesKalman/forward")
        like = next(network.parameters())
        dtype = like.dtype if job.batch.is_floating_point() else job.batch.dtype
        self.inputs = job.batch.detach().to(like.device, dtype)

    def relative_loss(self, samples: Sequence[Tensor]) -> float:
        """Return the loss of the network with these weights over that with weights 0.

        Raises:
            ValueError: If the network cannot be run, or its outputs have no finite loss.
        """
        for layer, sample in zip(self.layers, samples, strict=True):
            layer.weight.write(sample)
        logits = self._outputs()
        if not isinstance(logits, Tensor) or logits.dim() < 2 or logits.shape[1] < 2:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                "DataBayesKalman needs a network whose output is a tensor (examples, classes, "
                f"...) with two classes or more, got {got}."
            )
        loss = -float(logits.double().log_softmax(1).mean())
        if not math.isfinite(loss):
            raise ValueError(
                f"DataBayesKalman: a sampled network has the loss {loss} on this batch; "
                "standardise the inputs or take a smaller scale."
            )
        return loss / math.log(logits.shape[1])

    def _outputs(self) -> object:
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(self.seed)  # should the network's own code draw
        try:
            return self.network(self.inputs)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"DataBayesKalman: {type(self.network).__name__} cannot be run on a batch of shape "
                f"{tuple(self.inputs.shape)}: {error}"
            ) from error
        finally:
            torch.default_generator.set_state(state)
