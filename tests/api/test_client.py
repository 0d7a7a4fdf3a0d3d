"""The client, call by call, against a scripted API."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import pytest

from fake_lambda import EXTENSION_ID, FakeLambda, error
from lambda_extension import (
    Buffering,
    ConnectError,
    ContainerError,
    DecodeError,
    Destination,
    Environment,
    EventType,
    ExtensionClient,
    InvokeEvent,
    LogsSubscription,
    NotInLambdaError,
    ProtocolError,
    RegistrationError,
    SchemaVersion,
    ShutdownEvent,
    ShutdownReason,
    SubscriptionError,
    TelemetryNotSupportedError,
    TelemetrySubscription,
)


def client_of(platform: FakeLambda, **settings: Any) -> ExtensionClient:
    return ExtensionClient(environment=platform.environment, http_client=platform.http, **settings)


def test_outside_lambda_the_error_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    with pytest.raises(NotInLambdaError, match="AWS_LAMBDA_RUNTIME_API"):
        ExtensionClient()


def test_runtime_api_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    assert ExtensionClient().environment.runtime_api == "127.0.0.1:9001"


async def test_register_sends_name_events_and_feature_and_gives_the_registration() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.registration["accountId"] = "111122223333"
        with pytest.raises(RuntimeError, match="not registered"):
            _ = client.registration
        registration = await client.register("my-ext.py", account_id=True)
    request = platform.requests[0]
    assert request.url == "http://lambda.test:9001/2020-01-01/extension/register"
    assert request.headers["Lambda-Extension-Name"] == "my-ext.py"
    assert request.headers["Lambda-Extension-Accept-Feature"] == "accountId"
    assert platform.calls[0][1] == {"events": ["INVOKE", "SHUTDOWN"]}
    assert registration is client.registration
    assert (registration.extension_id, registration.extension_name) == (EXTENSION_ID, "my-ext.py")
    assert (registration.function_name, registration.function_version) == ("orders", "7")
    assert (registration.handler, registration.account_id) == ("app.handler", "111122223333")


async def test_the_default_name_is_that_of_the_started_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/extensions/watch.py"])
    async with FakeLambda() as platform, client_of(platform) as client:
        assert (await client.register()).extension_name == "watch.py"
        assert "Lambda-Extension-Accept-Feature" not in platform.requests[0].headers


async def test_on_managed_instances_invoke_is_not_asked_for() -> None:
    async with FakeLambda(initialization_type="lambda-managed-instances") as platform, client_of(platform) as client:
        assert (await client.register("x")).events == (EventType.SHUTDOWN,)
        assert platform.calls == [("register", {"events": ["SHUTDOWN"]})]


async def test_a_refused_invoke_falls_back_to_shutdown_alone() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.fail("register", error(403, "Extension.InvalidEventType", "INVOKE: ErrorInvalidEventType"))
        assert (await client.register("x")).events == (EventType.SHUTDOWN,)
        assert [body["events"] for _, body in platform.calls] == [["INVOKE", "SHUTDOWN"], ["SHUTDOWN"]]


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (["INVOKE"], "Extension.InvalidEventType"),
        (["SHUTDOWN"], "Extension.InvalidEventType"),
        (["INVOKE", "SHUTDOWN"], "Extension.TooManyExtensions"),
    ],
)
async def test_a_registration_that_no_fallback_helps_is_refused(events: list[str], kind: str) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.fail("register", error(403, kind, "no"))
        with pytest.raises(RegistrationError, match=f"register was answered 403: {kind}: no") as caught:
            await client.register("x", events=events)
        assert (caught.value.status, caught.value.error_type, caught.value.message) == (403, kind, "no")
        assert len(platform.calls) == 1


async def test_a_platform_failure_is_a_container_error() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.fail("register", error(500, "InternalServerError", "Internal Server Error"))
        with pytest.raises(ContainerError):
            await client.register("x")


async def test_a_broken_connection_is_a_connect_error() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.fail("register", httpx.ConnectError("refused"))
        with pytest.raises(ConnectError, match="register: no answer from the Lambda API: ConnectError: refused"):
            await client.register("x")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_an_unreadable_answer_names_the_call(content: bytes) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.fail("event/next", httpx.Response(200, content=content))
        with pytest.raises(DecodeError, match="next"):
            await client.next_event()


async def test_an_unreadable_error_body_is_kept_as_text() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.fail("register", httpx.Response(403, content=b'{"errorMessage":"a "quote""}'))
        with pytest.raises(RegistrationError, match="quote") as caught:
            await client.register("x")
        assert caught.value.error_type == ""


async def test_an_error_without_a_body_says_so() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.fail("register", httpx.Response(403, json={}))
        with pytest.raises(RegistrationError, match="403: no reason given"):
            await client.register("x")


async def test_next_gives_invoke_with_tracing_then_shutdown_then_refuses() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        invoke = {
            "eventType": "INVOKE",
            "deadlineMs": 1772359203000,
            "requestId": "r",
            "invokedFunctionArn": "arn",
            "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-2-3"},
            "novelty": 1,
        }
        platform.fail("event/next", httpx.Response(200, json=invoke))
        event = await client.next_event()
        assert isinstance(event, InvokeEvent)
        assert (event.deadline_ms, event.request_id, event.invoked_function_arn) == (1772359203000, "r", "arn")
        assert event.tracing is not None
        assert event.tracing.value == "Root=1-2-3"
        assert platform.requests[-1].headers["Lambda-Extension-Identifier"] == EXTENSION_ID
        assert platform.requests[-1].extensions["timeout"]["read"] is None
        platform.shut_down("SandboxTerminated")
        last = await client.next_event()
        assert isinstance(last, ShutdownEvent)
        assert last.shutdown_reason == "SandboxTerminated"
        assert not last.shutdown_reason.is_known
        with pytest.raises(RuntimeError, match="no next event"):
            await client.next_event()


@pytest.mark.parametrize("given", ["timeout", "Timeout"])
async def test_known_shutdown_reasons_match_regardless_of_case(given: str) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.shut_down(given)
        event = await client.next_event()
        assert isinstance(event, ShutdownEvent)
        assert event.shutdown_reason is ShutdownReason.TIMEOUT
        assert event.shutdown_reason.is_known


@pytest.mark.parametrize(
    "body",
    [
        {"eventType": "INVOKE", "deadlineMs": 1},
        {"eventType": "SHUTDOWN", "deadlineMs": None},
        {"eventType": "INVOKE", "deadlineMs": 1e999, "requestId": "r"},
        {},
    ],
)
async def test_an_event_of_another_shape_is_a_decode_error(body: dict[str, Any]) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        content = json.dumps(body).replace("Infinity", "1e999").encode()
        platform.fail("event/next", httpx.Response(200, content=content))
        with pytest.raises(DecodeError, match="next: "):
            await client.next_event()


async def test_an_event_of_an_unknown_type_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        dance = httpx.Response(200, json={"eventType": "DANCE", "partner": 1})
        platform.fail("event/next", dance, dance)
        platform.invoke("r-1")
        event = await client.next_event()
        assert isinstance(event, InvokeEvent)
        assert event.request_id == "r-1"
        assert caplog.messages == ["passed over an event of the unknown type 'DANCE'"] * 2


@pytest.mark.parametrize(
    ("tracing", "value"),
    [("Root=1-2-3", "Root=1-2-3"), (3, None), ([], None), (None, None), ({"value": 5}, "5"), ({}, "")],
)
async def test_tracing_of_another_shape_costs_no_invocation(tracing: Any, value: str | None) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        body = {"eventType": "INVOKE", "deadlineMs": 1, "requestId": "r", "tracing": tracing}
        platform.fail("event/next", httpx.Response(200, json=body))
        event = await client.next_event()
        assert isinstance(event, InvokeEvent)
        assert (None if event.tracing is None else event.tracing.value) == value


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>"])
async def test_a_registration_without_a_readable_body_is_one_all_the_same(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeLambda(function_name="orders", function_version="8") as platform, client_of(platform) as client:
        headers = {"Lambda-Extension-Identifier": EXTENSION_ID}
        platform.fail("register", httpx.Response(200, content=content, headers=headers))
        registration = await client.register("x")
        assert registration.extension_id == EXTENSION_ID
        assert (registration.function_name, registration.function_version) == ("orders", "8")
        assert "going on without what the registration says of the function" in caplog.text


async def test_a_registration_without_an_identifier_is_refused() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        platform.fail("register", httpx.Response(200, json=platform.registration))
        with pytest.raises(RegistrationError, match="no Lambda-Extension-Identifier"):
            await client.register("x")


@pytest.mark.parametrize("name", ["a\r\nX-Other: b", "a\nb", "ä", " a", "a\x00", "\x7f"])
async def test_a_name_that_no_header_can_carry_is_refused(name: str) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        with pytest.raises(ValueError, match="cannot register as"):
            await client.register(name)
        assert platform.names == []


async def test_without_any_name_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [""])  # as in an interactive session
    async with FakeLambda() as platform, client_of(platform) as client:
        with pytest.raises(ValueError, match="pass the complete file name"):
            await client.register()


async def test_every_call_is_a_line_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lambda_extension")
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.fail("init/error", httpx.ConnectError("refused"))
        with pytest.raises(ConnectError):
            await client.init_error(KeyError("secret"))
    assert [message for name, _, message in caplog.record_tuples if name == "lambda_extension"] == [
        "register: POST /2020-01-01/extension/register was answered 200",
        "init/error: POST /2020-01-01/extension/init/error failed: ConnectError: refused",
    ]


async def test_an_error_is_reported_whatever_its_message_is() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise KeyError

    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        await client.init_error(ValueError("no file \udcff"))
        assert platform.calls[-1][1]["errorMessage"] == "no file \\udcff"
        assert platform.calls[-1][1]["stackTrace"] == ["ValueError: no file \\udcff"]
        await client.init_error(MuteError())
        assert platform.calls[-1][1]["errorType"] == "Extension.MuteError"
        assert platform.calls[-1][1]["errorMessage"] == "its message cannot be made: str() of it fails"


async def test_of_a_group_with_one_leaf_the_leaf_is_reported() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        await client.init_error(ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError("leaf")])]))
        assert platform.calls[-1][1]["errorType"] == "Extension.KeyError"
        assert platform.calls[-1][1]["errorMessage"] == "'leaf'"
        await client.init_error(ExceptionGroup("both", [KeyError("a"), ValueError("b")]))
        assert platform.calls[-1][1]["errorType"] == "Extension.ExceptionGroup"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_an_httpx_client_with_a_proxy_of_the_environment_is_refused_with_the_mend(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://proxy.example:3128")
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    async with httpx.AsyncClient() as http:
        with pytest.raises(ValueError, match=r"trust_env=False.*add 169.254.100.1 to NO_PROXY"):
            ExtensionClient("169.254.100.1:9001", http_client=http)
        monkeypatch.setenv("NO_PROXY", "169.254.100.1")
        ExtensionClient("169.254.100.1:9001", http_client=http)
    monkeypatch.delenv("NO_PROXY")
    async with httpx.AsyncClient(trust_env=False) as http:
        ExtensionClient("169.254.100.1:9001", http_client=http)


async def test_a_second_concurrent_next_never_reaches_the_wire() -> None:
    async with FakeLambda() as platform, client_of(platform) as client, anyio.create_task_group() as tasks:
        await client.register("x")
        tasks.start_soon(client.next_event)
        with anyio.fail_after(5):
            await platform.waiting.wait()
        with pytest.raises(anyio.BusyResourceError):
            await client.next_event()
        assert platform.names.count("event/next") == 1
        tasks.cancel_scope.cancel()


async def test_after_a_cancelled_next_the_client_refuses_itself() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.next_event)
            with anyio.fail_after(5):
                await platform.waiting.wait()
            tasks.cancel_scope.cancel()
        with pytest.raises(RuntimeError, match="lost for good"):
            await client.next_event()


async def test_a_next_refused_by_the_platform_is_a_protocol_error() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.fail("event/next", error(403, "Extension.InvalidExtensionState", "State transition"))
        with pytest.raises(ProtocolError):
            await client.next_event()


async def test_errors_are_reported_with_type_message_and_trace() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        try:
            raise KeyError("port")
        except KeyError as failure:
            await client.init_error(failure)
            await client.exit_error(failure, error_type="Extension.Bad\r\nConfig ü")
            await client.exit_error(failure, error_type="\n")
    kinds = [request.headers["Lambda-Extension-Function-Error-Type"] for request in platform.requests[1:]]
    assert kinds == ["Extension.KeyError", "Extension.BadConfig", "Extension.ExitError"]
    name, body = platform.calls[1]
    assert (name, body["errorType"], body["errorMessage"]) == ("init/error", "Extension.KeyError", "'port'")
    assert any("test_client.py" in line for line in body["stackTrace"])


@pytest.mark.parametrize(
    ("kind", "version"),
    [(None, "2022-12-13"), ("on-demand", "2022-12-13"), ("lambda-managed-instances", "2025-01-29")],
)
async def test_telemetry_subscription_on_the_wire(kind: str | None, version: str) -> None:
    async with FakeLambda(initialization_type=kind) as platform, client_of(platform) as client:
        await client.register("x")
        await client.subscribe_telemetry(TelemetrySubscription(), Destination(port=4243, path="/e"))
        assert platform.requests[-1].method == "PUT"
        assert platform.calls[-1] == (
            "telemetry",
            {
                "schemaVersion": version,
                "types": ["platform", "function"],
                "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/e"},
                "buffering": {"maxItems": 10_000, "maxBytes": 262_144, "timeoutMs": 25},
            },
        )


async def test_an_explicit_schema_version_and_tcp_are_sent_as_given() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.fail("telemetry", httpx.Response(200, content=b'"OK"'))
        subscription = TelemetrySubscription(
            types=["extension", "extension"],
            schema_version=SchemaVersion.V2022_07_01,
            buffering=Buffering(max_items=1000, max_bytes=1_048_576, timeout_ms=30_000),
        )
        await client.subscribe_telemetry(subscription, Destination(protocol="TCP", port=4243))
        body = platform.calls[-1][1]
        assert (body["schemaVersion"], body["types"]) == ("2022-07-01", ["extension"])
        assert body["destination"] == {"protocol": "TCP", "port": 4243}


async def test_logs_subscription_warns_of_its_deprecation() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.fail("/2020-08-15/logs", httpx.Response(200, content=b'"OK"'))
        with pytest.warns(DeprecationWarning, match="Logs API"):
            await client.subscribe_logs(LogsSubscription(), Destination(port=4243))
        assert platform.calls[-1][1]["schemaVersion"] == "2021-03-18"


@pytest.mark.parametrize("answer", [error(202, "Telemetry.NotSupported", "Telemetry API is not supported"), error(404)])
async def test_where_there_is_no_telemetry_the_error_says_so(answer: httpx.Response) -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.fail("telemetry", answer)
        with pytest.raises(TelemetryNotSupportedError):
            await client.subscribe_telemetry(TelemetrySubscription(), Destination(port=1))


async def test_a_refused_subscription_is_a_subscription_error() -> None:
    async with FakeLambda() as platform, client_of(platform) as client:
        await client.register("x")
        platform.fail("telemetry", error(403, "Telemetry.SubscriptionClosed", "closed"))
        with pytest.raises(SubscriptionError, match="SubscriptionClosed"):
            await client.subscribe_telemetry(TelemetrySubscription(), Destination(port=1))


async def test_the_own_http_client_is_closed_and_a_passed_one_stays_open() -> None:
    async with FakeLambda() as platform:
        async with client_of(platform) as client:
            pass
        assert not platform.http.is_closed
        with pytest.raises(RuntimeError, match="only once"):
            async with client:
                pass
        own = ExtensionClient("127.0.0.1:1", environment=Environment())
        with pytest.raises(RuntimeError, match="not open"):
            await own.register("x")
        async with own:
            with pytest.raises(ConnectError):
                await own.register("x")
        with pytest.raises(RuntimeError, match="not open"):
            await own.register("x")
