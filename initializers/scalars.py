"""Scalar parameters of residual blocks: biases and multipliers of one element."""

from __future__ import annotations

from collections.abc import Callable

from initializers.job import Job


def set_scalars(job: Job, value_of: Callable[[str], float | None]) -> tuple[str, ...]:
    """Have one-element parameters that belong to no known layer set with the norm layers.

    They move from the plan's list of what is skipped to the list of what is set to a constant.

    Args:
        job: One call of an initialiser; nothing of its module is changed yet.
        value_of: The value for a qualified name, or None to leave the parameter alone.

    Returns:
        The names of the parameters that will be set.
    """
    taken = []
    for skip in tuple(job.plan.skipped):
        parameter = job.module.get_parameter(skip.name)
        value = value_of(skip.name) if parameter.numel() == 1 else None
        if value is not None:
            job.plan.skipped.remove(skip)
            job.plan.norms.append((skip.name, parameter.detach(), value))
            taken.append(skip.name)
    return tuple(taken)
