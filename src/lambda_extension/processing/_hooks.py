"""Which methods an object has for `run` or `run_telemetry`, and what is wrong with them."""

from __future__ import annotations

import inspect
from typing import Any

# How alike a public coroutine's name must be to that of a method, by `difflib`, to be taken for a misspelling of it:
# `on_flush` and `handle_invokes` are, `send`, `aclose` and `process_batch` are not.
_ALIKE = 0.75
# Called where they are there, though the base class has none: that of a `Delivery`, and of what is made of several.
_CALLED_TOO = frozenset({"store_what_is_left"})
# Only one of them is called, so a class that has one is not missing the other.
_EITHER = ({"process", "process_event"},)


def hooks_of(subject: object, base: type) -> dict[str, Any]:
    """Give the methods of `base` that an object has; what it inherits from `base` unchanged counts as absent.

    Raises:
        TypeError: It is a class, it has none of the methods, one is a coroutine function and should not be or the other
            way round, or a method of its own has nearly the name of one that is absent.
    """
    kind = type(subject).__name__
    if isinstance(subject, type):
        msg = f"{subject.__name__} is a class: pass an instance, {subject.__name__}(...)"
        raise TypeError(msg)
    hooks = {}
    for name, default in vars(base).items():
        method = getattr(subject, name, None)
        if name.startswith("_") or method is None or getattr(method, "__func__", None) is default:
            continue
        if not callable(method) or _is_async(method) is not _is_async(default):
            wanted = "a coroutine function (async def)" if _is_async(default) else "a plain function (def)"
            msg = f"{kind}.{name} must be {wanted}"
            raise TypeError(msg)
        hooks[name] = method
    _refuse_misspelt(type(subject), hooks, base)
    if not hooks:
        msg = f"{kind} has none of the methods {', '.join(_names(base))}"
        raise TypeError(msg)
    return hooks


def _names(base: type) -> list[str]:
    return [name for name in vars(base) if not name.startswith("_")]


def _is_async(function: Any) -> bool:
    # An object with an async `__call__` will do as a method, too.
    called = inspect.getattr_static(type(function), "__call__", None)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _refuse_misspelt(kind: type, hooks: dict[str, Any], base: type) -> None:
    absent = set(_names(base)) - hooks.keys()
    for either in _EITHER:
        if either & hooks.keys():
            absent -= either
    for name in dir(kind):
        # Statically: a property of the user's is not to be run for this.
        if name.startswith("_") or name in hooks or not _is_async(inspect.getattr_static(kind, name)):
            continue
        if hasattr(base, name) or name in _CALLED_TOO:
            continue
        import difflib  # seldom needed

        for likely in difflib.get_close_matches(name, sorted(absent), n=1, cutoff=_ALIKE):
            msg = f"{kind.__name__}.{name} would never be called: did you mean {likely}?"
            raise TypeError(msg)
