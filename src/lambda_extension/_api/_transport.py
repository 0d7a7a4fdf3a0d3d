"""Plain HTTP/1.1 to the Lambda APIs, over h11: what a client needs when nobody passed an httpx one.

httpx and httpcore cost a third of an extension's start-up, which every cold start of a function pays; these APIs are a
handful of small calls to one address, without TLS, redirects, proxies or compression.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from typing import final

import anyio
import anyio.abc
import attrs
import h11

from lambda_extension._api._register import split_address
from lambda_extension._budget import CONNECT_LIMIT

_CHUNK = 65_536


@attrs.frozen(kw_only=True)
class Response:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Header values by lower-case name.
        content: The body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


@final
class Connections:
    """Keep-alive connections to one address, as many as there are calls at the same time.

    Args:
        address: `host:port`.
        under_way: A connection on which the first request has been sent already.

    Raises:
        ValueError: The address is not of that form.
    """

    def __init__(self, address: str, *, under_way: anyio.abc.SocketStream | None = None) -> None:
        self._address = address
        self._host, self._port = split_address(address)
        self._idle: list[anyio.abc.SocketStream] = []
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
        stream = under_way or await self._take_idle()
        if stream is None:
            with anyio.fail_after(CONNECT_LIMIT):
                stream = await anyio.connect_tcp(self._host, self._port)
        http = h11.Connection(h11.CLIENT)
        done = False
        try:
            with anyio.fail_after(timeout):
                lines = [("Host", self._address), ("Content-Length", str(len(body))), *headers.items()]
                request = http.send(h11.Request(method=method, target=path, headers=lines))
                if under_way is None:
                    await stream.send((request or b"") + body)
                http.send(h11.Data(data=body))
                http.send(h11.EndOfMessage())
                response = await _receive(http, stream)
            done = True
        except h11.ProtocolError as error:
            msg = f"the answer is not HTTP/1.1: {error}"
            raise ConnectionError(msg) from error
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            msg = "the connection was closed before the answer"
            raise ConnectionError(msg) from error
        finally:
            if done and http.our_state is http.their_state is h11.DONE:
                self._idle.append(stream)
            else:
                await anyio.aclose_forcefully(stream)
        return response

    async def aclose(self) -> None:
        """Close the connections that no call uses."""
        if self._under_way is not None:
            self._idle.append(self._under_way)
        while self._idle:
            await anyio.aclose_forcefully(self._idle.pop())

    async def _take_idle(self) -> anyio.abc.SocketStream | None:
        """Take a connection that the peer has not closed meanwhile, as it may over a freeze of hours."""
        while self._idle:
            stream = self._idle.pop()
            descriptor = stream.extra(anyio.abc.SocketAttribute.raw_socket).fileno()  # noqa: S610 - not Django
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(0):
                return stream
            await anyio.aclose_forcefully(stream)
        return None


async def _receive(http: h11.Connection, stream: anyio.abc.SocketStream) -> Response:
    head: h11.Response | None = None
    chunks: list[bytes] = []
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                data = await stream.receive(_CHUNK)
            except anyio.EndOfStream:
                if head is None:
                    raise
                data = b""  # the end of a body that has no other
            http.receive_data(data)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            chunks.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
            return Response(status=head.status_code, headers=headers, content=b"".join(chunks))
