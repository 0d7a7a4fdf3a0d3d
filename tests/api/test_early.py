"""Registering at process start: who registers later takes the call over, and none of its errors is lost."""

from __future__ import annotations

import os
import posix
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from answering_lambda import ACCEPTED, REFUSED, REGISTERED, serving

from lambda_extension import (
    ConnectError,
    EventType,
    ExtensionClient,
    NotInLambdaError,
    RegistrationError,
    early,
    open_extension,
)
from lambda_extension._api._register import take_early


@pytest.fixture(autouse=True)
def a_process_that_has_just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "_sent", None)
    monkeypatch.setattr(sys, "argv", ["/opt/extensions/my-extension.py"])


@pytest.mark.parametrize("kind", ["", "on-demand", "lambda-managed-instances", "Lambda-Managed-Instances"])
@pytest.mark.parametrize("account_id", [True, False])
@pytest.mark.parametrize("events", [None, [EventType.SHUTDOWN], ["INVOKE", "SHUTDOWN", "INVOKE"]])
async def test_it_is_to_the_byte_what_the_client_sends(
    events: Iterable[str] | None, account_id: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(REGISTERED, REGISTERED) as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
        async with ExtensionClient() as client:
            plain = await client.register(events=events, account_id=account_id)
        early.register(events=events, account_id=account_id)
        async with ExtensionClient() as client:
            assert await client.register(events=events, account_id=account_id) == plain
        assert served.requests[0] == served.requests[1]
        assert served.connections == 2


async def test_what_opens_an_extension_takes_it_over_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(REGISTERED, ACCEPTED) as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        early.register(name="another", account_id=True)
        async with open_extension() as extension:
            assert extension.registration.extension_id == "e-1"
            assert extension.registration.extension_name == "another"
        assert served.connections == 1


async def test_the_users_own_client_gets_the_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(REGISTERED) as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        early.register()
        async with httpx.AsyncClient() as http, ExtensionClient(http_client=http) as client:
            assert (await client.register()).extension_id == "e-1"
        assert served.connections == 1


async def test_without_os_the_variables_are_those_that_the_process_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher has not imported it: that takes as long as a quarter of the interpreter's start."""
    async with serving(REGISTERED) as served:
        monkeypatch.delenv("AWS_LAMBDA_INITIALIZATION_TYPE", raising=False)
        monkeypatch.setitem(posix.environ, b"AWS_LAMBDA_RUNTIME_API", served.address.encode())
        monkeypatch.setitem(posix.environ, b"AWS_LAMBDA_INITIALIZATION_TYPE", b"lambda-managed-instances")
        with monkeypatch.context() as context:
            context.delitem(sys.modules, "os")
            early.register()
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        async with ExtensionClient() as client:
            await client.register(events=["SHUTDOWN"])
        assert served.connections == 1


async def test_it_is_taken_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(REGISTERED, REGISTERED) as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        early.register()
        for _ in range(2):
            async with ExtensionClient() as client:
                await client.register()
        assert served.connections == 2


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ({"name": "y"}, "has registered the name x, but now it is y"),
        ({"events": ["SHUTDOWN"]}, "has registered for INVOKE and SHUTDOWN, but now it is SHUTDOWN"),
        ({"account_id": True}, "has registered with account_id = False, but now it is True"),
        ({"runtime_api": "127.0.0.1:1"}, "has registered with the API at 127.*, but now it is 127.0.0.1:1"),
    ],
)
async def test_another_registration_later_is_an_error_that_says_so(
    later: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", f"127.0.0.1:{server.getsockname()[1]}")
        early.register(name="x")
        with pytest.raises(RuntimeError, match=said):
            async with open_extension(**later):  # type: ignore[arg-type]  # of several types
                pass
        peer, _ = server.accept()
        with peer:
            assert peer.recv(10_000).startswith(b"POST /2020-01-01/extension/register")
            assert peer.recv(1) == b""  # closed with the error


async def test_where_invoke_is_refused_it_is_asked_for_without(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(REFUSED, REGISTERED) as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        early.register()
        async with open_extension() as extension:
            assert extension.registration.events == (EventType.SHUTDOWN,)
        assert [b"INVOKE" in request for request in served.requests] == [True, False]


async def test_a_refusal_comes_where_it_would_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(REFUSED) as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        early.register(events=["SHUTDOWN"])
        with pytest.raises(RegistrationError, match="INVOKE is not to be had here"):
            async with open_extension(events=["SHUTDOWN"]):
                pass
        assert served.connections == 1


async def test_no_answer_is_the_clients_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", f"127.0.0.1:{server.getsockname()[1]}")
        early.register()
        peer, _ = server.accept()
        peer.recv(10_000)
        peer.close()
        with pytest.raises(ConnectError, match="register: no answer from the Lambda API"):
            async with open_extension():
                pass


async def test_outside_of_lambda_whoever_registers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    early.register()
    with pytest.raises(NotInLambdaError):
        async with open_extension():
            pass


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "[::1]:1", "127.0.0.1:none", "127.0.0.1:99999", "no-such-host.invalid:1"]
)
def test_where_nobody_takes_the_call_it_is_left_to_whoever_registers(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", address)
    early.register()
    assert early.sent_name() is None


@pytest.mark.parametrize("name", ["a\r\nX-Other: b", " a", "ä"])
async def test_what_is_no_header_never_gets_into_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        early.register(name=name)
        assert early.sent_name() is None
        assert served.connections == 0


async def test_a_connection_that_broke_meanwhile_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", address)
        early.register(name="x")
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert await take_early(address, "x", tuple(EventType), account_id=False) is None


async def test_a_cancelled_registration_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", address)
        early.register(name="x")
        peer, _ = server.accept()
        with peer:
            peer.recv(10_000)
            with anyio.CancelScope() as scope:
                scope.cancel()
                async with ExtensionClient() as client:
                    await client.register()
            assert await anyio.to_thread.run_sync(peer.recv, 1) == b""


def test_a_second_call_does_nothing_if_it_asks_for_the_same_and_is_refused_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", address)
        early.register(name="x")
        early.register()
        early.register(name="x", events=["SHUTDOWN", "INVOKE"])
        others: list[tuple[dict[str, Any], str]] = [
            ({"name": "y"}, "the name x, but now it is y"),
            ({"events": ["SHUTDOWN"]}, "for INVOKE and SHUTDOWN, but now it is SHUTDOWN"),
            ({"account_id": True}, "with account_id = False, but now it is True"),
        ]
        for other, reason in others:
            with pytest.raises(RuntimeError, match=reason):
                early.register(**other)
        server.accept()[0].close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()  # it was sent once
        descriptor = early.take(address, "x", ["SHUTDOWN", "INVOKE"], account_id=False)
        assert descriptor is not None
        os.close(descriptor)


def test_an_unknown_event_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="'NOTHING' is not a valid EventType"):
        early.register(events=["NOTHING"])


