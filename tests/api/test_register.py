"""Registering before the rest is imported: the same call as the client's, and none of its errors lost."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress

import anyio
import anyio.abc
import pytest
from answering_lambda import ACCEPTED, REFUSED, REGISTERED, serving

from lambda_extension import (
    ConnectError,
    Environment,
    EventType,
    ExtensionClient,
    InitializationType,
    NotInLambdaError,
    RegistrationError,
    open_extension,
)
from lambda_extension._api._register import send_register
from lambda_extension._api._transport import Connections


@pytest.mark.parametrize("kind", [None, InitializationType.ON_DEMAND, InitializationType.MANAGED_INSTANCES])
@pytest.mark.parametrize("account_id", [True, False])
@pytest.mark.parametrize("events", [None, [EventType.SHUTDOWN], ["INVOKE", "SHUTDOWN", "INVOKE"]])
async def test_it_is_to_the_byte_what_the_client_sends(
    events: Iterable[EventType | str] | None, account_id: bool, kind: InitializationType | None
) -> None:
    async with serving(REGISTERED, ACCEPTED, REGISTERED) as served:
        environment = Environment(runtime_api=served.address, initialization_type=kind)
        async with open_extension(
            name="my-extension.py", events=events, account_id=account_id, environment=environment
        ):
            pass  # ends before SHUTDOWN, of which Lambda is told
        async with ExtensionClient(environment=environment) as client:
            await client.register("my-extension.py", events=events, account_id=account_id)
        assert served.requests[0] == served.requests[2]
        assert served.connections == 2


@pytest.mark.parametrize("kind", ["", "on-demand", "lambda-managed-instances", "Lambda-Managed-Instances"])
async def test_the_environment_of_the_process_says_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(REGISTERED) as served:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", served.address)
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
        async with open_extension(name="x", events=iter(EventType)) as extension:
            assert extension.registration.extension_id == "e-1"
            expected = (EventType.SHUTDOWN,) if "nstances" in kind else (EventType.INVOKE, EventType.SHUTDOWN)
            assert extension.registration.events == expected
        body = served.requests[0].split(b"\r\n\r\n")[1]
        assert body == b'{"events":[%s]}' % ",".join(f'"{event}"' for event in expected).encode()


async def test_where_invoke_is_refused_it_is_asked_for_without() -> None:
    async with serving(REFUSED, REGISTERED) as served:
        async with open_extension(name="x", runtime_api=served.address) as extension:
            assert extension.registration.events == (EventType.SHUTDOWN,)
        assert [b"INVOKE" in request for request in served.requests] == [True, False]


async def test_a_refusal_is_the_clients() -> None:
    async with serving(REFUSED) as served:
        with pytest.raises(RegistrationError, match="INVOKE is not to be had here"):
            async with open_extension(name="x", events=["SHUTDOWN"], runtime_api=served.address):
                pass


async def test_an_unknown_event_is_refused_before_anything_is_sent() -> None:
    async with serving() as served:
        with pytest.raises(ValueError, match="NOTHING"):
            async with open_extension(name="x", events=["NOTHING"], runtime_api=served.address):
                pass
        assert served.connections == 0


@pytest.mark.parametrize("name", ["a\r\nX-Other: b", " a", "ä"])
async def test_what_is_no_header_never_gets_into_one(name: str) -> None:
    async with serving(REGISTERED) as served:
        with pytest.raises(ValueError, match="cannot register as"):
            async with open_extension(name=name, runtime_api=served.address):
                pass
        assert served.connections == 0


async def test_outside_of_lambda_the_client_says_so() -> None:
    with pytest.raises(NotInLambdaError):
        async with open_extension(name="x", environment=Environment()):
            pass


async def test_where_nobody_listens_the_client_says_so() -> None:
    with pytest.raises(ConnectError, match="register: no answer from the Lambda API"):
        async with open_extension(name="x", runtime_api="127.0.0.1:1"):
            pass


LONG = "x" * 10_000_000  # more than the socket buffers hold


@contextmanager
def listening() -> Generator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server, f"127.0.0.1:{server.getsockname()[1]}"


async def test_a_connection_that_breaks_is_left_to_the_client() -> None:
    with listening() as (server, address):

        def reset() -> None:
            peer, _ = server.accept()
            peer.recv(1)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, reset)
            assert await send_register(address, LONG, (), account_id=False) is None


async def test_a_cancelled_call_closes_its_connection() -> None:
    with listening() as (server, address):
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                await send_register(address, LONG, (), account_id=False)

            tasks.start_soon(send)
            peer, _ = await anyio.to_thread.run_sync(server.accept)
            await anyio.to_thread.run_sync(peer.recv, 1)
            tasks.cancel_scope.cancel()

        def read_to_the_end() -> None:
            with peer, suppress(ConnectionResetError):
                peer.settimeout(5)
                while peer.recv(1_000_000):
                    pass

        await anyio.to_thread.run_sync(read_to_the_end)


async def test_an_answer_that_nobody_asks_for_is_closed_with_the_client() -> None:
    async with serving(REGISTERED) as served:
        stream = await send_register(served.address, "x", (), account_id=False)
        assert stream is not None
        connections = Connections(served.address, under_way=stream)
        await connections.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()


SCRIPT = """
import os, socket, sys

server = socket.create_server(("127.0.0.1", 0))
server.settimeout(5)

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("attr", "attrs", "h11", "msgspec"):
            peer, _ = server.accept()
            print(name, "after", peer.recv(1000).split(b" HTTP")[0].decode(), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
import anyio
from lambda_extension import open_telemetry

async def main():
    async with open_telemetry(name="x", runtime_api="127.0.0.1:%d" % server.getsockname()[1]):
        pass

anyio.run(main)
"""


def test_it_is_on_its_way_before_the_rest_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout.split(" after ")[1] == "POST /2020-01-01/extension/register\n"
