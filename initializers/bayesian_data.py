"""Bayesian initialisation in which data decide how far each random sample is trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from initializers import validate
from initializers.bayesian import BayesKalman
from initializers.context import LayerContext
from initializers.job import Job, draw_buffer
from initializers.rehearsal import Rehearsal


@dataclass(frozen=True)
class DataBayesKalman(BayesKalman):
    """``BayesKalman`` whose samples are networks, trusted the more the lower their loss.

    Sample t draws all weights of the network, which is then run on the batch; its loss ``E_t`` sets
    the noise ``R_t = (E_t / E_0)^power R`` for every layer, where ``E_0`` is the loss at the prior
    mean. The result is an average of random networks weighted by their losses (derived).

    The loss is the cross-entropy. Without labels it is the one expected over labels that are
    independent of the inputs and uniform over the classes, ``-mean log softmax(outputs)``, which
    tells confident random networks from moderate ones. In both cases ``E_0 = log(classes)``, since
    all outputs are 0 at the prior mean.

    Needs ``batch``: inputs, or inputs and labels. The networks run on a copy, with norm layers on
    the statistics of the batch, dropout off and biases 0.

    Formula:
        as bayes_kalman with  R_t = (E_t / E_0)^power R

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
            network's outputs on it are no finite tensor (examples, classes, ...). Nothing has been
            changed then.
    """

    power: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("data",)

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "power", "[0, inf)")

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Refuse: a single weight is no network that could be run.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "DataBayesKalman has to run the network; call it on a module, not on a tensor."
        )

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return the calibrated standard deviation; without calibration it depends on the data."""
        return self.sample_std(context) if self.calibrated else None

    def run(self, job: Job) -> None:
        """Sample networks, weigh them by their losses and set the posterior means."""
        trial = Rehearsal.of(type(self).__name__, job, training=True)
        layers = trial.job.layers
        super().run(replace(trial.job, layers=()))  # biases and norm layers of the copy
        means = [draw_buffer(layer.weight.shape, layer.weight.segments[0]) for layer in layers]
        estimates = [
            self.begin(mean, layer.context) for mean, layer in zip(means, layers, strict=True)
        ]
        samples = [torch.empty_like(estimate.mean) for estimate in estimates]
        while not all(estimate.done for estimate in estimates):
            for estimate, sample, layer in zip(estimates, samples, layers, strict=True):
                estimate.draw(sample)
                layer.weight.write(sample)
            distrust = _relative_loss(trial) ** self.power
            for estimate, sample in zip(estimates, samples, strict=True):
                if not estimate.done:
                    estimate.update(sample, distrust)
        for estimate, sample, layer in zip(estimates, samples, layers, strict=True):
            estimate.finish(sample)
            layer.weight.write(estimate.mean)
        trial.adopt()


def _relative_loss(trial: Rehearsal) -> float:
    """Return the loss of the copy as it is, over that with weights 0.

    Raises:
        ValueError: If the network cannot be run, or its outputs have no finite loss.
    """
    assert trial.job.batch is not None
    logits: object = trial.outputs(trial.job.batch)
    if not isinstance(logits, Tensor) or logits.dim() < 2 or logits.shape[1] < 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"{trial.owner} needs a network whose output is a tensor (examples, classes, ...) with "
            f"two classes or more, got {got}."
        )
    if trial.original.labels is None:
        loss = -float(logits.double().log_softmax(1).mean())
    else:
        loss = float(functional.cross_entropy(logits.double(), trial.labels(logits)))
    if not math.isfinite(loss):
        raise ValueError(
            f"{trial.owner}: a sampled network has the loss {loss} on this batch; standardise the "
            "inputs or take a smaller scale."
        )
    return loss / math.log(logits.shape[1])
