"""What records go through on their way to a sink: functions from a record to a record, to several, or to none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, final

import attrs

from lambda_extension.records._correlator import Record
from lambda_extension.records._record import LogRecord, encode_json
from lambda_extension.records._reports import InvocationReport
from lambda_extension.records._severity import severity_of

Transformed: TypeAlias = "Record | Iterable[Record] | None"
Transform: TypeAlias = Callable[[Record], Transformed]
"""A function that gives what is to become of a record: itself or another, several, or none."""
OnFailure: TypeAlias = Literal["keep", "drop"]


@final
@attrs.frozen
class Named:
    """A transform with the name that its account goes by, and what is to be done when it raises.

    Attributes:
        function: The transform.
        name: Its name.
        on_failure: `keep` lets the record go on untouched, `drop` leaves it out.
    """

    function: Transform
    name: str
    on_failure: OnFailure = attrs.field(default="keep", validator=attrs.validators.in_(["keep", "drop"]))

    def __call__(self, record: Record) -> Transformed:
        """Call the function."""
        return self.function(record)


def named(function: Transform, *, name: str | None = None, on_failure: OnFailure = "keep") -> Named:
    """Name a transform of your own, and say what is to become of a record for which it raises.

    Args:
        function: From a record to a record, to several, or to none.
        name: By which what it leaves out is counted; by default the function's.
        on_failure: `keep` lets the record go on untouched, `drop` leaves it out.

    Raises:
        TypeError: The function is none, a coroutine function, or what `sample` gives, which has to see how invocations
            end and stands in a list of transforms as it is.
    """
    if isinstance(function, Named):
        return function if name is None else Named(function.function, name, on_failure)
    given: Any = function
    if hasattr(given, "observe"):
        msg = f"{given.name} stands in a list of transforms as it is: named, nobody tells it how invocations end"
        raise TypeError(msg)
    if not callable(given) or inspect.iscoroutinefunction(given):
        msg = f"a transform is a plain function from a record to a record, to several, or to none, not {function!r}"
        raise TypeError(msg)
    return Named(function, name or getattr(function, "__name__", None) or type(function).__name__, on_failure)


def at_least(level: str) -> Named:
    """Leave out what is below a level. A line whose level is unknown, and a report, which has none, go on.

    Args:
        level: Such as `INFO`.

    Raises:
        ValueError: No level has that name.
    """
    least = severity_of(level)
    if not least:
        msg = f"no level is called {level!r}"
        raise ValueError(msg)

    def enough(record: Record) -> Record | None:
        if type(record) is LogRecord and 0 < record.severity_number < least:
            return None
        return record

    return Named(enough, f"at_least({level})")


def only(*, source: str | None = None, type: str | None = None, **attributes: Any) -> Named:  # noqa: A002 - its name
    """Leave out every record that does not have all of this.

    Args:
        source: `function`, `extension`, `platform` or `report`.
        type: The type of an event, such as `platform.start`; with an asterisk at its end, what it begins with.
        **attributes: Values of attributes; `...` stands for any.

    Raises:
        ValueError: Nothing is asked for.
    """
    has = _condition(source, type, attributes)
    return Named(lambda record: record if has(record) else None, _called("only", source, type, attributes))


def without(*, source: str | None = None, type: str | None = None, **attributes: Any) -> Named:  # noqa: A002
    """Leave out every record that has all of this; the arguments are those of `only`."""
    has = _condition(source, type, attributes)
    return Named(lambda record: None if has(record) else record, _called("without", source, type, attributes))


def _called(word: str, source: str | None, kind: str | None, attributes: Mapping[str, Any]) -> str:
    asked = {"source": source, "type": kind, **attributes}
    return f"{word}({', '.join(f'{key}={value}' for key, value in asked.items() if value is not None)})"


def _condition(source: str | None, kind: str | None, attributes: Mapping[str, Any]) -> Callable[[Record], bool]:
    if source is None and kind is None and not attributes:
        msg = "say what to select by: source, type, or an attribute"
        raise ValueError(msg)
    if source not in {None, "function", "extension", "platform", "report"}:
        msg = f"no source is called {source!r}: there are function, extension, platform and report"
        raise ValueError(msg)
    prefix = kind[:-1] if kind is not None and kind.endswith("*") else None

    def has(record: Record) -> bool:
        if source is not None and record.source != source:
            return False
        if prefix is not None:
            if not record.type.startswith(prefix):
                return False
        elif kind is not None and record.type != kind:
            return False
        own = record.attributes
        return all(key in own and value in (..., own[key]) for key, value in attributes.items())

    return has


def add(**attributes: Any) -> Named:
    """Add attributes to every record; one that a record has itself stays as it is."""
    return Named(lambda record: record.with_attributes(attributes | record.attributes), f"add({', '.join(attributes)})")


_CUT = "…"


def truncate(limit: int) -> Named:
    """Cut bodies that are longer than so many bytes of UTF-8; a body that is not text is cut as the JSON that it is.

    What was cut ends with an ellipsis and has its whole length in the attribute `truncated_bytes`.

    Args:
        limit: Bytes of the body, the ellipsis included.

    Raises:
        ValueError: There is no room for the ellipsis.
    """
    room = limit - len(_CUT.encode())
    if room < 0:
        msg = f"a limit of {limit} bytes leaves nothing"
        raise ValueError(msg)

    def cut(record: Record) -> Record:
        if isinstance(record, InvocationReport):
            return record
        body = record.body
        if type(body) is str:
            if len(body) * 4 <= limit:  # as most are, and no character is longer
                return record
            encoded = body.encode("utf-8", "replace")
        elif body is None:
            return record
        else:
            encoded = encode_json(body)
        if len(encoded) <= limit:
            return record
        text = encoded[:room].decode("utf-8", "ignore") + _CUT
        return record.replace(body=text, attributes={**record.attributes, "truncated_bytes": len(encoded)})

    return Named(cut, f"truncate({limit})")
