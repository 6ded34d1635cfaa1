"""Singular values of the input-output Jacobian: dynamical isometry, measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_modules.diagnostics.calls import (
    main_tensor,
    noise_generator,
)
from lightning_modules.diagnostics.forward_mode import dual, dual_level, undual
from lightning_modules.diagnostics.rows import Diagnosis, Row
from lightning_modules.diagnostics.undisturbed import calibrated

EXACT_NUMBERS = 2**22
"""Most entries of one example's Jacobian for the exact method: 32 MB in float64."""
EXACT_ROWS = 1024
"""Most outputs for the exact method: it takes one backward pass for each."""

Run = Callable[[Tensor], Tensor]
Method = Literal["auto", "exact", "iterative"]


def measure_jacobian(
    network: nn.Module,
    inputs: Tensor,
    *,
    samples: int = 8,
    method: Method = "auto",
    iterations: int = 30,
    probes: int = 8,
    seed: int = 0,
) -> Diagnosis:
    """Measure the singular values of the Jacobian of all outputs by all inputs, in float64.

    There are min(inputs, outputs) of them per example. Normalisation uses running statistics of
    the whole batch, so that each example has a Jacobian of its own; the Jacobian is taken at its
    first `samples` examples. For the network, statistics over these examples:

    * exact: ``jacobian_max``, ``jacobian_min``, ``jacobian_median`` and ``jacobian_mean_square``
      (averages over examples of each one's), ``jacobian_condition`` (median over examples of
      max / min), and ``singular_value``, the list of the averages of the k-th largest ones.
    * iterative: ``jacobian_max`` by power iteration on J^T J (a lower bound that converges from
      below), ``jacobian_mean_square`` by Hutchinson's estimator ||J^T u||^2 with its standard error
      ``jacobian_mean_square_error`` over probes. No condition number.

    Args:
        network: a module of one input tensor, left as it was; its first real output tensor counts.
        inputs: a batch (n, ...) of real numbers.
        samples: examples, >= 1.
        method: ``auto`` is exact up to `EXACT_ROWS` outputs and `EXACT_NUMBERS` entries.
        iterations: steps of the power iteration.
        probes: random directions of Hutchinson's estimator, >= 2.
        seed: seed of the starting and probing directions.

    Raises:
        ValueError: inputs that are no single real tensor, numbers out of range, or a network with
            no real output.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise ValueError("The Jacobian needs one input tensor of real numbers.")
    if samples < 1 or iterations < 1 or probes < 2:
        raise ValueError("samples and iterations must be at least 1, probes at least 2.")
    like = next(network.parameters(), inputs)
    inputs = inputs.detach().to(like)
    wide = torch.float32 if like.device.type == "mps" else torch.float64
    with calibrated(network, inputs):
        values = {
            name: value.detach().to(wide) if value.is_floating_point() else value
            for name, value in (*network.named_parameters(), *network.named_buffers())
        }
        x = inputs[:samples].to(wide)

        def run(at: Tensor) -> Tensor:
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                out = main_tensor(functional_call(network, values, (at,)))
            if out is None or len(out) != len(at):
                raise ValueError("The Jacobian needs a real output with one row per example.")
            return out.flatten(1)

        with torch.no_grad():
            outputs = run(x).shape[1]
        entries = outputs * x[0].numel()
        exact = outputs <= EXACT_ROWS and entries <= EXACT_NUMBERS
        if method == "exact" or (method == "auto" and exact):
            figures = _exact(run, x, outputs)
        else:
            figures = _iterative(run, x, outputs, iterations, probes, seed)
    rows = [
        Row("", "network", 0, name, float(value), index)
        for name, found in figures.items()
        for index, value in enumerate(found.reshape(-1).tolist())
    ]
    return Diagnosis(tuple(rows))


def _exact(run: Run, x: Tensor, outputs: int) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    out = run(x)
    rows = []
    for index in range(outputs):
        (row,) = torch.autograd.grad(out[:, index].sum(), x, retain_graph=index + 1 < outputs)
        rows.append(row.flatten(1))
    values = torch.linalg.svdvals(torch.stack(rows, 1))  # (samples, number), largest first
    return {
        "jacobian_max": values[:, 0].mean(),
        "jacobian_min": values[:, -1].mean(),
        "jacobian_median": values.quantile(0.5, dim=1).mean(),
        "jacobian_mean_square": values.square().mean(),
        "jacobian_condition": (values[:, 0] / values[:, -1]).quantile(0.5),
        "singular_value": values.mean(0),
    }


def _iterative(
    run: Run, x: Tensor, outputs: int, iterations: int, probes: int, seed: int
) -> dict[str, Tensor]:
    generator = noise_generator(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(x)

    leaf = x.clone().requires_grad_()
    out = run(leaf)

    def pulled(u: Tensor) -> Tensor:  # J^T u
        (gradient,) = torch.autograd.grad(out, leaf, u, retain_graph=True)
        return gradient.flatten(1)

    def pushed(v: Tensor) -> Tensor:  # J v
        with dual_level():
            _, tangent = undual(run(dual(x, v.view_as(x))))
            return torch.zeros_like(out) if tangent is None else tangent

    v = _unit(draw(len(x), x[0].numel()))
    for _ in range(iterations):
        v = _unit(pulled(pushed(v)))
    largest = pushed(v).norm(dim=1)
    number = min(outputs, x[0].numel())
    squares = torch.stack(
        [pulled(draw(len(x), outputs)).square().sum(1).mean() / number for _ in range(probes)]
    )
    return {
        "jacobian_max": largest.mean(),
        "jacobian_mean_square": squares.mean(),
        "jacobian_mean_square_error": squares.std() / probes**0.5,
    }


def _unit(v: Tensor) -> Tensor:
    norms: Tensor = v.norm(dim=1, keepdim=True)
    return v / norms.clamp_min(torch.finfo(v.dtype).tiny)
