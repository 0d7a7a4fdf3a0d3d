"""OpenTelemetry's environment variables, as far as they say something about exporting; arguments win over them."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import unquote, urlsplit

import msgspec

from lambda_extension._budget import EXPORT_LIMIT
from lambda_extension._environment import names_alone
from lambda_extension.otel._encoders import Protocol, Signal
from lambda_extension.otel._values import Limits

if TYPE_CHECKING:
    from lambda_extension.otel._metrics import Temporality
    from lambda_extension.otel._phases import Sampled

logger = logging.getLogger("lambda_extension.otel")

# https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and .../otel/configuration/sdk-environment-variables/
_DEFAULT_ENDPOINT: Final = "http://localhost:4318"
_SAMPLERS: Final = {
    "always_on": "always",
    "parentbased_always_on": "respect",
    "always_off": "never",
    "parentbased_always_off": "respect",
}
# What a receiver on 127.0.0.1 can be reached by.
_HERE: Final = frozenset({"localhost", "127.0.0.1"})


class SignalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a signal goes, and how.

    Attributes:
        exporter: `otlp`, `console` or `none`.
        url: The whole URL that requests are posted to; there may be secrets in it.
        headers: Headers of requests; their values may be secrets.
        timeout: Seconds that a request may take.
        compression: `gzip`, or None.
        protocol: `http/json` or `http/protobuf`.
    """

    exporter: str
    url: str
    headers: Mapping[str, str]
    timeout: float
    compression: str | None
    protocol: Protocol

    def __repr__(self) -> str:
        return f"SignalSettings(exporter={self.exporter!r}, protocol={self.protocol!r})"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the variables say of all signals.

    Attributes:
        disabled: Whether nothing is to be exported.
        service_name: The service's name, if there is one.
        resource: Attributes of the resource.
        temporality: How metrics count.
        sampler: `respect`, `always` or `never`.
        span_limits: How much of a span's attributes is kept.
        log_limits: The same of a log record's.
    """

    disabled: bool
    service_name: str | None
    resource: Mapping[str, str]
    temporality: Temporality
    sampler: str
    span_limits: Limits
    log_limits: Limits

    def __repr__(self) -> str:
        return f"Settings(disabled={self.disabled!r}, resource={names_alone(self.resource)})"


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Read what concerns all signals.

    Raises:
        ValueError: A variable has a value that makes no sense; the message names it.
    """
    temporality = _get(variables, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta").lower()
    sampler = _get(variables, "OTEL_TRACES_SAMPLER", "parentbased_always_on").lower()
    if sampler not in _SAMPLERS:
        logger.warning("OTEL_TRACES_SAMPLER=%s is not supported: what X-Ray has sampled is exported", sampler)
    return Settings(
        disabled=_get(variables, "OTEL_SDK_DISABLED", "").lower() == "true",
        service_name=_get(variables, "OTEL_SERVICE_NAME", "") or None,
        resource=_pairs("OTEL_RESOURCE_ATTRIBUTES", _get(variables, "OTEL_RESOURCE_ATTRIBUTES", "")),
        temporality="cumulative" if temporality == "cumulative" else "delta",
        sampler=_SAMPLERS.get(sampler, "respect"),
        span_limits=_limits(variables, "SPAN"),
        log_limits=_limits(variables, "LOGRECORD"),
    )


def _limits(variables: Mapping[str, str], kind: str) -> Limits:
    """Read limits of attributes: those of a kind, then those of all. Nothing is left out where there are none."""

    def find(limit: str) -> int | None:
        for name in (f"OTEL_{kind}_ATTRIBUTE_{limit}_LIMIT", f"OTEL_ATTRIBUTE_{limit}_LIMIT"):
            if text := _get(variables, name, ""):
                return int(_number(name, text))
        return None

    return Limits(find("VALUE_LENGTH"), find("COUNT"))


def signal_settings(
    signal: Signal,
    variables: Mapping[str, str],
    *,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    compression: Any = "unset",
    protocol: Protocol | None = None,
    own: bool = False,
) -> SignalSettings:
    """Read what concerns one signal: its own variables, then those of all signals; arguments win over both.

    Args:
        signal: The signal.
        variables: The environment.
        endpoint: Base URL, to which the signal's path is added.
        headers: Headers of requests.
        timeout: Seconds that a request may take.
        compression: `gzip` or None.
        protocol: The protocol.
        own: Whether the signal has an exporter of the caller's: which, and by what protocol, the variables then do not
            say.

    Raises:
        ValueError: A variable or an argument has a value that makes no sense; the message names it.
    """
    prefix = f"OTEL_EXPORTER_OTLP_{signal.upper()}_"

    def find(name: str) -> tuple[str, str]:
        for variable in (prefix + name, f"OTEL_EXPORTER_OTLP_{name}"):
            if value := _get(variables, variable, ""):
                return variable, value
        return f"OTEL_EXPORTER_OTLP_{name}", ""

    name, text = find("TIMEOUT")
    # In milliseconds, by the specification, which some SDKs take for seconds; and 0 is no limit, but the delivery's.
    seconds = timeout if timeout is not None else _number(name, text) / 1000 or math.inf if text else EXPORT_LIMIT
    name, text = find("HEADERS")
    return SignalSettings(
        exporter="otlp" if own else _exporter(signal, variables),
        url=_url(signal, variables, endpoint),
        headers=_pairs(name, text) if headers is None else headers,
        timeout=seconds,
        compression=_compression(*find("COMPRESSION"), compression),
        protocol=_protocol(*find("PROTOCOL"), protocol or ("http/json" if own else None)),
    )


def settings_by_signal(
    signals: Collection[Signal],
    variables: Mapping[str, str],
    general: Settings,
    *,
    sampled: Sampled | None,
    exporters: Mapping[Signal, object],
    **arguments: Any,
) -> dict[Signal, SignalSettings]:
    """Give the settings of each signal that leaves at all."""
    return {
        signal: found
        for signal in signals
        if (found := signal_settings(signal, variables, own=exporters[signal] is not None, **arguments)).exporter
        != "none"
        and not general.disabled
        and not (signal == "traces" and sampled is None and general.sampler == "never")
    }


def check_no_circle(port: int, settings: Iterable[SignalSettings]) -> None:
    """See that nothing is sent to where the function's telemetry is taken in: it would go round and round.

    Raises:
        ValueError: It would be.
    """
    for each in settings:
        parts = urlsplit(each.url)
        if each.exporter == "otlp" and parts.hostname in _HERE and parts.port == port:
            msg = (
                f"the extension would export to itself, at port {port} where it receives: pass endpoint=, and leave "
                "OTEL_EXPORTER_OTLP_ENDPOINT to the function"
            )
            raise ValueError(msg)


def _get(variables: Mapping[str, str], name: str, default: str) -> str:
    """Return a variable; an empty one counts as absent, by the specification."""
    return variables.get(name, "").strip() or default


def _exporter(signal: Signal, variables: Mapping[str, str]) -> str:
    name = f"OTEL_{signal.upper()}_EXPORTER"
    exporter = _get(variables, name, "otlp").lower()
    if exporter not in {"otlp", "console", "none"}:
        msg = f"{name}={exporter!r} is not supported: it is otlp, console or none"
        raise ValueError(msg)
    return exporter


def _url(signal: Signal, variables: Mapping[str, str], endpoint: str | None) -> str:
    name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    whole = "" if endpoint is not None else _get(variables, name, "")
    if not whole:
        name = "endpoint" if endpoint is not None else "OTEL_EXPORTER_OTLP_ENDPOINT"
        base = endpoint if endpoint is not None else _get(variables, name, _DEFAULT_ENDPOINT)
        whole = f"{base.rstrip('/')}/v1/{signal}"
    # What it is instead is not said, nor is the parser's own error: there may be a password anywhere in it.
    with contextlib.suppress(ValueError):
        parts = urlsplit(whole)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return whole
    msg = f"{name} must be a URL such as {_DEFAULT_ENDPOINT}"
    raise ValueError(msg)


def _compression(name: str, text: str, argument: Any) -> str | None:
    value = text.lower() if argument == "unset" else argument
    if value in {None, "none"}:
        return None
    if value in {"", "gzip"}:
        return "gzip"
    msg = f"{name if argument == 'unset' else 'compression'} must be gzip or none, not {value!r}"
    raise ValueError(msg)


def _protocol(name: str, text: str, argument: Protocol | None) -> Protocol:
    value = argument or text or "http/json"
    if value == "grpc":
        msg = f"{name}=grpc is not supported: set it to http/protobuf, and the endpoint's port to 4318"
        raise ValueError(msg)
    for known in get_args(Protocol):
        if value == known:
            found: Protocol = known
            return found
    msg = f"{name if argument is None else 'protocol'} must be http/json or http/protobuf, not {value!r}"
    raise ValueError(msg)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        msg = f"{name} must be a number of at least 0, not {text!r}"
        raise ValueError(msg)
    return value


def _pairs(name: str, text: str) -> dict[str, str]:
    """Read `key=value` pairs as W3C's baggage has them. A pair that is none is named without its value."""
    found = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            msg = f"{name} has a part that is not of the form key=value"
            raise ValueError(msg)
        found[key.strip()] = unquote(value.strip())
    return found
