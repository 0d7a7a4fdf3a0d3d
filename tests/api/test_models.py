"""Settings are checked before anything is sent; the environment is read as it is."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_extension import (
    Buffering,
    Destination,
    Environment,
    InitializationType,
    LogsSchemaVersion,
    LogsSubscription,
    ShutdownReason,
    TelemetrySubscription,
    TelemetryType,
)


@pytest.mark.parametrize(
    "setting",
    [
        {"max_items": 999},
        {"max_items": 10_001},
        {"max_bytes": 262_143},
        {"max_bytes": 1_048_577},
        {"timeout_ms": 24},
        {"timeout_ms": 30_001},
    ],
)
def test_buffering_outside_its_limits_is_refused_by_name(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"Buffering.{next(iter(setting))} must be"):
        Buffering(**setting)


@pytest.mark.parametrize("setting", [{"timeout_ms": 100.5}, {"timeout_ms": True}, {"max_items": "1000"}])
def test_buffering_of_another_type_is_a_type_error(setting: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"Buffering.{next(iter(setting))} must be"):
        Buffering(**setting)


@pytest.mark.parametrize("kind", [TelemetrySubscription, LogsSubscription])
@pytest.mark.parametrize(
    ("setting", "name"), [({"types": "platform"}, "types"), ({"types": 3}, "types"), ({"buffering": 25}, "buffering")]
)
def test_a_subscription_of_another_type_is_a_type_error(kind: Any, setting: dict[str, Any], name: str) -> None:
    with pytest.raises(TypeError, match=name):
        kind(**setting)


@pytest.mark.parametrize(
    ("subscription", "sees_ends"),
    [
        (TelemetrySubscription(), True),
        (TelemetrySubscription(types=["function", "extension"]), False),
        (LogsSubscription(), True),
        (LogsSubscription(types=["function"]), False),
        (LogsSubscription(schema_version=LogsSchemaVersion.V2020_08_15), False),
    ],
)
def test_a_subscription_knows_whether_it_sees_the_end_of_an_invocation(
    subscription: TelemetrySubscription | LogsSubscription, sees_ends: bool
) -> None:
    assert subscription.sees_ends is sees_ends


@pytest.mark.parametrize("kind", [TelemetrySubscription, LogsSubscription])
@pytest.mark.parametrize("types", [[], ["weather"]])
def test_types_that_the_api_does_not_have_are_refused(kind: Any, types: Any) -> None:
    with pytest.raises(ValueError, match=r"telemetry type|valid TelemetryType"):
        kind(types=types)


def test_an_unknown_schema_version_is_refused() -> None:
    with pytest.raises(ValueError, match="2031"):
        TelemetrySubscription(schema_version="2031-01-01")


@pytest.mark.parametrize("setting", [{"port": 0}, {"port": 65_536}, {"path": "x"}, {"protocol": "UDP"}])
def test_an_impossible_destination_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Destination(**{"port": 4243, **setting})


def test_environment_reads_what_lambda_sets() -> None:
    environment = Environment.from_mapping(
        {
            "AWS_LAMBDA_RUNTIME_API": "169.254.100.1:9001",
            "AWS_LAMBDA_FUNCTION_NAME": "orders",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_REGION": "eu-west-1",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances",
            "_X_AMZN_TRACE_ID": "Root=1-2-3",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
        }
    )
    assert environment == Environment(
        runtime_api="169.254.100.1:9001",
        function_name="orders",
        function_version="$LATEST",
        memory_size_mb=512,
        region="eu-west-1",
        initialization_type=InitializationType.MANAGED_INSTANCES,
        trace_id="Root=1-2-3",
        log_format="JSON",
    )
    assert environment.is_managed_instance


@pytest.mark.parametrize("variables", [{}, {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "lots", "AWS_REGION": ""}])
def test_what_is_absent_or_unreadable_is_none(variables: dict[str, str]) -> None:
    assert Environment.from_mapping(variables) == Environment()
    assert not Environment().is_managed_instance


def test_region_falls_back_to_the_default_region() -> None:
    assert Environment.from_mapping({"AWS_DEFAULT_REGION": "eu-north-1"}).region == "eu-north-1"


def test_open_enumerations_keep_what_they_do_not_know() -> None:
    novel = ShutdownReason("hibernation")
    assert novel == "hibernation"
    assert str(novel) == novel.value == novel.name == "hibernation"
    assert not novel.is_known
    assert len(ShutdownReason) == 4
    with pytest.raises(ValueError, match="3"):
        ShutdownReason(3)  # type: ignore[arg-type]  # not a string at all


def test_types_are_given_once_each() -> None:
    assert TelemetrySubscription(types=["function", TelemetryType.FUNCTION]).types == (TelemetryType.FUNCTION,)
