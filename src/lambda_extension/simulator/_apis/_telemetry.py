"""Subscriptions to telemetry and logs: what a request asks for, checked as the platform does; pure."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from lambda_extension.simulator._apis._extensions import ApiError

TYPES: Final = frozenset({"platform", "function", "extension"})

_SCHEMAS: Final = {
    "telemetry": ("2022-07-01", "2022-12-13", "2025-01-29"),
    "logs": ("2020-08-15", "2021-03-18"),
}
_LIMITS: Final = {
    "maxItems": (10_000, 1_000, 10_000),
    "maxBytes": (262_144, 262_144, 1_048_576),
    "timeoutMs": (1_000, 25, 30_000),
}


@attrs.frozen(kw_only=True)
class Subscription:
    """A subscription that was accepted."""

    api: str
    schema_version: str
    types: tuple[str, ...]
    protocol: str
    port: int
    path: str
    method: str
    max_items: int
    max_bytes: int
    timeout_ms: int


def parse_subscription(body: bytes, *, api: str, managed: bool) -> Subscription:
    """Return what `body` subscribes to.

    Raises:
        ApiError: 400 ValidationError.
    """
    try:
        parsed: Any = json.loads(body)
    except ValueError as error:
        raise _invalid(f"failed to parse JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise _invalid("schema validation error: the body is not an object")
    schemas = _SCHEMAS[api][-1:] if managed else _SCHEMAS[api]
    schema = parsed.get("schemaVersion", schemas[0] if api == "logs" else None)
    if not isinstance(schema, str) or schema not in schemas:
        raise _invalid(f"schema validation error: schemaVersion must be one of {list(schemas)}")
    types = parsed.get("types")
    if not isinstance(types, list) or not types or not all(isinstance(kind, str) and kind in TYPES for kind in types):
        raise _invalid("schema validation error: types must name platform, function or extension")
    protocol, port, path, method = _destination(parsed.get("destination"))
    buffering = parsed.get("buffering") or {}
    if not isinstance(buffering, dict):
        raise _invalid("schema validation error: buffering is not an object")
    limits = [_limit(buffering, name) for name in _LIMITS]
    return Subscription(
        api=api,
        schema_version=schema,
        types=tuple(dict.fromkeys(types)),
        protocol=protocol,
        port=port,
        path=path,
        method=method,
        max_items=limits[0],
        max_bytes=limits[1],
        timeout_ms=limits[2],
    )


def _invalid(message: str) -> ApiError:
    return ApiError(400, "ValidationError", message)


def _destination(value: Any) -> tuple[str, int, str, str]:
    if not isinstance(value, dict):
        raise _invalid("schema validation error: destination is required")
    protocol, method = value.get("protocol"), value.get("method", "POST")
    if method not in {"POST", "PUT"}:
        raise _invalid("Invalid destination: method must be POST or PUT")
    if protocol == "TCP":
        port = value.get("port")
        if type(port) is not int or not 1 <= port <= 65535:
            raise _invalid("Invalid destination: port is required for TCP")
        return "TCP", port, "", method
    if protocol != "HTTP":
        raise _invalid("Invalid destination: protocol must be HTTP or TCP")
    try:
        uri = urlsplit(value.get("URI") or "")
        port = uri.port
    except (ValueError, AttributeError):
        raise _invalid("Invalid destination: URI cannot be parsed") from None
    if uri.scheme != "http" or uri.hostname not in {"sandbox.localdomain", "sandbox"}:
        raise _invalid("Invalid destination: URI must be http://sandbox.localdomain:<port>")
    if not port:
        raise _invalid("Invalid destination: URI port is not provided")
    return "HTTP", port, uri.path or "/", method


def _limit(buffering: dict[str, Any], name: str) -> int:
    default, least, most = _LIMITS[name]
    value = buffering.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise _invalid(f"schema validation error: {name} must be from {least} to {most}")
    return value
