"""How much a gradient changes along itself: the quotient of Dauphin and Schoenholz 2019."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gradient_quotient(loss: Tensor, parameters: Sequence[Tensor], eps: float = 1e-5) -> Tensor:
    """Return the mean over all parameters of ``|(g - Hg) / (g + eps * sgn(g)) - 1|``.

    g is the gradient of the loss, H its Hessian and sgn(0) = 1. Written with the denominator's
    regularisation it is 0 where the gradient does not change along itself (and g is not small).
    ``Hg`` is the gradient of ``sum(g^2) / 2``.

    Args:
        loss: Scalar with a graph, twice differentiable.
        parameters: Tensors that it may depend on; one that it does not depend on counts with g = 0.
        eps: Regularisation of the denominator, > 0.

    Returns:
        Scalar that can be differentiated again.
    """
    gradients = derivatives(loss, parameters)
    halves = torch.stack([gradient.square().sum() / 2.0 for gradient in gradients])
    products = derivatives(halves.sum(), parameters)
    total = loss.new_zeros(())
    for gradient, product in zip(gradients, products, strict=True):
        signs = torch.where(gradient.detach() >= 0.0, 1.0, -1.0).to(gradient.dtype)
        total = total + ((gradient - product) / (gradient + eps * signs) - 1.0).abs().sum()
    return total / sum(parameter.numel() for parameter in parameters)


def derivatives(value: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of a scalar, with their graph; zeros where it does not depend.

    Args:
        value: Scalar with or without a graph.
        parameters: Tensors that require a gradient.
    """
    if not value.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    found = torch.autograd.grad(value, list(parameters), create_graph=True, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for gradient, parameter in zip(found, parameters, strict=True)
    ]
