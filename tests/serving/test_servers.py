"""What both servers do alike, on every backend."""

from __future__ import annotations

import errno
import functools
import logging
import socket
import struct
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import sniffio
from serving_for_tests import GET, answer, echo, read_body, running, running_server

from lambda_extension.serving import ServerName
from lambda_extension.serving._faults import Faults
from lambda_extension.serving._hypercorn import HypercornServer
from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on

POST = b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_request_is_what_the_app_is_told(server: ServerName) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with running(app, server) as run, await run.connect() as peer:
        await peer.send(POST)
        assert await peer.answer() == (200, b"hello")
        (scope,) = scopes
        names = ("type", "method", "http_version", "scheme")
        assert [scope[name] for name in names] == ["http", "POST", "1.1", "http"]
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=d")
        assert [tuple(header) for header in scope["headers"]] == [(b"host", b"x"), (b"content-length", b"5")]
        assert scope["server"] == ("127.0.0.1", run.port)
        assert scope["client"][0] == "127.0.0.1"


async def test_a_connection_serves_thousands_of_requests(server: ServerName) -> None:
    async with running(echo, server) as run, await run.connect() as peer:
        for _ in range(3_000 if server == "direct" else 1_100):  # which costs hypercorn as much; its default is 1,000
            await peer.send(POST)
            assert await peer.answer() == (200, b"hello")


async def test_requests_in_a_row_are_answered_in_their_order(server: ServerName) -> None:
    async with running(echo, server) as run, await run.connect() as peer:
        bodies = [b"%d" % n for n in range(50)]
        requests = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(b), b) for b in bodies]
        await peer.send(b"".join(requests))
        assert [await peer.answer() for _ in bodies] == [(200, body) for body in bodies]


async def test_a_request_may_come_byte_by_byte(server: ServerName) -> None:
    async with running(echo, server) as run, await run.connect() as peer:
        for index in range(len(POST)):
            await peer.send(POST[index : index + 1])
            await anyio.lowlevel.checkpoint()
        assert await peer.answer() == (200, b"hello")


async def test_who_asks_whether_to_go_on_is_told_to(server: ServerName) -> None:
    async with running(echo, server) as run, await run.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await peer.send(b"hello")
        assert await peer.answer() == (200, b"hello")


async def test_an_answer_of_unknown_length_comes_in_chunks(server: ServerName) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200})
        for piece in (b"a" * 10, b"", b"b" * 10):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async with running(app, server) as run, await run.connect() as peer:
        for _ in range(2):
            await peer.send(GET)
            found = await peer.until(b"0\r\n\r\n")
            assert found.lower().count(b"transfer-encoding: chunked") == 1
            assert found.endswith(b"\r\na\r\naaaaaaaaaa\r\na\r\nbbbbbbbbbb\r\n0\r\n\r\n")


async def test_garbage_is_answered_400_and_closed(server: ServerName, caplog: pytest.LogCaptureFixture) -> None:
    async with running(echo, server) as run, await run.connect() as peer:
        await peer.send(b"\x16\x03\x01garbage\r\n\r\n")
        assert (await peer.rest()).startswith(b"HTTP/1.1 400 ")
        assert (await run.ask())[0] == 200
    assert "Traceback" not in caplog.text


