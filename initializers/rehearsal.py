"""Trying weights on a copy of the module, for methods that run it.

The module itself is not touched before the weights are found: its mode, buffers, hooks, gradients
and flags stay as they are, and whatever fails on the way changes nothing.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from initializers.job import Job

_RANDOM = (_DropoutNd, nn.RReLU, nn.MultiheadAttention)  # the last has a dropout of its own


class RefusalError(ValueError):
    """A reason why a method cannot handle a module; raised where the network's code calls us."""


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """A copy of a job's module, and the same job on the copy.

    Attributes:
        owner: Name of the method, for messages.
        original: The job on the module itself.
        job: The job on the copy, with the same layers and the same random streams.
    """

    owner: str
    original: Job
    job: Job

    @classmethod
    def of(cls, owner: str, job: Job, *, training: bool) -> Rehearsal:
        """Copy the module of a job, in float64 if it holds such parameters, else in float32.

        Args:
            owner: Name of the method, for messages.
            job: What shall be set.
            training: Whether norm layers use the statistics of the batch. Dropout is off.

        Raises:
            ValueError: If the module cannot be copied, or would normalise over one example.
        """
        try:
            network = copy.deepcopy(job.module)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"{owner} tries weights on a copy of the module: {error}") from error
        dtypes = {parameter.dtype for parameter in network.parameters()}
        network.to(torch.float64 if torch.float64 in dtypes else torch.float32)
        network.to(memory_format=torch.contiguous_format)  # one layout, one order of sums
        network.train(training)
        for name, module in network.named_modules():
            if isinstance(module, _RANDOM):
                module.training = False
            one = job.batch is not None and len(job.batch) == 1
            if training and one and isinstance(module, _BatchNorm):
                raise ValueError(f"{owner}: batch holds one example, too few for {name}.")
        for parameter in network.parameters():
            parameter.grad = None
        batch = job.batch
        if batch is not None:
            like = next(network.parameters())
            batch = batch.detach().to(like.device)
            batch = batch.to(like.dtype) if batch.is_floating_point() else batch
        data = batch if batch is None or job.labels is None else (batch, job.labels)
        whole = Job.of(owner, network, job.streams.seed, None, data)
        names = {layer.weight.name for layer in job.layers}
        part = whole.subset(names, rest=True)
        return cls(owner, job, part)

    def outputs(self, inputs: Tensor, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Run the copy. What it draws comes from a stream of the seed, the same in every run.

        Args:
            inputs: Batch on the copy's device and in its precision.
            values: Tensors by name in place of its parameters; None takes its own.

        Raises:
            ValueError: If the network cannot be run on them.
        """
        network = self.job.module
        with isolated_generator(self.job.streams.seed_of(f"{self.owner}/forward")):
            try:
                return cast(
                    Tensor, network(inputs) if values is None else _called(network, values, inputs)
                )
            except RefusalError:
                raise
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                shape, kind = tuple(inputs.shape), type(network).__name__
                raise ValueError(
                    f"{self.owner}: {kind} cannot be run on a batch of shape {shape}: {error}"
                ) from error

    def labels(self, logits: Tensor) -> Tensor:
        """Return the batch's labels for these logits, on their device.

        Raises:
            ValueError: If logits and labels do not belong together.
        """
        labels = self.job.labels
        assert labels is not None
        fits = logits.dim() == 2 and labels.dim() == 1 and not labels.is_floating_point()
        if not fits or int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
            raise ValueError(
                f"{self.owner} needs a classifier: labels (n,) of classes and logits (n, classes), "
                f"got labels {tuple(labels.shape)} and logits {tuple(logits.shape)}."
            )
        return labels.to(logits.device, torch.int64)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the copy's parameters that hold the job's weights, by name."""
        names = {layer.weight.name.partition("[")[0] for layer in self.job.layers}
        every = dict(self.job.module.named_parameters())
        return {name: every[name] for name in every if name in names}

    def adopt(self) -> None:
        """Give the module the copy's weights, biases and notes; norm layers become the identity.

        Raises:
            ValueError: If a weight is not finite; the module is as it was.
        """
        for layer in self.job.layers:
            if not bool(torch.isfinite(layer.weight.read()).all()):
                raise ValueError(f"{self.owner}: {layer.weight.name} ended with infinite values.")
        for mine, theirs in zip(self.original.layers, self.job.layers, strict=True):
            mine.weight.write(theirs.weight.read())
            for text in theirs.context.notes:
                mine.context.note(text)
        wanted = {bias.name: bias for bias in self.job.plan.biases}
        for bias in self.original.plan.biases:
            bias.write(wanted[bias.name].parameter)
        self.original.plan.reset_norms_and_padding()


@contextmanager
def twice_differentiable(owner: str, network: nn.Module) -> Iterator[None]:
    """Refuse, naming the layer, where torch has no second derivative for what is done inside.

    Also turns off the fast kernels of attention, which have none.

    Args:
        owner: Name of the method, for the message.
        network: The network that is differentiated.

    Raises:
        ValueError: If torch lacks the derivative of a derivative.
    """
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    except RuntimeError as error:
        found = re.search(r"derivative for aten::(\w+) is not implemented", str(error))
        if found is None:
            raise
        kind = found[1].removesuffix("_backward").replace("_", "")
        layer = next(
            (name for name, m in network.named_modules() if type(m).__name__.lower() == kind), kind
        )
        raise ValueError(
            f"{owner} needs a network that is twice differentiable, but torch has no second "
            f"derivative of {layer} ({kind})."
        ) from error


def _called(network: nn.Module, values: Mapping[str, Tensor], inputs: Tensor) -> Any:
    return functional_call(network, dict(values), (inputs,))


@contextmanager
def unchanged_on_failure(module: nn.Module) -> Iterator[None]:
    """Set all tensors of a module back if what is done inside raises."""
    before = [
        (tensor.detach(), tensor.detach().clone())
        for tensor in (*module.parameters(), *module.buffers())
    ]
    try:
        yield
    except BaseException:
        for tensor, values in before:
            tensor.copy_(values)
        raise


@contextmanager
def isolated_generator(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside and set it back at the end; no other one is touched.

    Args:
        seed: Any integer of 64 bits.
    """
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
