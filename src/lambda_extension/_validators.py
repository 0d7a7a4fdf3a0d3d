"""What a setting may be: a `TypeError` or `ValueError` at once, which names the setting and what it was given."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import attrs

Validator: TypeAlias = "Callable[[object, attrs.Attribute[Any], Any], None]"


def whole(least: int, most: float = math.inf) -> Validator:
    """Make a validator of a whole number of attrs' classes, within limits."""
    limits = f"of at least {least}" if most == math.inf else f"of {least} to {most}"

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        wanted = f"a whole number {limits}"
        check_type(_name(instance, attribute), value, int, wanted)
        if not least <= value <= most:
            raise ValueError(_refusal(_name(instance, attribute), wanted, value))

    return check


def number(*, above: float = -math.inf, least: float = -math.inf, most: float = math.inf) -> Validator:
    """Make a validator of a number of attrs' classes, whole or not, within limits; NaN is within none."""
    limits = [f"greater than {above:g}"] if above > -math.inf else [f"of at least {least:g}"]
    limits += [f"at most {most:g}"] if most < math.inf else []

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        wanted = f"a number {' and '.join(limits)}"
        check_type(_name(instance, attribute), value, int | float, wanted)
        if not (above < value and least <= value <= most):
            raise ValueError(_refusal(_name(instance, attribute), wanted, value))

    return check


def text_or_none(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuse, as a validator of attrs, what is neither a string nor None."""
    check_type(_name(instance, attribute), value, str | None, "a string or None")


def check_type(name: str, value: object, kind: Any, wanted: str) -> None:
    """Refuse a value of another type; True and False are no numbers.

    Raises:
        TypeError: It is of another.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(_refusal(name, wanted, value))


def check_http_client(value: object) -> None:
    """Refuse what is neither an httpx client nor None, without importing httpx: whoever has one has done so.

    Raises:
        TypeError: It is of another type.
    """
    if value is not None:
        httpx = sys.modules.get("httpx")
        kind = () if httpx is None else httpx.AsyncClient
        check_type("http_client", value, kind, "an httpx.AsyncClient or None")


def _name(instance: object, attribute: attrs.Attribute[Any]) -> str:
    return f"{type(instance).__name__}.{attribute.name}"


def _refusal(name: str, wanted: str, value: object) -> str:
    return f"{name} must be {wanted}, not {value!r}"
