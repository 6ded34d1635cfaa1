"""Residual branches: which weights stand on one, found by the structure of the module.

``initializers.topology`` finds residual blocks as well, from the forward pass, and finds more of
them: those of MobileNets, ConvNeXts and vision transformers have no attribute to be told by. The
two are not one, because every call of an initialiser asks for the ends of the branches: the
attributes answer in about a millisecond and for any module, tracing takes 7 to 75 ms (measured from
ResNet-14 to ConvNeXt-tiny) and refuses a forward pass that depends on values, so that it would be
left to the code of a network which weights are zeroed or selected. Methods whose numbers depend on
the topology trace and refuse. Where this module finds blocks, tracing finds the same ones with the
same weights; a test holds that.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from initializers.reparametrised import plain_name

SHORTCUTS: tuple[str, ...] = ("shortcut", "downsample", "skip")
"""Attributes by which a residual block tells its shortcut: a module, or None for the identity."""


@dataclass(frozen=True)
class Branch:
    """The residual branch of one block.

    Attributes:
        block: Qualified name of the block.
        weights: Names of the branch's weights (parameters of two or more axes), in order of
            registration, which is taken for the order of execution.
        shortcut: Names of the weights on the block's shortcut; none for an identity.
    """

    block: str
    weights: tuple[str, ...]
    shortcut: tuple[str, ...] = ()


def residual_branches(module: nn.Module, blocks: str | None = None) -> tuple[Branch, ...]:
    """Find the residual blocks of a module and the weights on their branches.

    The rule (ours): a block is an innermost module with an attribute ``shortcut``, ``downsample``
    or ``skip`` that is None or a module, and with weights outside of it. These weights are its
    branch. That finds the blocks of the residual networks of this project, of torchvision and of
    most other libraries. For a network with other names, say which modules are its blocks.

    Args:
        module: Any module.
        blocks: Pattern of the blocks' qualified names (``*`` and ``?`` as in file names), which
            replaces the rule; their shortcuts are still those of the attributes.

    Returns:
        The branches in order of registration; none if nothing fits.
    """
    found: list[Branch] = []
    for name, block in module.named_modules():
        shortcuts = _shortcuts(block)
        if not (shortcuts is not None if blocks is None else fnmatchcase(name, blocks)):
            continue
        found_here = (  # weight normalisation has two parameters in the place of one
            plain_name(own) for own, parameter in block.named_parameters() if parameter.dim() >= 2
        )
        names = [f"{name}.{own}" if name else own for own in dict.fromkeys(found_here)]
        heads = tuple(f"{name}.{own}." if name else f"{own}." for own in shortcuts or ())
        branch = tuple(own for own in names if not own.startswith(heads or (" ",)))
        if branch:
            found.append(Branch(name, branch, tuple(own for own in names if own not in branch)))
    outer = {
        one.block
        for one in found
        for other in found
        if one is not other and (not one.block or other.block.startswith(f"{one.block}."))
    }
    return tuple(branch for branch in found if branch.block not in outer)


def branch_ends(module: nn.Module) -> frozenset[str]:
    """Return the names of the last weights of all residual branches of a module."""
    return frozenset(branch.weights[-1] for branch in residual_branches(module))


def _shortcuts(block: nn.Module) -> tuple[str, ...] | None:
    """Return the names of a block's shortcut modules; None if it has no such attribute."""
    known = {**vars(block), **block._modules}
    present = [name for name in SHORTCUTS if name in known]
    fitting = [
        name for name in present if known[name] is None or isinstance(known[name], nn.Module)
    ]
    if not fitting:
        return None
    return tuple(name for name in fitting if known[name] is not None)