LAUNCHER = """
import sys
before = set(sys.modules)
sys.path.insert(0, {folder!r}); import early; del sys.path[0]
early.register(name="x", events=["SHUTDOWN"])
origins = {{name: module.__spec__.origin for name, module in sys.modules.items() if name not in before}}
print(*(name for name, origin in origins.items() if origin != "built-in"), flush=True)
sys.stdin.readline()
sys.path[:0] = {path!r}
import anyio
from lambda_extension import open_telemetry
async def main():
    async with open_telemetry():
        pass
try:
    anyio.run(main, backend={backend!r})
except Exception as error:
    print(repr(error))
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_is_on_the_wire_before_anything_but_what_is_built_in_is_imported(backend: str) -> None:
    folder = str(Path(early.__file__).parent)
    script = LAUNCHER.format(folder=folder, path=sys.path, backend=backend)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        environment = {**os.environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}"}
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            peer, _ = server.accept()
            with peer:
                peer.settimeout(5)
                # It waits for a line before it imports the rest, and the request is here.
                request = peer.recv(10_000)
                assert request.startswith(b"POST /2020-01-01/extension/register HTTP/1.1\r\n")
                assert request.endswith(b'\r\n\r\n{"events":["SHUTDOWN"]}')
                imported = set(process.stdout.readline().split())
                assert imported - {"_socket"} == {"early", "lambda_extension.early"}
                process.stdin.write("\n")
                process.stdin.flush()
                peer.sendall(REFUSED)
                assert "INVOKE is not to be had here" in process.stdout.readline()
            server.settimeout(0)
            with pytest.raises(BlockingIOError):
                server.accept()  # there was no second call


def test_the_line_in_a_script_imports_no_more_than_the_list_of_names() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from lambda_extension import early; early.register()\n"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    expected = {"lambda_extension", "lambda_extension._lazy", "lambda_extension.early", "_socket"}
    assert set(done.stdout.split()) <= expected
