"""Hypothesis strategies of JSON values and of the platform's events."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
from hypothesis import strategies as st

from lambda_extension.telemetry import KnownEvent

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)

_TYPES = [kind.__struct_config__.tag for kind in KnownEvent.__args__]

# Objects that nearly are events: right names, any values.
near_events = st.fixed_dictionaries(
    {"type": st.sampled_from(_TYPES) | json_values, "time": st.just("2026-03-01T10:00:00.000Z") | json_values},
    optional={
        "record": json_values
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("requestId", "status", "metrics", "spans", "phase", "name"), json_values),
        )
    },
)


def typed_events() -> st.SearchStrategy[Any]:
    """Events of every known type, as the structs themselves."""
    text = st.text(max_size=8)
    number = st.floats(0, 1e6, allow_nan=False)

    def struct(kind: Any) -> st.SearchStrategy[Any]:
        fields = {}
        for field in msgspec.structs.fields(kind):
            if field.name == "record" and field.type is Any:
                fields["record"] = json_values
            elif field.name == "time":
                fields["time"] = text
            else:
                fields[field.name] = _of(field.type, struct, text, number)
        return st.builds(kind, **fields)

    return st.one_of([struct(kind) for kind in KnownEvent.__args__])


def _of(kind: Any, struct: Any, text: Any, number: Any) -> Any:
    if kind is str:
        return text
    if kind is float:
        return number
    if kind is int:
        return st.integers(0, 2**40)
    if kind is type(None):
        return st.none()
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return st.lists(_of(arguments[0], struct, text, number), max_size=2).map(tuple)
    if arguments:
        # A numeric string is read as a number where both are allowed.
        parts = [part for part in arguments if part is not str or int not in arguments]
        return st.one_of([_of(part, struct, text, number) for part in parts])
    if issubclass(kind, msgspec.Struct):
        return struct(kind)
    return st.sampled_from(list(kind)) | st.just("novelty").map(kind)
