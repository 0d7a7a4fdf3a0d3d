"""Internal extensions: started in a thread, registered before the caller goes on, errors raised in the caller."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from http_servers import QuietHandler, running
from lambda_extension import ExtensionSession, NotInLambdaError, RegistrationError, start_internal
from lambda_extension.simulator import Simulator

EXAMPLE = Path(__file__).parent.parent.parent / "examples/internal/internal.py"
BACKENDS = [("asyncio", {}), ("asyncio", {"use_uvloop": True}), ("trio", {})]
backends = pytest.mark.parametrize(("backend", "options"), BACKENDS, ids=["asyncio", "uvloop", "trio"])


class Lambda(ThreadingHTTPServer):
    """Registers, gives one invocation, and then no event until it is closed, or SHUTDOWN if it is told to."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.status = status
        self.calls: list[tuple[str, Any]] = []
        self.reported = threading.Event()
        self.invoked = self.shuts_down = False
        self.ends = threading.Event()
        self.address = f"127.0.0.1:{self.server_address[1]}"


class Answers(QuietHandler):
    server: Lambda
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.read_body())
        self.server.calls.append((self.path.removeprefix("/2020-01-01/extension/"), body))
        self.tell(self.server.status if self.path.endswith("register") else 202, {"functionName": "orders"})
        if self.path.endswith("error"):
            self.server.reported.set()

    def do_GET(self) -> None:
        if self.server.invoked and self.server.shuts_down:
            self.tell(200, {"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 10**13})
            return
        if self.server.invoked:
            self.server.ends.wait(5)
            self.tell(500, {})
            return
        self.server.invoked = True
        self.tell(200, {"eventType": "INVOKE", "requestId": "r-1", "deadlineMs": 10**13})

    def tell(self, status: int, body: Any) -> None:
        self.answer(status, json.dumps(body).encode(), Lambda_Extension_Identifier="e-1")


@pytest.fixture
def platform(request: pytest.FixtureRequest) -> Iterator[Lambda]:
    with running(Lambda(getattr(request, "param", 200))) as platform:
        try:
            yield platform
        finally:
            platform.ends.set()
            for name in ("inside", "quiet"):
                join(name)


@backends
def test_it_has_registered_when_the_call_returns_and_goes_on_in_its_thread(
    platform: Lambda, backend: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def count(extension: ExtensionSession) -> None:
        async for invocation in extension:
            seen.append(invocation.request_id)
            raise KeyError("mine")

    registration = start_internal(
        count, name="inside", runtime_api=platform.address, backend=backend, backend_options=options
    )
    assert (registration.extension_id, registration.function_name) == ("e-1", "orders")
    assert platform.calls[0] == ("register", {"events": ["INVOKE"]})
    assert platform.reported.wait(5)
    join("inside")
    assert seen == ["r-1"]
    assert platform.calls[1][0] == "exit/error"
    assert platform.calls[1][1]["errorType"] == "Extension.KeyError"
    assert "the internal extension 'inside' has ended" in caplog.text


def join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == f"internal extension {name}":
            thread.join(5)


async def never(_: ExtensionSession) -> None:
    pytest.fail("it did not register")


@pytest.mark.parametrize("platform", [403], indirect=True)
@backends
def test_a_refused_registration_is_raised_in_the_caller(
    platform: Lambda, backend: str, options: dict[str, Any]
) -> None:
    with pytest.raises(RegistrationError):
        start_internal(never, name="inside", runtime_api=platform.address, backend=backend, backend_options=options)


def test_what_is_wrong_before_anything_is_sent_is_raised_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    with pytest.raises(NotInLambdaError):
        start_internal(never, name="inside")
    with pytest.raises(TypeError, match="name must be"):
        start_internal(never, name=3)  # type: ignore[arg-type]  # it is the point
    with pytest.raises(LookupError, match="No such backend"):
        start_internal(never, name="inside", backend="nothing")
    with pytest.raises(TypeError, match="needs a coroutine function"):
        start_internal("never", name="inside")  # type: ignore[arg-type]  # as above


@backends
def test_a_plain_function_is_refused_in_the_caller(platform: Lambda, backend: str, options: dict[str, Any]) -> None:
    """Not in the thread, where the error of an `await` would end the function's init and say nothing of the cause."""

    def plain(_: ExtensionSession) -> None:
        pass

    with pytest.raises(TypeError, match=r"needs a coroutine function \(async def\), not <function .*plain"):
        start_internal(
            plain,  # type: ignore[arg-type]  # it is the point
            name="inside",
            runtime_api=platform.address,
            backend=backend,
            backend_options=options,
        )
    join("inside")


@backends
def test_a_registration_that_nobody_answers_is_given_up(
    backend: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension._session._internal.INTERNAL_START_LIMIT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=r"'inside' could not register within 0.1 s"):
            start_internal(never, name="inside", runtime_api=address, backend=backend, backend_options=options)
        join("inside")


async def test_the_example_counts_every_invocation_of_a_light_function(tmp_path: Path) -> None:
    """Its module returns at once: a thread that was only started would register too late."""
    (tmp_path / "internal.py").write_text(EXAMPLE.read_text())
    (tmp_path / "app.py").write_text(
        "import internal\n\ndef handler(event, context):\n    return internal.invocations\n"
    )
    async with Simulator(function="app:handler", environment={"PYTHONPATH": str(tmp_path)}, timeout=10) as lambda_:
        results = [await lambda_.invoke({}) for _ in range(5)]
        # The extension learns of an invocation beside the function, so the last one may not be in its own answer.
        last = await lambda_.invoke({})
    ids = [result.request_id for result in results]
    assert isinstance(last.payload, list)
    assert last.payload[:5] == ids


def test_an_end_before_its_time_is_told(platform: Lambda) -> None:
    async def leave(extension: ExtensionSession) -> None:
        await extension.__anext__()

    start_internal(leave, name="inside", runtime_api=platform.address)
    assert platform.reported.wait(5)
    join("inside")
    assert platform.calls[-1][1]["errorType"] == "Extension.EndedBeforeShutdown"


@backends
def test_a_shutdown_that_it_cannot_have_asked_for_ends_it_quietly(
    platform: Lambda, backend: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """As an emulator may send it."""
    platform.shuts_down = True
    seen: list[str] = []

    async def count(extension: ExtensionSession) -> None:
        seen.extend([invocation.request_id async for invocation in extension])

    start_internal(count, name="inside", runtime_api=platform.address, backend=backend, backend_options=options)
    join("inside")
    assert seen == ["r-1"]
    assert [name for name, _ in platform.calls] == ["register"]
    assert [text for text in caplog.messages if "internal" in text] == []


def test_nothing_is_said_of_an_ordinary_start(platform: Lambda, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def wait(extension: ExtensionSession) -> None:
        async for _ in extension:
            platform.reported.set()

    start_internal(wait, name="quiet", runtime_api=platform.address)
    assert platform.reported.wait(5)
    assert [text for text in caplog.messages if "internal" in text] == []
