"""An HTTP sink's own connections: names with several addresses or none, resolvers that hang, TLS, broken answers."""

from __future__ import annotations

import functools
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, final

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.streams.tls
import pytest
import trustme

from lambda_extension._threads import look_up
from lambda_extension.delivery import HTTPSink, Payload, SinkError
from lambda_extension.delivery._reaching import reach
from lambda_extension.delivery.sinks import syslog

PAYLOAD = Payload(id="batch-1", body=b"[]", items=1, content_type="application/json")
Resolver = Callable[..., list[Any]]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[[Resolver], None]:
    return functools.partial(monkeypatch.setattr, socket, "getaddrinfo")


def giving(*addresses: str) -> Resolver:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, family: int = 0, kind: int = 0, *others: Any, **options: Any) -> list[Any]:
        if host != b"sink.test":  # what the event loop asks for the listener
            return real(host, port, family, kind, *others, **options)
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]

    return getaddrinfo


async def answer(body: bytes, stream: anyio.abc.ByteStream) -> None:
    async with stream:
        try:
            await stream.receive()
            await stream.send(body)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


async def test_every_address_of_a_name_is_tried(resolver: Callable[[Resolver], None]) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.start_soon(listener.serve, functools.partial(answer, GOOD))
        resolver(giving("127.0.0.2", "127.0.0.1"))  # nobody listens at the first
        async with HTTPSink(f"http://sink.test:{port}/") as sink:
            with anyio.fail_after(5):
                await sink.send(PAYLOAD)
        other = syslog("sink.test", port, tls=False)
        with anyio.fail_after(5):
            await other.send(PAYLOAD)
        await other.aclose()
        tasks.cancel_scope.cancel()


async def test_an_address_that_says_nothing_leaves_time_for_the_next(
    resolver: Callable[[Resolver], None],
) -> None:
    resolver(giving("127.0.0.2", "127.0.0.1"))
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        left: list[str] = []

        async def connect(address: str) -> anyio.abc.SocketStream:
            if address != "127.0.0.1":
                try:
                    await anyio.sleep_forever()
                finally:
                    left.append(address)
            return await anyio.connect_tcp(address, listener.extra(anyio.abc.SocketAttribute.local_port))

        tasks.start_soon(listener.serve, functools.partial(answer, GOOD))
        with anyio.fail_after(5):
            async with await reach("sink.test", 80, connect) as stream:
                assert left == ["127.0.0.2"]
                await stream.send(b"GET")
                assert await stream.receive() == GOOD
        tasks.cancel_scope.cancel()


@final
class Connection:
    """One that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True
        await anyio.lowlevel.checkpoint()


async def test_of_two_addresses_that_answer_at_once_one_is_let_go(
    resolver: Callable[[Resolver], None],
) -> None:
    resolver(giving("127.0.0.2", "127.0.0.1"))
    both = anyio.Event()
    made: list[Connection] = []

    async def connect(address: str) -> Connection:
        if address == "127.0.0.1":
            both.set()
        with anyio.CancelScope(shield=True):  # the answer is there already
            await both.wait()
        made.append(Connection())
        return made[-1]

    with anyio.fail_after(5):
        used = await reach("sink.test", 80, connect)
    assert [connection.closed for connection in made] == [connection is not used for connection in made]
    assert len(made) == 2


async def test_a_connection_that_comes_with_a_cancellation_is_let_go(resolver: Callable[[Resolver], None]) -> None:
    resolver(giving("127.0.0.2", "127.0.0.1"))
    made: list[Connection] = []

    async def connect(_: str) -> Connection:
        scope.cancel()
        made.append(Connection())
        return made[-1]

    with anyio.CancelScope() as scope:
        await reach("sink.test", 80, connect)
    assert scope.cancelled_caught
    assert [connection.closed for connection in made] == [True]


async def test_a_sink_has_as_many_connections_as_there_are_requests() -> None:
    served = 0
    all_served = anyio.Event()

    async def serve(stream: anyio.abc.ByteStream) -> None:
        nonlocal served
        async with stream:
            await stream.receive()
            served += 1
            if served == 12:
                all_served.set()
            await all_served.wait()
            await stream.send(GOOD)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with HTTPSink(f"http://127.0.0.1:{port}/", timeout=5) as sink:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as sending:
                    for _ in range(12):
                        sending.start_soon(sink.send, PAYLOAD)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("addresses", [[], ["127.0.0.2"]])
async def test_a_name_that_leads_nowhere_is_a_connection_error(
    addresses: list[str], resolver: Callable[[Resolver], None]
) -> None:
    resolver(giving(*addresses))
    async with HTTPSink("http://sink.test:1/") as sink:
        with anyio.fail_after(5), pytest.raises(ConnectionError, match=r"http://sink\.test:1"):
            await sink.send(PAYLOAD)


async def test_a_name_that_nobody_knows_is_a_connection_error(resolver: Callable[[Resolver], None]) -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    resolver(unknown)
    async with HTTPSink("http://sink.test/") as sink:
        with anyio.fail_after(5), pytest.raises(ConnectionError):
            await sink.send(PAYLOAD)


async def test_a_look_up_that_hangs_is_left_when_the_time_is_over(resolver: Callable[[Resolver], None]) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        released.wait(20)
        raise socket.gaierror

    resolver(hang)
    try:
        async with HTTPSink("http://sink.test/", timeout=0.05) as sink:
            with anyio.fail_after(5), pytest.raises(TimeoutError):
                await sink.send(PAYLOAD)
    finally:
        released.set()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(address: str, resolver: Callable[[Resolver], None]) -> None:
    resolver(giving())
    assert await look_up(address, 80) == [address]


def test_a_look_up_imports_no_tables_of_idna() -> None:
    code = """