async def test_an_app_that_fails_costs_500_and_a_line(server: ServerName, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/":
            raise LookupError("of the app")
        await echo(scope, receive, send)

    async with running(app, server) as run:
        for _ in range(12):
            async with await run.connect() as peer:
                await peer.send(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await peer.answer())[0] == 500
        assert (await run.ask())[0] == 200
        run.stop.set()
        await run.ended.wait()
        lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert lines == [f"the app failed ({count})" for count in ("1 so far", "10 so far", "12 in all")]
        assert caplog.text.count("\nLookupError: of the app") == 1


async def test_a_peer_that_has_gone_is_told_to_the_app(server: ServerName) -> None:
    seen: list[str] = []
    told = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        seen.append((await receive())["type"])
        told.set()

    async with running(app, server) as run:
        async with await run.connect() as peer:
            await peer.send(POST)
        await told.wait()
    assert seen == ["http.disconnect"]


async def test_peers_that_leave_in_the_middle_cost_nobody_anything(server: ServerName) -> None:
    """On trio this meets hypercorn's own closing: it sends and closes at the same time."""

    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await answer(send)  # even to a peer that has left

    async with running(hasty, server) as run:
        async with await run.connect() as other:
            for n in range(60):
                async with await run.connect() as peer:
                    await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
                    if n % 2:
                        await peer.reset()
                await other.send(GET)
                assert await other.answer() == (200, b"")


@pytest.mark.parametrize("when", ["before a request", "during a request", "after an answer"])
async def test_a_peer_that_sends_no_more_leaves_no_connection_behind(server: ServerName, when: str) -> None:
    """Or each that the platform closes would cost a file, and memory, until there is no room."""
    entered, leave = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        await leave.wait()
        await echo(scope, receive, send)

    async with running(app, server) as run, await run.connect() as peer:
        if when != "before a request":
            await peer.send(GET)
            await entered.wait()
        if when == "after an answer":
            leave.set()
            assert await peer.answer() == (200, b"")
        await peer.stream.send_eof()
        leave.set()
        with anyio.fail_after(5):
            await peer.rest()
        assert await run.ask() == (200, b"")


async def test_what_breaks_hypercorn_on_a_connection_is_counted_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    class Flavour:
        WorkerContext = staticmethod(lambda _: None)

        @staticmethod
        async def serve_connection(*args: object) -> None:
            raise ExceptionGroup("a", [ExceptionGroup("b", [LookupError("what the peer has sent")])])

    server = HypercornServer(echo, Faults(), Flavour)
    for _ in range(2):
        with listen_on("127.0.0.1") as listening, socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            await server.serve_connection(accepted)
        assert accepted.fileno() == -1
    assert caplog.messages == ["a connection broke: LookupError in hypercorn (1 so far)"]


def few(app: Any, *, most: int) -> HypercornServer:
    flavour = "trio" if sniffio.current_async_library() == "trio" else "asyncio"
    module = import_module(f"lambda_extension.serving._hypercorn_{flavour}")
    return HypercornServer(app, Faults(), module, most_connections=most)


async def test_one_connection_too_many_takes_the_place_of_one_that_hypercorn_can_spare() -> None:
    leave, entered = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            entered.set()
            await leave.wait()
        await echo(scope, receive, send)

    async with running_server(few(app, most=2), Faults()) as run, await run.connect() as busy:
        await busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        async with await run.connect() as idle:
            await idle.send(GET)
            assert await idle.answer() == (200, b"")
            assert await run.ask() == (200, b"")
            assert await idle.rest() == b""
        leave.set()
        assert await busy.answer() == (200, b"")


async def test_where_hypercorn_can_spare_no_connection_a_new_one_waits() -> None:
    leave, entered = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            entered.set()
            await leave.wait()
        await echo(scope, receive, send)

    async with running_server(few(app, most=1), Faults()) as run, await run.connect() as busy:
        await busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        async with await run.connect() as waiting:
            await waiting.send(GET)
            await anyio.wait_all_tasks_blocked()
            leave.set()
            assert await busy.answer() == (200, b"")
            assert await waiting.answer() == (200, b"")


async def test_hypercorn_is_given_no_connection_that_is_gone_before_it_is_served() -> None:
    class Never:
        WorkerContext = staticmethod(lambda _: None)

        @staticmethod
        async def serve_connection(*args: object) -> None:
            raise AssertionError

    with listen_on("127.0.0.1") as listening:
        with socket.create_connection(listening.getsockname()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted, _ = listening.accept()
        await HypercornServer(echo, Faults(), Never).serve_connection(accepted)
        assert accepted.fileno() == -1


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_hypercorn_keeps_though_its_peer_has_gone_makes_room(how: str) -> None:
    served: list[socket.socket] = []

    class Keeping:
        WorkerContext = staticmethod(lambda _: None)

        @staticmethod
        async def serve_connection(
            app: object, config: object, context: object, sock: socket.socket, on_end: object
        ) -> None:
            served.append(sock)
            await anyio.sleep_forever()

    listening = listen_on("127.0.0.1")
    server = HypercornServer(echo, Faults(), Keeping, most_connections=1)
    with listening, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            client = socket.create_connection(listening.getsockname())
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            tasks.start_soon(server.serve_connection, accepted)
            await anyio.wait_all_tasks_blocked()
            assert served == [accepted]
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            await server.wait_room()
            assert accepted.fileno() == -1


async def test_a_request_in_flight_is_answered_after_the_end_was_asked_for(server: ServerName) -> None:
    entered, leave = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        entered.set()
        await leave.wait()
        await answer(send, b"late")

    async with running(app, server, graceful_timeout=5.0) as run:
        async with await run.connect() as idle, await run.connect() as peer:
            await peer.send(GET)
            await entered.wait()
            run.stop.set()
            assert await idle.rest() == b""
            leave.set()
            assert await peer.answer() == (200, b"late")
            assert await peer.rest() == b""
            await run.ended.wait()


async def test_an_app_that_hangs_is_cut_off_and_said_so(server: ServerName, caplog: pytest.LogCaptureFixture) -> None:
    entered = anyio.Event()

    async def hang(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        await anyio.sleep_forever()

    async with running(hang, server, graceful_timeout=0.1) as run, await run.connect() as peer:
        await peer.send(GET)
        await entered.wait()
        run.stop.set()
        await run.ended.wait()
    assert "was cut off" in caplog.text


async def test_a_cancelled_server_ends_as_one_that_was_asked_to(server: ServerName) -> None:
    entered, leave = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        await leave.wait()
        await answer(send, b"late")

    sock = listen_on("127.0.0.1")
    serve = functools.partial(serve_app, app, sock, server=server, graceful_timeout=5.0)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(serve, shutdown_trigger=anyio.sleep_forever))
            peer = await anyio.connect_tcp("127.0.0.1", sock.getsockname()[1])
            async with peer:
                await peer.send(GET)
                await entered.wait()
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    leave.set()
                    assert (await peer.receive()).startswith(b"HTTP/1.1 200 ")


async def test_an_end_that_comes_before_the_start_is_one(server: ServerName) -> None:
    stop = anyio.Event()
    stop.set()
    sock = listen_on("127.0.0.1")
    with anyio.fail_after(5):
        await serve_app(echo, sock, server=server, shutdown_trigger=stop.wait)
    assert sock.fileno() == -1


async def test_a_server_that_is_not_installed_is_said_before_it_starts(
    server: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension.serving._serve.find_spec", lambda name: None)
    wanted = {"hypercorn": "hypercorn is not installed", "direct": r"lambda-extension\[direct\]"}[server]
    with listen_on("127.0.0.1") as sock, pytest.raises(ModuleNotFoundError, match=wanted):
        await serve_app(echo, sock, server=server, shutdown_trigger=anyio.sleep_forever)


async def test_a_socket_that_is_not_one_fails_the_server(server: ServerName) -> None:
    sock = listen_on("127.0.0.1")
    sock.close()
    with pytest.raises(BaseExceptionGroup), anyio.fail_after(5):
        await serve_app(echo, sock, server=server, shutdown_trigger=anyio.sleep_forever)


async def test_a_socket_that_does_not_listen_fails_the_server(server: ServerName) -> None:
    with socket.socket() as sock, pytest.raises(BaseExceptionGroup), anyio.fail_after(5):
        await serve_app(echo, sock, server=server, shutdown_trigger=anyio.sleep_forever)


async def test_what_keeps_from_accepting_is_waited_out(server: ServerName, caplog: pytest.LogCaptureFixture) -> None:
    """Files run out, and a peer goes while it is queued: neither ends the server."""
    errors = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]

    class Unlucky(socket.socket):
        def accept(self) -> Any:
            if errors:
                raise OSError(errors.pop(0), "no luck")
            return super().accept()

    plain = listen_on("127.0.0.1")
    sock = Unlucky(fileno=plain.detach())
    stop = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(serve_app, echo, sock, server=server, shutdown_trigger=stop.wait))
            async with await anyio.connect_tcp("127.0.0.1", sock.getsockname()[1]) as peer:
                await peer.send(GET)
                assert (await peer.receive()).startswith(b"HTTP/1.1 200 ")
            stop.set()
    assert caplog.text.count("out of files or memory") == 2


def test_a_port_in_use_fails_before_any_task() -> None:
    with listen_on("127.0.0.1") as sock, pytest.raises(OSError, match="in use"):
        listen_on("127.0.0.1", sock.getsockname()[1])


def test_ipv6_addresses_are_bound_as_such() -> None:
    try:
        sock = listen_on("::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with sock:
        assert sock.getsockname()[0] == "::1"


def test_faults_are_said_at_each_power_of_ten_and_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    for _ in range(1234):
        faults.note("a")
    faults.note("b")
    faults.sum_up()
    faults.sum_up()
    assert [message for message in caplog.messages if message[0] == "a"] == [
        f"a ({count})" for count in ("1 so far", "10 so far", "100 so far", "1000 so far", "1234 in all")
    ]
    assert [message for message in caplog.messages if message[0] == "b"] == ["b (1 so far)"]
