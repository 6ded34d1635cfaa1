"""Which weights of a network a rule is for: selectors in text form."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fnmatch import fnmatchcase

from initializers.context import LayerContext

KINDS: tuple[str, ...] = (
    "linear",
    "bilinear",
    "conv",
    "conv_transpose",
    "embedding",
    "attention",
)
Predicate = Callable[[LayerContext], bool]

_PLACES: dict[str, Predicate] = {
    "first": lambda context: context.is_first,
    "last": lambda context: context.is_last,
    "branch_end": lambda context: context.ends_branch,
    "depthwise": lambda context: context.depthwise,
}
PLACES: tuple[str, ...] = tuple(_PLACES)


def selector_text(selector: str | Predicate) -> str:
    """Return a selector as text, the form in which it is stored and compared.

    Args:
        selector: Text (see ``selects``), or a function of a ``LayerContext`` that stands at the top
            level of a module.

    Raises:
        TypeError: If it is neither.
        ValueError: If it is empty, or the function cannot be found again by its import path.
    """
    if callable(selector):
        module, name = getattr(selector, "__module__", ""), getattr(selector, "__qualname__", "")
        text = f"{module}:{name}"
        if not name.isidentifier() or _imported(text) is not selector:
            raise ValueError(
                f"A predicate must be a function at the top level of a module, got {text}."
            )
        return text
    if not isinstance(selector, str):
        raise TypeError(f"A selector must be text or a function of a layer, got {selector!r}.")
    if not selector.strip():
        raise ValueError("A selector must say which layers it is for; it is empty.")
    text = selector.strip()
    if ":" in text:
        _imported(text)
    return text


def selects(selector: str, context: LayerContext) -> bool:
    """Return whether a selector is for a weight.

    ================================ ==============================================================
    selector                         weights
    ================================ ==============================================================
    ``first``, ``last``              the first or last in order of registration
    ``branch_end``                   the last of each residual branch (``residual_branches``)
    ``depthwise``                    depthwise convolutions
    ``linear``, ``conv`` ...         one kind of layer (``KINDS``)
    ``package.module:function``      those for which the function of their context is true
    anything else                    pattern of the parameter's or its layer's qualified name
                                     (``*``, ``?`` and ``[abc]`` as in file names)
    ================================ ==============================================================

    Args:
        selector: Text as above.
        context: The weight.
    """
    if selector in _PLACES:
        return _PLACES[selector](context)
    if selector in KINDS:
        return context.kind == selector
    if ":" in selector:
        return bool(_imported(selector)(context))
    layer = context.name.rpartition(".")[0]
    return context.name == selector or any(
        fnmatchcase(name, selector) for name in (context.name, layer)
    )


def _imported(path: str) -> Predicate:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"Predicate {path!r} cannot be imported: {error}.") from error
    if not callable(found):
        raise ValueError(f"Predicate {path!r} is no function.")
    predicate: Predicate = found
    return predicate
