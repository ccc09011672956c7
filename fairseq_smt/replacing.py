"""How functions and classes of other packages are replaced: so that a replacement knows itself.

A module that is imported again (reloaded, or under another name) finds the replacement that it made the first time.
"""

import inspect
from collections.abc import Callable
from typing import Any


def layers(owner: Any, name: str) -> list[Any]:
    """An attribute as it is, what that replaces, and so on; the last is no replacement of ours."""
    found = [getattr(owner, name)]
    while "replaces" in getattr(found[-1], "__dict__", ()):
        found.append(found[-1].__dict__["replaces"])
    return found


def original(owner: Any, name: str) -> Any:
    """An attribute as it was before any replacement of ours, for a class to derive from."""
    return layers(owner, name)[-1]


def replace(owner: Any, name: str, replacement: Callable) -> Any:
    """Put a function or class in the place of an attribute of a module or class, or of its own earlier copy.

    Returns:
        What the replacement is to call.
    """
    found = layers(owner, name)
    place = next((i for i, layer in enumerate(found[:-1]) if _name(layer) == _name(replacement)), None)
    before = found[0] if place is None else found[place + 1]
    if not place:  # above its own earlier copy, another replacement goes on calling that
        replacement.replaces = before
        static = inspect.isclass(owner) and isinstance(inspect.getattr_static(owner, name), staticmethod)
        setattr(owner, name, staticmethod(replacement) if static else replacement)
    return before


def _name(replacement: Any) -> str:
    """Its module, without the packages above, and its own name."""
    return f"{replacement.__module__.rpartition('.')[2]}.{replacement.__qualname__}"
