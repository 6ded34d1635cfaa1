"""The gradient quotient of a network on a batch."""

from __future__ import annotations

from torch import Tensor, nn

from initializers.quotient import gradient_quotient
from lightning_modules.diagnostics.calls import Inputs, Loss, call, on_device, scalar_loss
from lightning_modules.diagnostics.rows import Diagnosis, Gap, Row
from lightning_modules.diagnostics.undisturbed import refuse_one_example, undisturbed


def measure_quotient(
    network: nn.Module, inputs: Inputs, labels: Tensor | None = None, *, loss: Loss | None = None
) -> Diagnosis:
    """Measure how much the gradient changes along itself, over all weights with two or more axes.

    ``gradient_quotient`` of the network: see `initializers.quotient` (Dauphin and Schoenholz 2019,
    MetaInit); 0 where the loss is as if linear. Normalisation uses the batch's statistics.

    Args:
        network: any module, left as it was; one that cannot be differentiated twice is a gap.
        inputs: a batch.
        labels: its labels.
        loss: see `scalar_loss`.

    Raises:
        ValueError: no examples, or no loss that fits.
    """
    refuse_one_example(network, inputs)
    inputs = on_device(inputs, network)
    with undisturbed(network, "batch"):
        weights = [p for p in network.parameters() if p.dim() >= 2 and p.is_floating_point()]
        if not weights:
            return Diagnosis((), (Gap("", "gradient_quotient", "there are no weight matrices"),))
        labels = None if labels is None else labels.to(weights[0].device)
        value = scalar_loss(call(network, inputs), labels, loss)
        try:
            found = float(gradient_quotient(value, weights).detach())
        except (RuntimeError, NotImplementedError) as error:
            reason = f"the network cannot be differentiated twice ({_line(error)})"
            return Diagnosis((), (Gap("", "gradient_quotient", reason),))
    return Diagnosis((Row("", "network", 0, "gradient_quotient", found),))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120].rstrip(". ")
