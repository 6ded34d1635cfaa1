"""A network that is run for a measurement and afterwards is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from lightning_modules.diagnostics.calls import Inputs, call, examples
from lightning_modules.networks.rng import isolated_rng

Statistics = Literal["batch", "calibrated", "running"]
"""What normalisation with running statistics uses while measuring.

``batch``: the statistics of the batch, as in training (the examples are coupled). ``calibrated``:
running statistics taken from one pass over the batch. ``running``: those that are there.
"""


@contextmanager
def undisturbed(network: nn.Module, statistics: Statistics = "running") -> Iterator[None]:
    """Run a network inside; modes, buffers, gradients, flags and generators are set back.

    Inside, dropout and everything else that differs in training is off; all floating-point
    parameters require a gradient; autograd is on; torch, `random` and NumPy draw from fixed seeds,
    so that a network that draws random numbers gives the same ones in every measurement.

    Args:
        network: any module.
        statistics: ``batch`` or ``running``; for ``calibrated`` see `calibrated`.
    """
    modules = list(network.modules())
    modes = [module.training for module in modules]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modules
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    parameters = list(network.parameters())
    flags = [parameter.requires_grad for parameter in parameters]
    gradients = [parameter.grad for parameter in parameters]
    try:
        for module in modules:
            module.training = statistics == "batch" and isinstance(module, _NormBase)
        for parameter in parameters:
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.inference_mode(False), torch.enable_grad(), isolated_rng(), _devices(network):
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for module, name, buffer, values in buffers:
            module._buffers[name] = buffer
            with torch.no_grad():
                buffer.copy_(values)
        for parameter, flag, gradient in zip(parameters, flags, gradients, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = gradient


@contextmanager
def calibrated(network: nn.Module, inputs: Inputs) -> Iterator[None]:
    """`undisturbed`, with running statistics taken from one pass over `inputs`.

    After it every example goes its own way through batch normalisation, so that a Jacobian of one
    example is well defined. The running variance is torch's, with n - 1 in the denominator.

    Raises:
        ValueError: one example only, of which batch normalisation has no statistics.
    """
    norms = [m for m in network.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    if not norms:
        with undisturbed(network):
            yield
        return
    refuse_one_example(network, inputs)
    with undisturbed(network, "batch"):
        momenta = [norm.momentum for norm in norms]
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain average: of the one pass that follows
            with torch.no_grad():
                call(network, inputs)
            for module in network.modules():
                module.training = False
            yield
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


def refuse_one_example(network: nn.Module, inputs: Inputs) -> None:
    """See that batch normalisation has more than one example.

    Raises:
        ValueError: it has not.
    """
    if examples(inputs) == 1 and any(isinstance(m, _BatchNorm) for m in network.modules()):
        raise ValueError("Batch normalisation needs a batch of at least two examples.")


@contextmanager
def _devices(network: nn.Module) -> Iterator[None]:
    """Keep the generators of the accelerators that hold the network."""
    devices = {p.device for p in network.parameters() if p.device.type not in ("cpu", "meta")}
    states = [(device, torch.get_device_module(device)) for device in devices]
    saved = [(device, kind, kind.get_rng_state(device)) for device, kind in states]
    try:
        yield
    finally:
        for device, kind, state in saved:
            kind.set_rng_state(state, device)
