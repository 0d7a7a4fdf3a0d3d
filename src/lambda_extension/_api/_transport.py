"""Plain HTTP/1.1 to the Lambda APIs: what a client needs when nobody passed an httpx one.

httpx and httpcore cost a third of an extension's start-up, which every cold start of a function pays; these APIs are a
handful of small calls to one address, without TLS, redirects, proxies or compression.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import final

import anyio
import anyio.abc

from lambda_extension import early
from lambda_extension._api._parsing import AnswerParser, Response, answer_parser
from lambda_extension._api._register import split_address
from lambda_extension._budget import CONNECT_LIMIT

_CHUNK = 65_536


@final
class Connections:
    """Keep-alive connections to one address, as many as there are calls at the same time.

    Args:
        address: `host:port`.
        under_way: A connection on which the first request has been sent already.
        make_parser: Makes what reads the answers of a connection.

    Raises:
        ValueError: The address is not of that form.
    """

    def __init__(
        self,
        address: str,
        *,
        under_way: anyio.abc.SocketStream | None = None,
        make_parser: Callable[[], AnswerParser] = answer_parser,
    ) -> None:
        self._address = address
        self._host, self._port = split_address(address)
        self._make_parser = make_parser
        self._idle: list[_Connection] = []
        self._under_way = under_way

    def take_over(self, stream: anyio.abc.SocketStream) -> None:
        """Take over a connection on which the next request has been sent already."""
        self._under_way = stream

    @property
    def has_taken_over(self) -> bool:
        """Whether the next request has been sent already."""
        return self._under_way is not None

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, timeout: float | None
    ) -> Response:
        """Make a call. A cancelled or failed one closes its connection.

        Args:
            method: HTTP method.
            path: Path of the URL.
            headers: Header fields, but for those that HTTP itself needs.
            body: The body; may be empty.
            timeout: Seconds from the connection to the whole answer; None waits without end.

        Raises:
            OSError: The connection could not be made in 5 seconds, or broke.
            TimeoutError: There was no whole answer in time.
        """
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            connection = _Connection(under_way, self._make_parser())
            request = b""
        else:
            connection = await self._take_idle() or await self._connect()
            request = early.request(method, path, self._address, headers, body)
        answered = False
        try:
            with nullcontext() if timeout is None else anyio.fail_after(timeout):
                response = await connection.ask(request)
            answered = True
        finally:
            if answered and connection.keeps_alive:
                self._idle.append(connection)
            else:
                await connection.aclose()
        return response

    async def aclose(self) -> None:
        """Close the connections that no call uses."""
        if self._under_way is not None:
            await anyio.aclose_forcefully(self._under_way)
        while self._idle:
            await self._idle.pop().aclose()

    async def _connect(self) -> _Connection:
        with anyio.fail_after(CONNECT_LIMIT):
            stream = await anyio.connect_tcp(self._host, self._port)
        return _Connection(stream, self._make_parser())

    async def _take_idle(self) -> _Connection | None:
        """Take a connection that the peer has not closed meanwhile, as it may over a freeze of hours."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_silent:
                return connection
            await connection.aclose()
        return None


@final
class _Connection:
    """One connection, and what reads its answers."""

    def __init__(self, stream: anyio.abc.SocketStream, parser: AnswerParser) -> None:
        self._stream = stream
        self._parser = parser
        # Once, and not before each call: the stream looks up its addresses too.
        self._socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - not Django

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come, not even the peer's end."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    @property
    def keeps_alive(self) -> bool:
        """Whether another request may be sent."""
        return self._parser.keeps_alive

    async def ask(self, request: bytes) -> Response:
        """Send a request, unless that has been done, and wait for its answer.

        Raises:
            ConnectionError: There is none, or it is not HTTP/1.1.
        """
        try:
            if request:
                self._parser.begin()
                await self._stream.send(request)
            while True:
                try:
                    data = await self._stream.receive(_CHUNK)
                except anyio.EndOfStream:
                    data = b""
                response = self._parser.feed(data)
                if response is not None:
                    return response
        except anyio.BrokenResourceError as error:
            msg = "the connection broke before the answer"
            raise ConnectionError(msg) from error

    async def aclose(self) -> None:
        """Close it, without a farewell."""
        await anyio.aclose_forcefully(self._stream)
