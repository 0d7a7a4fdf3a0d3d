"""The events of the Telemetry API: type, class, fields on the wire and in Python, and since which schema."""

from __future__ import annotations

import typing

import msgspec

from _generation._names import tidy
from lambda_extension import telemetry

# From which version of the schema on a field is documented; what is not named here has been there from the first one.
# AWS publishes no change log of fields: the later marks come from its documentation of that time.
SINCE = {
    "platform.initStart": {
        "function_name": "2022-12-13",
        "function_version": "2022-12-13",
        "instance_id": "2022-12-13",
        "instance_max_memory": "2022-12-13",
    },
    "platform.initReport": {"status": "2022-12-13", "error_type": "2022-12-13"},
    "platform.start": {"function_arn": "2025-01-29"},
    "platform.restoreStart": {None: "2022-12-13"},
    "platform.restoreRuntimeDone": {None: "2022-12-13"},
    "platform.restoreReport": {None: "2022-12-13"},
}
FIRST = "2022-07-01"


def events() -> str:
    """Return a section for each type of event."""
    return "\n".join(_section(event) for event in typing.get_args(telemetry.KnownEvent))


def _section(event: type) -> str:
    kind = event.type  # type: ignore[attr-defined]
    lines = [f"## {kind}", "", f"{{py:class}}`~lambda_extension.telemetry.{event.__name__}`", ""]
    record = typing.get_type_hints(event)["record"]
    if not isinstance(record, type) or not issubclass(record, msgspec.Struct):
        lines += [
            "`record` is a line of text (`str`). From schema 2022-12-13 on, and with JSON logging, it is the JSON",
            "object that the line was, or one that the platform wraps around a line that was none.",
            "",
        ]
        return "\n".join(lines)
    summary = (record.__doc__ or "").strip().replace("\n", " ")
    lines[2] += f", {{py:class}}`~lambda_extension.telemetry.{record.__name__}`. {summary}"
    lines += ["| Field of `record` | On the wire | Type | Since |", "|---|---|---|---|"]
    since = SINCE.get(kind, {})
    hints = typing.get_type_hints(record)
    for field in msgspec.structs.fields(record):
        version = since.get(field.name, since.get(None, FIRST))
        type_ = tidy(_name_of(hints[field.name])).replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{field.encode_name}` | `{type_}` | {version} |")
    return "\n".join(lines) + "\n"


def _name_of(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
