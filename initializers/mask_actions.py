"""Where a masked network restarts from: the mask-1 and mask-0 actions of Zhou et al. 2019.

Mask-1 actions say what the surviving weights become; W is the layer's initial weight tensor:

========================  ========================================================
``rewind``                W
``random_reinit``         a random permutation of all entries of W
``random_reshuffle``      the surviving entries permuted among the surviving places
``signed_reinit``         as ``random_reinit`` on magnitudes, the signs of W kept
``signed_reshuffle``      as ``random_reshuffle`` on magnitudes, the signs of W kept
``reshuffled_signs``      W's magnitudes, the survivors' signs permuted among them (ours: the
                          converse of ``signed_reshuffle``)
``signed_constant``       std(W) times the sign of W
``rand_signed_constant``  a random permutation of ``signed_constant``
========================  ========================================================

Mask-0 actions say what the others become, and stay:

=========================  =======================================================
``zero``                   0
``freeze_init``            their initial value
``freeze_init_zero_mask``  their initial value if training made their magnitude grow, else 0
``freeze_init_zero_all``   the same; and surviving weights that did not grow restart from 0
=========================  =======================================================
"""

from __future__ import annotations

import torch
from torch import Tensor

from initializers import rearrange

ONES_ACTIONS: tuple[str, ...] = (
    "rewind",
    "random_reinit",
    "random_reshuffle",
    "signed_reinit",
    "signed_reshuffle",
    "reshuffled_signs",
    "signed_constant",
    "rand_signed_constant",
)
ZEROS_ACTIONS: tuple[str, ...] = (
    "zero",
    "freeze_init",
    "freeze_init_zero_mask",
    "freeze_init_zero_all",
)


def action_needs_final(zeros: str) -> bool:
    """Return whether a mask-0 action looks at trained weights."""
    return zeros.startswith("freeze_init_zero")


def restart(
    initial: Tensor,
    final: Tensor | None,
    mask: Tensor,
    ones: str,
    zeros: str,
    generator: torch.Generator,
    *,
    rescale: bool = False,
) -> Tensor:
    """Return the weights from which the masked network restarts.

    Args:
        initial: W, a contiguous float32 or float64 CPU tensor of any shape; not changed.
        final: Trained weights of the same shape; may be None if ``action_needs_final`` says so.
        mask: Bool tensor of the same shape, True for surviving weights.
        ones: One of ``ONES_ACTIONS``.
        zeros: One of ``ZEROS_ACTIONS``.
        generator: CPU generator of the permutations.
        rescale: Dynamic weight rescaling: multiply the surviving weights by numel(M) / sum(M). This
            keeps the expected sum of magnitudes; the second moment of the signal grows by
            numel(M) / sum(M) (derived), so that it does not preserve variance.

    Returns:
        A new tensor.

    Raises:
        ValueError: If an action is unknown, or needs trained weights and gets none.
    """
    if ones not in ONES_ACTIONS:
        raise ValueError(f"Mask-1 action {ones!r} must be one of {', '.join(ONES_ACTIONS)}.")
    if zeros not in ZEROS_ACTIONS:
        raise ValueError(f"Mask-0 action {zeros!r} must be one of {', '.join(ZEROS_ACTIONS)}.")
    if final is None and action_needs_final(zeros):
        raise ValueError(f"Mask-0 action {zeros!r} needs trained weights, got none.")
    alive = _survivors(initial, mask, ones, generator)
    if rescale and bool(mask.any()):
        alive.mul_(mask.numel() / int(mask.sum()))
    dead = torch.zeros_like(initial) if zeros == "zero" else initial.clone()
    if final is not None and action_needs_final(zeros):
        settled = final.abs() <= initial.abs()  # training moved them towards 0
        dead.masked_fill_(settled, 0.0)
        if zeros == "freeze_init_zero_all":
            alive.masked_fill_(settled, 0.0)
    return torch.where(mask, alive, dead)


def _survivors(initial: Tensor, mask: Tensor, ones: str, generator: torch.Generator) -> Tensor:
    values = initial.clone()
    if ones in ("signed_constant", "rand_signed_constant"):
        rearrange.set_magnitude(values, rearrange.spread(initial))
    if ones in ("random_reinit", "rand_signed_constant"):
        rearrange.permute(values, generator)
    elif ones == "random_reshuffle":
        rearrange.permute_among(values, mask, generator)
    elif ones == "signed_reinit":
        rearrange.permute_magnitudes(values, generator)
    elif ones == "signed_reshuffle":
        rearrange.permute_magnitudes(values, generator, mask)
    elif ones == "reshuffled_signs":
        rearrange.permute_signs(values, generator, mask)
    return values
