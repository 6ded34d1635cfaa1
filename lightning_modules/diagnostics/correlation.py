"""How two inputs of known correlation draw together or apart on their way through a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.diagnostics.calls import (
    Inputs,
    call,
    changed,
    examples,
    noise_generator,
    on_device,
    tensors,
)
from lightning_modules.diagnostics.rows import Diagnosis, Row
from lightning_modules.diagnostics.sites import Site, watched
from lightning_modules.diagnostics.undisturbed import calibrated


def measure_correlation(
    network: nn.Module, inputs: Inputs, start: float = 0.0, *, seed: int = 0
) -> Diagnosis:
    """Measure the correlation of two inputs at every site.

    To each input x a partner ``c x + sqrt(1 - c^2) x'`` is made, where x' is Gaussian noise,
    orthogonal to x and of its norm: their cosine is exactly c. Per site: ``correlation``, the
    cosine of the two outputs of an example, averaged over examples (those with an output of 0 left
    out); for mean-field networks that is the c of Schoenholz et al. 2017. Of the inputs:
    ``correlation`` with the layer name ``input``.

    Batch normalisation uses statistics of the inputs together with their partners. Inputs that
    are no floating-point numbers (tokens) are the same for both.

    Args:
        network: any module, left as it was.
        inputs: a batch.
        start: c, in [-1, 1].
        seed: seed of the noise.

    Raises:
        ValueError: c out of range, no examples, or no floating-point inputs.
    """
    if not -1.0 <= start <= 1.0:
        raise ValueError(f"start must be a correlation in [-1, 1], got {start!r}.")
    inputs = on_device(inputs, network)
    count = examples(inputs)
    if not any(each.is_floating_point() for each in tensors(inputs)):
        raise ValueError("Two inputs of known correlation need floating-point inputs.")
    generator = noise_generator(seed)
    pairs = changed(inputs, lambda x: torch.cat((x, _partner(x, start, generator))))
    first = next(each for each in tensors(pairs) if each.is_floating_point())
    rows = [Row("input", "network", 0, "correlation", _cosine(first, count))]

    def visit(site: Site, output: Tensor) -> None:
        if len(output) == 2 * count:
            value = _cosine(output.detach(), count)
            rows.append(Row(site.name, site.kind, site.position, "correlation", value))

    with calibrated(network, pairs), torch.no_grad(), watched(network, visit) as watch:
        call(network, pairs)
    return Diagnosis(tuple(rows), watch.uncalled())


def _partner(x: Tensor, c: float, generator: torch.Generator) -> Tensor:
    if not x.is_floating_point():
        return x
    flat = x.flatten(1).double()
    noise = torch.randn(flat.shape, generator=generator, dtype=torch.float64).to(x.device)
    squares = flat.square().sum(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    noise = noise - (noise * flat).sum(1, keepdim=True) / squares * flat
    other = noise * (squares / noise.square().sum(1, keepdim=True)).sqrt()
    partner: Tensor = c * flat + (1.0 - c * c) ** 0.5 * other
    return partner.view_as(x).to(x.dtype)


def _cosine(values: Tensor, count: int) -> float:
    one, two = values[:count].flatten(1).double(), values[count:].flatten(1).double()
    norms = one.norm(dim=1) * two.norm(dim=1)
    cosines = (one * two).sum(1)[norms > 0] / norms[norms > 0]
    return float(cosines.mean()) if len(cosines) else float("nan")
