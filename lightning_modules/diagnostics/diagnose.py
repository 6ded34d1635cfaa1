"""All measurements of one network, by cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from lightning_modules.diagnostics.calls import Inputs, Loss
from lightning_modules.diagnostics.chi import measure_chi
from lightning_modules.diagnostics.correlation import measure_correlation
from lightning_modules.diagnostics.jacobian import measure_jacobian
from lightning_modules.diagnostics.moments import measure_signals
from lightning_modules.diagnostics.quotient import measure_quotient
from lightning_modules.diagnostics.rows import Diagnosis, Gap
from lightning_modules.diagnostics.weights import measure_strengths, measure_weights

Tier = Literal["cheap", "full"]
"""How much is measured: what one pass gives, or everything."""


def diagnose(
    network: nn.Module,
    inputs: Inputs,
    labels: Tensor | None = None,
    *,
    tier: Tier = "full",
    loss: Loss | None = None,
    step: int = 0,
    seed: int = 0,
) -> Diagnosis:
    """Measure a network on one batch, and leave it as it was.

    ``cheap`` costs about two training steps on the batch: signals and gradients
    (`measure_signals`), and strengths (`measure_strengths`). ``full`` adds the weights, the
    correlation of two inputs that start uncorrelated, chi, the Jacobian's singular values and the
    gradient quotient. A measurement that the network or its inputs do not allow is a gap, with the
    reason; `measure_signals` must work.

    Args:
        network: any module.
        inputs: a batch: a tensor, a tuple of arguments or a mapping of keyword arguments.
        labels: its labels; see `scalar_loss`.
        tier: ``cheap`` or ``full``.
        loss: see `scalar_loss`.
        step: written into the rows.
        seed: written into the rows.

    Raises:
        ValueError: no examples, a batch of one with batch normalisation, or no loss that fits.
    """
    result = measure_signals(network, [(inputs, labels)], loss=loss)
    result = result + measure_strengths(network)
    if tier == "full":
        more: list[tuple[str, Callable[[], Diagnosis]]] = [
            ("weights", lambda: measure_weights(network)),
            ("correlation", lambda: measure_correlation(network, inputs)),
            ("chi", lambda: measure_chi(network, inputs)),
            ("jacobian", lambda: measure_jacobian(network, inputs)),
            ("gradient_quotient", lambda: measure_quotient(network, inputs, labels, loss=loss)),
        ]
        for name, measurement in more:
            try:
                result = result + measurement()
            except (ValueError, RuntimeError, NotImplementedError) as error:
                reason = " ".join(str(error).split())[:200].rstrip(".")
                result = result + Diagnosis((), (Gap("", name, reason),))
    return result.at(step=step, seed=seed)
