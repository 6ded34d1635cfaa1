"""Unusual networks for the tests of diagnostics."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def chain(widths: list[int], activation: type[nn.Module] | None = None, bias: bool = False) -> Any:
    """Linear layers, double precision, Gaussian weights of variance 1 / fan_in, seed 0."""
    layers: list[nn.Module] = []
    generator = torch.Generator().manual_seed(0)
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        if number and activation is not None:
            layers.append(activation())
        layer = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
        with torch.no_grad():
            draw = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
            layer.weight.copy_(draw / inputs**0.5)
            if bias:
                layer.bias.zero_()
        layers.append(layer)
    return nn.Sequential(*layers)


class Shared(nn.Module):
    """One layer called twice, with an activation that is a function, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(functional.relu_(self.inner(x)))


class TwoInputs(nn.Module):
    """Two inputs, joined; returns a tuple whose first part is no floating-point tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(4, 5)
        self.right = nn.Linear(3, 5)
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(5, 2)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, a: Tensor, *, b: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.left(a) + self.right(b)) * self.scale
        out = self.head(hidden)
        return out.argmax(1), out


class Named(nn.Module):
    """Takes two tensors by name."""

    def __init__(self) -> None:
        super().__init__()
        self.both = TwoInputs()

    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        classes, logits = self.both(a, b=b)
        return {"classes": classes, "logits": logits}


class Residual(nn.Module):
    """Two blocks x + conv2(relu(conv1(bn(x)))), in the style of this project's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.first = Block()
        self.second = Block()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(self.stem(x)))
        return self.head(x.mean(dim=(2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu(self.conv1(self.norm(x))))
        return self.shortcut(x) + self.drop(out)
