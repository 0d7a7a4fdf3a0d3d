"""Settings: every class whose fields are what a user may choose, with defaults and meanings."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import attrs

from _generation._names import page_of, shown_default, tidy

CLASSES = {
    "lambda_extension": ["TelemetrySubscription", "Buffering", "Destination", "LogsSubscription"],
    "lambda_extension.telemetry": ["ReceiverSettings"],
    "lambda_extension.records": ["LineSettings", "JoinLines", "Holding"],
    "lambda_extension.processing": ["Adaptive", "EndOfInvocation", "Every", "OnSize", "Continuous"],
    "lambda_extension.delivery": ["Batching", "Limits", "Retry", "Breaker", "Spill"],
    "lambda_extension.simulator": ["DeliverySettings"],
}


def settings() -> str:
    parts = []
    for package, classes in CLASSES.items():
        for name in classes:
            found = getattr(importlib.import_module(package), name)
            summary = (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " ")
            rows = "\n".join(_rows(found))
            head = f"## {name} settings\n\n[`{package}.{name}`]({page_of(package, name)}#{name.lower()}). {summary}\n"
            parts.append(f"{head}\n| Setting | Type | Default | Meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _rows(found: type) -> list[str]:
    meanings = _meanings(inspect.getdoc(found) or "")
    fields = attrs.fields_dict(found) if attrs.has(found) else {}
    rows = []
    for name, parameter in inspect.signature(found).parameters.items():
        default = parameter.default
        if name in fields:  # autodoc has put its own words in place of the defaults of the signature
            default = fields[name].default
        shown = "required" if default in (parameter.empty, attrs.NOTHING) else f"`{_shown(default)}`"
        kind = parameter.annotation
        if kind is parameter.empty:  # a converter takes more
            kind = fields[name].type
        kind = tidy(kind if isinstance(kind, str) else str(kind))
        rows.append(f"| `{name}` | `{kind.replace('|', chr(92) + '|')}` | {shown} | {meanings.get(name, '')} |")
    return rows


def _shown(default: Any) -> str:
    if isinstance(default, int) and not isinstance(default, bool) and default >= 10_000:
        return f"{default:_}"
    return shown_default(default).replace("|", "\\|")


def _meanings(doc: str) -> dict[str, str]:
    """Return what the sections `Attributes` and `Args` of a docstring say of each name."""
    section = re.search(r"^(?:Attributes|Args):\n((?:    .*\n?|\n)+)", doc, re.MULTILINE)
    if section is None:
        return {}
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section[1], re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).replace("|", "\\|") for name, text in found}
