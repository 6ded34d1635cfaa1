"""chi of every layer: how much a small change of one layer's output grows in the next one's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from initializers.branches import residual_branches
from lightning_modules.diagnostics.calls import (
    Inputs,
    call,
    changed,
    noise_generator,
    on_device,
)
from lightning_modules.diagnostics.forward_mode import dual, dual_level, undual
from lightning_modules.diagnostics.rows import Diagnosis, Gap, Row
from lightning_modules.diagnostics.sites import Site, watched
from lightning_modules.diagnostics.undisturbed import calibrated

_INPUT = "input"
_KINDS = ("weight", "block")


def measure_chi(
    network: nn.Module,
    inputs: Inputs,
    *,
    probes: int = 4,
    seed: int = 0,
) -> Diagnosis:
    """Measure chi between successive layers by Hutchinson's estimator, in forward mode.

    For a layer whose output z' is a function of one earlier layer's output z alone (whatever lies
    between them), ``chi`` is ``||J||_F^2 / n'`` with J = dz'/dz and n' the size of z', estimated as
    the mean of (J v)^2 over probes v ~ N(0, I), units and examples; ``chi_error`` is its standard
    error over probes. In a wide chain of equal layers that is the mean-field chi, the mean squared
    singular value of ``W D``; the first layer's is taken from the network's input.

    Layers of kind ``weight`` are measured, and a second time, with kind ``block``, the outputs of
    residual blocks and the layers outside of blocks, from one to the next. What depends on several
    outputs at once (the first layer after a sum) is a gap. Batch normalisation uses running
    statistics of this batch, so that examples are not coupled.

    Args:
        network: any module, left as it was.
        inputs: a batch.
        probes: number of random directions, each a forward pass, >= 1.
        seed: their seed.

    Raises:
        ValueError: no probes, or no examples.
    """
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}.")
    inputs = on_device(inputs, network)
    blocks = frozenset(branch.block for branch in residual_branches(network) if branch.block)
    with calibrated(network, inputs):
        result = _between(network, inputs, frozenset(), probes, seed)
        if blocks:
            result = result + _between(network, inputs, blocks, probes, seed)
    return result


def _between(
    network: nn.Module, inputs: Inputs, blocks: frozenset[str], probes: int, seed: int
) -> Diagnosis:
    """Chi among weight layers, or among blocks and what is outside of them."""
    inside = tuple(f"{name}." for name in blocks)

    def counts(site: Site) -> bool:
        return site.kind in _KINDS and not (inside and site.module.startswith(inside))

    kind = "block" if blocks else "weight"
    sites, sources = _sources(network, inputs, counts, blocks)
    gaps = tuple(
        Gap(site.name, "chi", f"it depends on {_listed(sources[site])}")
        for site in sites
        if len(sources[site]) != 1
    )
    single = {site for site in sites if len(sources[site]) == 1}
    squares: dict[Site, list[Tensor]] = {site: [] for site in single}
    generator = noise_generator(seed)

    def fresh(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        return dual(x.detach(), noise.to(x))

    def visit(site: Site, output: Tensor) -> Tensor | None:
        if not counts(site):
            return None
        primal, tangent = undual(output)
        if site in single:
            zero = primal.new_zeros(()) if tangent is None else tangent.double().square().mean()
            squares[site].append(zero.double())
        return fresh(primal)

    try:
        with watched(network, visit, blocks=blocks):
            for _ in range(probes):
                with dual_level():
                    call(network, changed(inputs, fresh))
    except (NotImplementedError, RuntimeError) as error:
        reason = f"an operation has no forward derivative ({' '.join(str(error).split())[:120]})"
        return Diagnosis((), (*gaps, Gap("", f"chi ({kind})", reason)))
    rows = []
    for site in sites:
        if site in single:
            values = torch.stack(squares[site])
            mean, spread = float(values.mean()), float(values.std()) if probes > 1 else 0.0
            rows.append(Row(site.name, kind, site.position, "chi", mean))
            if probes > 1:
                rows.append(Row(site.name, kind, site.position, "chi_error", spread / probes**0.5))
    return Diagnosis(tuple(rows), gaps)


def _sources(
    network: nn.Module, inputs: Inputs, counts: Any, blocks: frozenset[str]
) -> tuple[list[Site], dict[Site, frozenset[str]]]:
    """For each site the nearest sites (or the input) that its output depends on.

    Read off autograd's graph: from the node that made an output back to the nearest ones that made
    another site's.
    """
    nodes: dict[Any, str] = {}
    ends: dict[Site, Any] = {}
    leaves = changed(inputs, _leaf)

    def visit(site: Site, output: Tensor) -> Tensor | None:
        if not counts(site) or output.grad_fn is None:
            return None
        # A copy has a node of its own, which neither a module that returns its input shares nor a
        # later operation in place replaces.
        output = output.clone()
        ends[site] = output.grad_fn
        nodes[output.grad_fn] = site.name
        return output

    with watched(network, visit, blocks=blocks):
        call(network, leaves)
    parameters = {id(parameter) for parameter in network.parameters()}
    found = {site: _nearest(node, nodes, parameters) for site, node in ends.items()}
    return list(ends), found


def _leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_() if x.is_floating_point() else x


def _nearest(end: Any, nodes: dict[Any, str], parameters: set[int]) -> frozenset[str]:
    found: set[str] = set()
    seen: set[Any] = set()
    ahead = [node for node, _ in end.next_functions if node is not None]
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in nodes:
            found.add(nodes[node])
        elif hasattr(node, "variable"):  # a leaf: a parameter, or the network's input
            if id(node.variable) not in parameters:
                found.add(_INPUT)
        else:
            ahead += [earlier for earlier, _ in node.next_functions if earlier is not None]
    return frozenset(found)


def _listed(names: frozenset[str]) -> str:
    if not names:
        return "no earlier layer and no floating-point input"
    ordered = sorted(names)
    head = ", ".join(ordered[:3])
    return f"{len(ordered)} outputs at once ({head}{', ...' if len(ordered) > 3 else ''})"
