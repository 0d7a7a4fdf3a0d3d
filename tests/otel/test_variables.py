"""OpenTelemetry's environment variables, as the specification has them."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from lambda_extension.otel._values import Limits
from lambda_extension.otel._variables import settings_of, signal_settings


def test_without_variables_everything_goes_to_the_local_port() -> None:
    found = signal_settings("traces", {})
    assert (found.exporter, found.url, found.timeout) == ("otlp", "http://localhost:4318/v1/traces", 10.0)
    assert (found.compression, found.protocol, dict(found.headers)) == ("gzip", "http/json", {})
    general = settings_of({})
    assert (general.disabled, general.service_name, general.temporality) == (False, None, "delta")
    assert (general.sampler, general.span_limits, dict(general.resource)) == ("respect", Limits(), {})


def test_a_signals_own_variables_win_and_its_endpoint_is_whole() -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318/base/",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://logs.example.com/in",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b, x = y",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "k=v",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_LOGS_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
    }
    traces, logs = (signal_settings(signal, variables) for signal in ("traces", "logs"))
    assert traces.url == "https://collector:4318/base/v1/traces"
    assert logs.url == "https://logs.example.com/in"
    assert dict(traces.headers) == {"api-key": "a b", "x": "y"}
    assert dict(logs.headers) == {"k": "v"}
    assert (traces.timeout, traces.compression, logs.compression) == (2.5, None, "gzip")
    assert traces.protocol == "http/protobuf"
    assert logs.exporter == "console"
    assert signal_settings("metrics", variables).exporter == "none"
    assert "a b" not in repr(traces)


def test_a_timeout_of_nothing_is_no_limit() -> None:
    assert signal_settings("traces", {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}).timeout == math.inf


def test_arguments_win_over_variables() -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    found = signal_settings(
        "traces",
        variables,
        endpoint="http://own:1",
        headers={"c": "d"},
        timeout=1.0,
        compression=None,
        protocol="http/json",
    )
    assert (found.url, dict(found.headers)) == ("http://own:1/v1/traces", {"c": "d"})
    assert (found.timeout, found.compression, found.protocol) == (1.0, None, "http/json")


def test_what_concerns_all_signals() -> None:
    variables = {
        "OTEL_SDK_DISABLED": "TRUE",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=live,team=a%2Cb",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "Cumulative",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "100",
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": "50",
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "9",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "3",
    }
    found = settings_of(variables)
    assert (found.disabled, found.service_name, found.temporality) == (True, "shop", "cumulative")
    assert dict(found.resource) == {"deployment.environment.name": "live", "team": "a,b"}
    assert (found.sampler, found.span_limits, found.log_limits) == ("always", Limits(100, 9), Limits(50, 3))
    assert repr(found) == "Settings(disabled=True, resource=<deployment.environment.name, team>)"


def test_a_sampler_that_is_not_known_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert settings_of({"OTEL_TRACES_SAMPLER": "jaeger_remote"}).sampler == "respect"
    assert "OTEL_TRACES_SAMPLER=jaeger_remote is not supported" in caplog.text


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported: set it to http/pro",
        ),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "x"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL must be http/json or"),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "br"}, "OTEL_EXPORTER_OTLP_COMPRESSION must be gzip or none"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "OTEL_EXPORTER_OTLP_TIMEOUT must be a number"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "-1"}, "OTEL_EXPORTER_OTLP_TIMEOUT must be a number"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "OTEL_EXPORTER_OTLP_HEADERS has a part that is not of the form"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER='zipkin' is not supported"),
    ],
)
def test_what_makes_no_sense_is_named(variables: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        signal_settings("traces", variables)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"endpoint": "ftp://user:secret@host/?token=secret"}, "endpoint must be a URL such as"),
        ({"compression": "br"}, "compression must be gzip or none, not 'br'"),
        ({"protocol": "x"}, "protocol must be http/json or http/protobuf"),
    ],
)
def test_arguments_that_make_no_sense_are_named_without_secrets(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        signal_settings("traces", {}, **arguments)
    assert "secret" not in str(caught.value)