import sys, anyio
from lambda_extension._threads import look_up
assert anyio.run(look_up, "localhost", 80)
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    assert not {"encodings.idna", "stringprep"} & set(done.stdout.split())


HANGING = """
import socket, sys, time
real = socket.getaddrinfo
def hang(host, *others, **options):
    if host in ("sink.test", b"sink.test", "sandbox.localdomain", b"sandbox.localdomain"):
        time.sleep(600)
    return real(host, *others, **options)
socket.getaddrinfo = hang

import anyio
from lambda_extension.delivery import HTTPSink, Payload
from lambda_extension.delivery.sinks import SyslogSink
from lambda_extension.telemetry import ReceiverSettings, decode
from lambda_extension.telemetry._receiver import Listener

async def main():
    payload = Payload(id="x", body=b"[]", items=1, content_type="application/json")
    for sink in (HTTPSink("http://sink.test/", timeout=0.05), SyslogSink("sink.test", timeout=0.05)):
        try:
            await sink.send(payload)
        except TimeoutError:
            print("left")
    listener = await Listener.bind(ReceiverSettings(), decode=decode, quiet=0.1)
    listener.close()
anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_process_ends_without_a_look_up_that_hangs(backend: str) -> None:
    ran = subprocess.run([sys.executable, "-c", HANGING, backend], timeout=30, stdout=subprocess.PIPE, text=True)
    assert (ran.returncode, ran.stdout.split()) == (0, ["left", "left"])


async def test_the_certificate_is_that_of_the_name(
    resolver: Callable[[Resolver], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    resolver(giving("127.0.0.1"))
    for name, is_good in (("sink.test", True), ("other.test", False)):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as plain, anyio.create_task_group() as tasks:
            # Its own complaint of a client that goes away is not what is looked at.
            listener = anyio.streams.tls.TLSListener(plain, context, standard_compatible=False)
            tasks.start_soon(listener.serve, functools.partial(answer, GOOD))
            port = plain.extra(anyio.abc.SocketAttribute.local_port)
            async with HTTPSink(f"https://sink.test:{port}/") as sink:
                with anyio.fail_after(5):
                    if is_good:
                        await sink.send(PAYLOAD)
                    else:
                        with pytest.raises(ConnectionError):
                            await sink.send(PAYLOAD)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_breaks_off_in_its_body_has_its_status(status: int) -> None:
    part = b"HTTP/1.1 %d OK\r\nContent-Length: 10\r\n\r\nhalf" % status
    bodies = []
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, functools.partial(answer, part))
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        url = f"http://127.0.0.1:{port}/"
        async with HTTPSink(url, read_answer=lambda payload, status, body: bodies.append((status, body))) as sink:
            with anyio.fail_after(5):
                if status == 200:
                    await sink.send(PAYLOAD)
                else:
                    with pytest.raises(SinkError, match="answered 500"):
                        await sink.send(PAYLOAD)
        tasks.cancel_scope.cancel()
    assert bodies == [(status, b"half")]


async def test_a_socks_proxy_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "socksio", None)
    async with HTTPSink("http://sink.test/") as sink:
        with pytest.raises(SinkError, match=r"httpx\[socks\]"):
            await sink.send(PAYLOAD)
