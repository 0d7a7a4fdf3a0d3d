"""A setting of another type is refused at once, by name, wherever it stands."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import httpx
import pytest

from lambda_extension import Environment, ExtensionClient
from lambda_extension.delivery import (
    Adaptive,
    Batching,
    Breaker,
    Delivery,
    EndOfInvocation,
    Every,
    HTTPSink,
    Limits,
    OnSize,
    Retry,
    Spill,
)
from lambda_extension.delivery.sinks import Syslog5424
from lambda_extension.records import Holding, JoinLines
from lambda_extension.telemetry import ReceiverSettings

SETTINGS: list[Any] = [
    Adaptive,
    Batching,
    Breaker,
    EndOfInvocation,
    Every,
    Holding,
    JoinLines,
    Limits,
    OnSize,
    ReceiverSettings,
    Retry,
    Spill,
    Syslog5424,
]
# Of every field that has a number by its annotation, or a text.
NUMBERS = [
    pytest.param(kind, field.name, id=f"{kind.__name__}.{field.name}")
    for kind in SETTINGS
    for field in attrs.fields(kind)
    if str(field.type).startswith(("int", "float"))
]


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@pytest.mark.parametrize("value", ["7", True, [], object], ids=repr)
def test_a_setting_that_is_no_number_is_refused_by_name(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\.{name} must be a"):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), -1, -0.5])
def test_a_number_that_makes_no_sense_is_refused_by_name(kind: Any, name: str, value: float) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"^{kind.__name__}\.{name} must be a"):
        kind(**{name: value})


def test_a_host_is_a_text() -> None:
    with pytest.raises(TypeError, match=r"ReceiverSettings\.host must be a string or None, not 3"):
        ReceiverSettings(host=3)  # type: ignore[arg-type]  # it is the point


SINK = HTTPSink("https://logs.example.com")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("sink", 3),
        ("sink", HTTPSink),
        ("name", 3),
        ("batching", 100),
        ("retry", 3),
        ("breaker", False),
        ("spill", "/tmp/here"),
        ("max_buffered_bytes", 1e6),
        ("send_timeout", "1"),
    ],
)
def test_a_delivery_refuses_what_is_of_another_type(setting: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{setting} must be"):
        Delivery(**{"sink": SINK, "spill": None, setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("headers", [("Authorization", "canary")]),
        ("timeout", "1"),
        ("timeout", None),
        ("http_client", httpx.AsyncClient),
    ],
)
def test_a_sink_refuses_what_is_of_another_type_and_shows_no_secret(setting: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{setting} must be") as caught:
        HTTPSink(**{"url": "https://logs.example.com", setting: value})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", [b"https://user:canary@logs.example.com", None, 3])
def test_a_url_of_another_type_is_refused_and_not_shown(url: Any) -> None:
    with pytest.raises(TypeError, match="HTTPSink needs a URL") as caught:
        HTTPSink(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"), [("runtime_api", 9001), ("environment", {}), ("http_client", httpx.AsyncClient)]
)
def test_a_client_refuses_what_is_of_another_type(setting: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"runtime_api": "127.0.0.1:1", "environment": Environment(), setting: value}
    with pytest.raises(TypeError, match=f"^{setting} must be"):
        ExtensionClient(**wrong)
    monkeypatch.delitem(sys.modules, "httpx")
    with pytest.raises(TypeError, match=f"^{setting} must be"):
        ExtensionClient(**wrong)
