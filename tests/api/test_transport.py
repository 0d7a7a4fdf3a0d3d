"""Plain HTTP/1.1, against a server that says exactly what a test wants it to."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeAlias

import anyio
import anyio.abc
import pytest

from lambda_extension import ConnectError, Environment, ExtensionClient
from lambda_extension._api._parsing import AnswerParser, Response, answer_parser
from lambda_extension._api._parsing_h11 import H11Parser
from lambda_extension._api._parsing_httptools import HttptoolsParser
from lambda_extension._api._transport import Connections

Serving: TypeAlias = Callable[..., AbstractAsyncContextManager[tuple["Server", Connections]]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\n\r\nok"


class Server:
    """Answers each request on a connection with the next of the scripted answers; None closes, b"" says nothing."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = 0
        self.port = 0
        self._changed = anyio.Event()

    async def wait_asked(self) -> None:
        """Wait until a request has come."""
        while not self.requests:
            await self._changed.wait()

    async def wait_ended(self) -> None:
        """Wait until a connection is closed on both sides."""
        while not self.ended:
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                while True:
                    self.requests.append(await stream.receive())
                    self._change()
                    answer = self.answers.pop(0)
                    if answer is None:
                        return
                    for piece in answer.split(b"|"):
                        await stream.send(piece)
                    if b"Connection: close" in answer or b"close-delimited" in answer:
                        return
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
        finally:
            self.ended += 1
            self._change()


@pytest.fixture(params=[HttptoolsParser, H11Parser])
def serving(request: pytest.FixtureRequest) -> Serving:
    """What reads the answers is httptools where it is installed, and h11 elsewhere: the same comes of it."""
    return partial(serve_answers, request.param)


@asynccontextmanager
async def serve_answers(
    make_parser: Callable[[], AnswerParser], *answers: bytes | None
) -> AsyncGenerator[tuple[Server, Connections]]:
    server = Server(list(answers))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    connections = Connections(f"127.0.0.1:{server.port}", make_parser=make_parser)
    with anyio.fail_after(10):
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.handle)
            yield server, connections
            await connections.aclose()
            tasks.cancel_scope.cancel()


async def get(connections: Connections, *, timeout: float | None = 5) -> Response:
    return await connections.request("GET", "/x", {"A": "b"}, b"", timeout=timeout)


async def test_a_request_has_what_http_needs_and_the_answer_is_whole(serving: Serving) -> None:
    async with serving(OK) as (server, connections):
        response = await connections.request("POST", "/x", {"A": "b"}, b"body", timeout=5)
        assert (response.status, response.content, response.headers["x-one"]) == (200, b"ok", "1")
        head, body = server.requests[0].split(b"\r\n\r\n")
        assert body == b"body"
        expected = {b"POST /x HTTP/1.1", b"Host: 127.0.0.1:%d" % server.port, b"Content-Length: 4", b"A: b"}
        assert set(head.split(b"\r\n")) == expected


async def test_what_a_header_says_is_read_without_blanks_and_by_any_case(serving: Serving) -> None:
    async with serving(OK.replace(b"X-One: 1", b"X-ONE: \t1 \t")) as (_, connections):
        assert (await get(connections)).headers["x-one"] == "1"


async def test_a_connection_is_used_again(serving: Serving) -> None:
    async with serving(OK, OK) as (server, connections):
        await get(connections)
        await get(connections)
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n|1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\no|k",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-One: 2\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n|HTTP/1.1 200 OK\r\nContent-Le|ngth: 2\r\n\r\no|k",
    ],
)
async def test_every_framing_of_a_body_is_read(serving: Serving, answer: bytes) -> None:
    async with serving(answer, OK) as (_, connections):
        assert (await get(connections)).content == b"ok"
        assert (await get(connections)).content == b"ok"


async def test_a_connection_that_the_peer_closed_meanwhile_is_not_used_again(serving: Serving) -> None:
    farewell = OK.replace(b"X-One: 1", b"X-Unsaid: close-delimited")
    async with serving(farewell, OK) as (server, connections):
        await get(connections)
        await server.wait_ended()
        assert (await get(connections)).content == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nclose-delimited: 1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nclose-delimited: 1\r\n\r\no",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nclose-delimited: 1\r\n\r\n1\r\no\r\n",
    ],
)
async def test_an_answer_that_is_none_is_a_connection_error(serving: Serving, answer: bytes | None) -> None:
    async with serving(answer, OK) as (server, connections):
        with pytest.raises(ConnectionError):
            await get(connections)
        await server.wait_ended()
        assert (await get(connections)).content == b"ok"


@pytest.mark.parametrize("more", [OK, b"nonsense"])
async def test_a_connection_on_which_more_came_than_was_asked_for_is_not_used_again(
    serving: Serving, more: bytes
) -> None:
    async with serving(OK + more, OK) as (server, connections):
        assert await get(connections) == (200, {"content-length": "2", "x-one": "1"}, b"ok")
        await server.wait_ended()
        assert (await get(connections)).content == b"ok"
        assert server.connections == 2


def test_without_httptools_answers_are_read_by_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(answer_parser(), HttptoolsParser)
    monkeypatch.setitem(sys.modules, HttptoolsParser.__module__, None)
    assert isinstance(answer_parser(), H11Parser)


async def test_no_answer_in_time_closes_the_connection(serving: Serving) -> None:
    async with serving(b"") as (server, connections):
        with pytest.raises(TimeoutError):
            await get(connections, timeout=0.05)
        await server.wait_ended()


async def test_a_cancelled_call_closes_its_connection(serving: Serving) -> None:
    async with serving(b"") as (server, connections):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(get, connections, timeout=None))
            await server.wait_asked()
            tasks.cancel_scope.cancel()
        await server.wait_ended()


async def test_two_calls_at_once_have_a_connection_each(serving: Serving) -> None:
    async with serving(b"", OK) as (server, connections), anyio.create_task_group() as tasks:
        tasks.start_soon(get, connections)
        await server.wait_asked()
        assert (await get(connections)).content == b"ok"
        assert server.connections == 2
        tasks.cancel_scope.cancel()


async def test_the_client_says_which_call_found_nobody() -> None:
    async with ExtensionClient("127.0.0.1:1", environment=Environment()) as client:
        with pytest.raises(ConnectError, match="register: no answer from the Lambda API"):
            await client.register("x")


@pytest.mark.parametrize("address", ["localhost", ":9001", "host:port", "http://host:9001/x"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Connections(address)


def test_ipv6_addresses_lose_their_brackets() -> None:
    assert Connections("[::1]:9001")._host == "::1"
