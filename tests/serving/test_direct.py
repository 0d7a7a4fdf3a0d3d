"""What the direct server alone promises: its limits, and how it frames answers."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from serving_for_tests import GET, Peer, answer, echo, read_body, running, running_direct

from lambda_extension.serving._direct import Connection, DirectServer, Limits
from lambda_extension.serving._faults import Faults
from lambda_extension.serving._requests import RequestParser
from lambda_extension.serving._socket import listen_on

HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
FAST = Limits(tick=0.01, patience=3, farewell=3)


def refused(request: bytes, most: int = 1000) -> int | None:
    parser = RequestParser(most)
    parser.feed(request)
    return None if parser.refusal is None else parser.refusal.status


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (None, GET),
        (None, b"GET / HTTP/1.0\r\n\r\n"),
        (None, b"\r\n\r\n" + GET),
        (None, b"GET http://host/path?query HTTP/1.1\r\nHost: x\r\n\r\n"),
        (None, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"garbage"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),  # no host
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET / HTTP/3.7\r\nHost: x\r\n\r\n"),
        (400, b"GET / HTTP/0.9\r\nHost: x\r\n\r\n"),
        (400, b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
        (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (501, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        (501, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        (501, b"CONNECT host:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
        (431, b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1000 + b"\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 500 + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1000),  # and no end of it
        (431, b"\r\n" * 501),
    ],
)
def test_what_is_taken_and_what_is_refused(status: int | None, request_bytes: bytes) -> None:
    assert refused(request_bytes) == status


@pytest.mark.parametrize("tail", [b"0\r\nA: " + b"b" * 1001, b"1;" + b"e" * 1001])
def test_trailers_and_extensions_of_chunks_have_a_limit(tail: bytes) -> None:
    parser = RequestParser(1000)
    parser.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for index in range(0, len(tail), 10):
        parser.feed(tail[index : index + 10])
    assert parser.refusal is not None
    assert parser.refusal.status == 431


def test_trailers_are_dropped() -> None:
    parser = RequestParser(1000)
    parser.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: y\r\n\r\n" + GET)
    head, *rest, last, end = parser.events
    assert getattr(head, "headers", None) == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]
    assert rest == [b"a", None]
    assert (getattr(last, "headers", None), end, parser.refusal) == ([(b"host", b"x")], None, None)


def test_targets_are_split_and_decoded() -> None:
    parser = RequestParser(1000)
    parser.feed(b"GET http://host/a%2Fb?q HTTP/1.1\r\nHost: x\r\n\r\nGET http://host HTTP/1.1\r\nHost: x\r\n\r\n")
    first, _, second, _ = parser.events
    assert [getattr(first, name) for name in ("path", "query")] == [b"/a%2Fb", b"q"]
    assert [getattr(second, name) for name in ("path", "query")] == [b"/", b""]


async def test_what_is_refused_is_answered_and_said(caplog: pytest.LogCaptureFixture) -> None:
    async with running(echo, "direct") as run:
        for _ in range(3):
            async with await run.connect() as peer:
                await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 40_000)
                assert (await peer.answer())[0] == 431
                assert await peer.rest() == b""
        run.stop.set()
        await run.ended.wait()
    assert caplog.messages == [
        f"the head of a request was too long: answered 431 ({n})" for n in ("1 so far", "3 in all")
    ]


async def test_a_good_request_before_garbage_is_answered_first() -> None:
    async with running(echo, "direct") as run, await run.connect() as peer:
        await peer.send(GET + b"garbage")
        assert await peer.answer() == (200, b"")
        assert (await peer.answer())[0] == 400
        assert await peer.rest() == b""


async def test_garbage_in_a_body_ends_it_for_the_app() -> None:
    bodies: list[bytes | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append(await read_body(receive))

    async with running(app, "direct") as run, await run.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.send(b"garbage")
        assert (await peer.answer())[0] == 400
    assert bodies == [None]


@pytest.mark.parametrize("half", [HALF, b"POST / HTTP/1.1\r\nHo"])
async def test_a_request_that_takes_too_long_to_arrive_is_answered_408(half: bytes) -> None:
    async with running_direct(echo, FAST) as run, await run.connect() as peer:
        await peer.send(half)
        assert (await peer.answer())[0] == 408
        assert await peer.rest() == b""
        assert (await run.ask())[0] == 200


async def test_a_request_that_trickles_in_has_no_more_time_than_another() -> None:
    async with running_direct(echo, FAST) as run, await run.connect() as peer:
        with anyio.move_on_after(5), pytest.raises(anyio.BrokenResourceError):
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                await peer.send(b"x")
                await anyio.sleep(0.001)  # it trickles
        assert (await run.ask())[0] == 200


async def test_a_connection_may_be_idle_for_longer_than_a_request_may_take() -> None:
    async with running_direct(echo, FAST) as run, await run.connect() as idle, await run.connect() as slow:
        await idle.send(GET)
        assert await idle.answer() == (200, b"")
        await slow.send(HALF)
        assert (await slow.answer())[0] == 408
        await idle.send(GET)
        assert await idle.answer() == (200, b"")


async def test_time_that_the_app_takes_is_not_the_peers() -> None:
    """A stream that is full keeps answers back for as long as it takes."""
    leave = anyio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        if scope["path"] == "/slow":
            await leave.wait()
        if body is not None:
            await answer(send)

    async with running_direct(slow, FAST) as run, await run.connect() as peer, await run.connect() as other:
        await peer.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await other.send(HALF)
        assert (await other.answer())[0] == 408
        leave.set()
        assert await peer.answer() == (200, b"")


async def test_what_comes_while_the_app_has_not_answered_waits_with_the_peer() -> None:
    leave = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await leave.wait()
        await answer(send)

    async with running(app, "direct") as run, await run.connect() as peer:
        await peer.send(GET)
        sent = 0
        with anyio.move_on_after(0.3):
            while True:
                await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + bytes(65_536))
                sent += 1
        # Not for ever: the kernel's two buffers are full.
        assert sent < 1_000
        leave.set()
        assert await peer.answer() == (200, b"")


async def test_an_answer_that_nobody_takes_ends_its_connection() -> None:
    errors: list[Exception] = []
    failed = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            return await answer(send)
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        except OSError as error:
            errors.append(error)
            failed.set()
            raise

    async with running_direct(app, FAST) as run, await run.connect() as peer:
        await peer.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await failed.wait()
        assert (await run.ask())[0] == 200
    assert len(errors) == 1


async def test_one_connection_too_many_closes_that_which_was_idle_for_longest() -> None:
    async with running_direct(echo, Limits(connections=3)) as run:
        peers = [await run.connect() for _ in range(3)]
        for peer in (peers[1], peers[0], peers[2]):
            await peer.send(GET)
            assert await peer.answer() == (200, b"")
        assert await run.ask() == (200, b"")
        assert await peers[1].rest() == b""
        for peer in (peers[0], peers[2]):
            await peer.send(GET)
            assert await peer.answer() == (200, b"")
        for peer in peers:
            await peer.stream.aclose()


async def test_where_no_connection_is_idle_a_new_one_waits_for_one_that_is() -> None:
    leave = anyio.Event()
    entered = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            entered.set()
            await leave.wait()
        await answer(send)

    async with running_direct(app, Limits(connections=1)) as run, await run.connect() as first:
        await first.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        async with await run.connect() as second:
            await second.send(GET)
            leave.set()
            assert await first.answer() == (200, b"")
            assert await second.answer() == (200, b"")
            assert await first.rest() == b""


async def test_a_parting_peer_that_keeps_sending_is_left() -> None:
    limits = Limits(farewell_bytes=100_000, farewell=1000)
    async with running_direct(echo, limits) as run, await run.connect() as peer:
        await peer.send(b"garbage\r\n\r\n")
        assert (await peer.answer())[0] == 400
        with pytest.raises(anyio.BrokenResourceError):
            while True:
                await peer.send(bytes(10_000))
        assert (await run.ask())[0] == 200


async def test_a_parting_peer_that_stays_silent_is_left() -> None:
    async with running_direct(echo, FAST) as run, await run.connect() as peer:
        await peer.send(b"garbage\r\n\r\n")
        assert (await peer.rest()).startswith(b"HTTP/1.1 400 ")
        with pytest.raises(anyio.BrokenResourceError):
            while True:
                await peer.send(b"more")
                await anyio.sleep(0.005)  # less than what is too much, for longer than is waited for


async def test_a_request_that_comes_as_its_connection_is_to_go_is_answered() -> None:
    async with running_direct(echo, Limits(connections=2)) as run:
        async with await run.connect() as first, await run.connect() as second:
            for peer in (first, second):
                await peer.send(GET)
                assert await peer.answer() == (200, b"")
            # In one turn of the event loop: a newcomer, and the next request of the one that would have to go.
            with socket.create_connection(("127.0.0.1", run.port)):
                os.write(first.raw.fileno(), GET)
                assert await first.answer() == (200, b"")


async def test_who_waits_for_room_at_the_end_is_let_go() -> None:
    entered = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        await anyio.sleep_forever()

    async with running_direct(app, Limits(connections=1)) as run, await run.connect() as first:
        await first.send(GET)
        await entered.wait()
        async with await run.connect() as second:
            await anyio.wait_all_tasks_blocked()
            run.stop.set()
            assert await second.rest() == b""
            await first.reset()
            run.kill.cancel()


async def test_a_request_that_has_come_when_the_server_ends_is_answered() -> None:
    leave, entered = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        await leave.wait()
        await answer(send)

    async with running(app, "direct") as run, await run.connect() as peer:
        await peer.send(GET)
        await entered.wait()
        late = await run.connect()
        async with late:
            await late.send(GET)
            leave.set()
            assert await peer.answer() == (200, b"")
            run.stop.set()
            assert await late.answer() == (200, b"")


def gone() -> tuple[socket.socket, socket.socket]:
    """Return a listening socket, and one accepted from it whose peer has reset it."""
    listening = listen_on("127.0.0.1")
    with socket.create_connection(listening.getsockname()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted, _ = listening.accept()
    accepted.setblocking(False)
    return listening, accepted


async def test_a_connection_that_is_gone_before_it_is_served_costs_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    listening, accepted = gone()
    with listening:
        await DirectServer(app, Faults()).serve_connection(accepted)
        assert accepted.fileno() == -1


async def test_a_connection_that_is_gone_is_not_woken() -> None:
    """It finds out by itself; another has to make room."""
    listening, accepted = gone()
    with listening, accepted:
        assert not Connection(DirectServer(echo, Faults()), accepted).wake_if_idle()


async def send_all(send: Any, *messages: dict[str, Any]) -> None:
    for message in messages:
        await send(message)


START = {"type": "http.response.start", "status": 200}
HEADED = {**START, "headers": [(b"content-length", b"3")]}
BODY = {"type": "http.response.body", "body": b"abc"}


async def asked(app: Callable[[Any, Any, Any], Awaitable[None]], *requests: bytes) -> list[bytes]:
    found = []
    async with running(app, "direct") as run:
        for request in requests:
            async with await run.connect() as peer:
                await peer.send(request)
                found.append(await peer.rest())
    return found


def sends(*messages: dict[str, Any]) -> Callable[[Any, Any, Any], Awaitable[None]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send_all(send, *messages)

    return app


CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([START, BODY], b"HTTP/1.1 200 \r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"),
        ([HEADED, BODY], b"HTTP/1.1 200 \r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"),
        (
            [{**START, "headers": [(b"Transfer-Encoding", b"x"), (b"Connection", b"keep-alive"), (b"A", b"b")]}, BODY],
            b"HTTP/1.1 200 \r\nA: b\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
        ),
        ([{**START, "status": 204}, BODY], b"HTTP/1.1 204 \r\nconnection: close\r\n\r\n"),
        ([{**START, "status": 304}, BODY], b"HTTP/1.1 304 \r\nconnection: close\r\n\r\n"),
    ],
)
async def test_answers_are_framed(messages: list[dict[str, Any]], found: bytes) -> None:
    assert await asked(sends(*messages), CLOSE) == [found]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [START],
        [BODY],
        [{"type": "http.response.trailers"}],
        [{**START, "headers": [(b"a", b"b\r\nc: d")]}, BODY],
        [{**START, "headers": [(b"a", b"b\nc: d")]}, BODY],
    ],
)
async def test_an_app_that_gives_no_answer_costs_500(messages: list[dict[str, Any]]) -> None:
    (found,) = await asked(sends(*messages), GET)
    assert found == b"HTTP/1.1 500 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([HEADED, {**BODY, "body": b"ab"}], b"ab"),  # too little
        ([HEADED, {**BODY, "more_body": True}, BODY], b"abc"),  # too much
        ([HEADED, {**BODY, "more_body": True}], b"abc"),  # and then nothing: it is whole by chance
        ([START, {**BODY, "more_body": True}], b"3\r\nabc\r\n"),
    ],
)
async def test_an_answer_that_is_not_whole_ends_the_connection(messages: list[dict[str, Any]], said: bytes) -> None:
    (found,) = await asked(sends(*messages), GET)
    assert found.endswith(b"\r\n\r\n" + said)


async def test_an_app_may_close_the_connection() -> None:
    (found,) = await asked(sends({**START, "headers": [(b"connection", b"Close")]}, BODY), GET)
    assert found.endswith(b"connection: close\r\n\r\nabc")


async def test_http_1_0_is_kept_alive_only_where_it_asks() -> None:
    async with running(echo, "direct") as run, await run.connect() as peer:
        for _ in range(2):
            await peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"\r\nconnection: keep-alive\r\n" in await peer.until(b"\r\n\r\n")
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in await peer.rest()
    stream = sends(START, {**BODY, "more_body": True}, BODY)
    (found,) = await asked(stream, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert found == b"HTTP/1.1 200 \r\nconnection: close\r\n\r\nabcabc"


async def test_head_is_answered_without_a_body() -> None:
    async with running(sends(START, BODY), "direct") as run, await run.connect() as peer:
        for _ in range(2):
            await peer.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n"
        assert peer.buffer == b""


async def test_a_body_that_the_app_does_not_want_is_dropped() -> None:
    async with running(sends(START, BODY), "direct") as run, await run.connect() as peer:
        for _ in range(2):  # here already
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
            assert await peer.answer() == (200, b"abc")
        await peer.send(HALF)  # on its way: it cannot be waited for
        assert b"connection: close" in await peer.until(b"\r\n\r\n")
        await peer.send(b"rest!")
        assert await peer.rest() == b"abc"


async def test_nobody_is_asked_for_a_body_that_the_app_does_not_want() -> None:
    async with running(sends(START, BODY), "direct") as run, await run.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_an_app_that_waits_for_its_peer_to_go_is_told_when_the_answer_is_over() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)

        async def wait_gone() -> None:
            seen.append((await receive())["type"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_gone)
            await anyio.wait_all_tasks_blocked()
            await answer(send)
            if scope["path"] == "/":
                tasks.cancel_scope.cancel()

    async with running(app, "direct") as run, await run.connect() as peer:
        # The next request is here: whether the peer goes can no longer be seen.
        await peer.send(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        assert await peer.answer() == (200, b"")
        assert await peer.answer() == (200, b"")
    assert seen == ["http.disconnect"]


@pytest.mark.parametrize("grouped", [True, False])
async def test_an_app_whose_peer_goes_while_it_answers_gets_an_os_error(
    grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def stream(send: Any) -> None:
        while True:
            await send({**BODY, "body": bytes(100_000), "more_body": True})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        if not grouped:
            await stream(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream, send)

    async with running(app, "direct") as run:
        peer = await run.connect()
        await peer.send(GET)
        await peer.until(b"\r\n\r\n")
        await peer.reset()
        run.stop.set()
        await run.ended.wait()
    assert caplog.messages == []


async def test_a_peer_that_is_gone_before_it_is_served_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with running(echo, "direct") as run:
        for _ in range(20):
            await (await run.connect()).reset()
        assert (await run.ask())[0] == 200
    assert caplog.messages == []


async def test_others_run_while_a_peer_sends_without_a_pause() -> None:
    """A body, and requests in a row, that are always there: neither may keep the event loop."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await answer(send)

    async def flood(peer: Peer) -> None:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"10000\r\n" + bytes(65_536) + b"\r\n")

    async def drain(peer: Peer) -> None:
        while True:
            await peer.stream.receive()

    async def pipeline(peer: Peer) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain, peer)
            while True:
                await peer.send(GET * 1000)

    async with running(app, "direct") as run, await run.connect() as first, await run.connect() as second:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood, first)
            tasks.start_soon(pipeline, second)
            for _ in range(3):
                assert (await run.ask())[0] == 200
            tasks.cancel_scope.cancel()


async def test_no_tick_is_counted_where_nobody_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    faults = Faults()
    async with running_direct(echo, Limits(tick=0.001, patience=1), faults) as run, await run.connect() as peer:
        for _ in range(50):
            await peer.send(GET)
            assert await peer.answer() == (200, b"")
            await anyio.sleep(0.002)  # ticks pass
    faults.sum_up()
    assert caplog.messages == []
