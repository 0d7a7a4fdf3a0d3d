"""One request and its answer, between an app and a connection of the direct server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, final

import anyio

from lambda_extension.serving._asgi import Message
from lambda_extension.serving._requests import Head, RefusedError

if TYPE_CHECKING:
    from lambda_extension.serving._direct import Connection

_NO_BODY = frozenset({204, 304})


class PeerGoneError(OSError):
    """The peer has gone, or was given up; ASGI wants an `OSError`."""


def answer_refusal(refusal: RefusedError) -> bytes:
    """Return the whole answer to what cannot be taken."""
    return b"HTTP/1.1 %d \r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % refusal.status


@final
class Exchange:
    """One request and its answer, as ASGI has them.

    Attributes:
        answering: Whether a part of the answer has been sent.
        keeps_alive: Whether the connection may be used for another request.
    """

    def __init__(self, connection: Connection, head: Head) -> None:
        self.answering = False
        self.keeps_alive = head.keep_alive
        self._connection = connection
        self._head = head
        self._expects_continue = head.expects_continue
        self._status = 0
        self._headers: Any = ()
        self._received = False  # the end of the body, by the app
        self._gone = False
        self._ended = False
        self._chunked = False
        self._left: int | None = None
        self._over: anyio.Event | None = None

    async def run(self) -> None:
        """Call the app, and end the answer where it did not."""
        connection = self._connection
        try:
            await connection.server.app(self._scope(), self.receive, self.send)
        except Exception as error:  # noqa: BLE001 - of the app, whatever it may be
            if not (self._gone and _is_gone(error)):
                connection.server.faults.note("the app failed", error)
        if self._over is not None:
            self._over.set()
        if not self._ended:
            if not self.answering and not self._gone and not connection.broken:
                self._status, self._headers, self._left = 500, (), None
                self.keeps_alive = False
                with contextlib.suppress(PeerGoneError):
                    await self._answer(b"", more=False)
            self.keeps_alive = False
        while self.keeps_alive and not self._received:
            self._received = await connection.next_piece() is None

    async def receive(self) -> Message:
        """Return what is there of the body, or wait for a piece of it; once it is over, wait for the peer to go."""
        connection = self._connection
        if self._received or self._gone:
            return await self._wait_gone()
        try:
            if self._expects_continue:
                self._expects_continue = False
                if not (self.answering or connection.buffered):
                    await connection.send(b"HTTP/1.1 100 \r\n\r\n")
            pieces = []
            piece = await connection.next_piece()
            while piece is not None:
                pieces.append(piece)
                if not connection.buffered:
                    break
                piece = await connection.next_piece()
        except PeerGoneError:
            self._gone = True
            return {"type": "http.disconnect"}
        self._received = piece is None
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": not self._received}

    async def send(self, message: Message) -> None:
        """Take in a message of the answer.

        Raises:
            OSError: The peer has gone.
            RuntimeError: This message has no place here.
        """
        if self._gone:  # or given up: what was taken in is not the whole request
            raise PeerGoneError
        kind = message["type"]
        if kind == "http.response.start" and not self._status:
            self._status, self._headers = int(message["status"]), message.get("headers", ())
        elif kind == "http.response.body" and self._status and not self._ended:
            await self._answer(bytes(message.get("body", b"")), more=message.get("more_body", False))
        else:
            msg = f"{kind} has no place here"
            raise RuntimeError(msg)

    def _scope(self) -> dict[str, Any]:
        head = self._head
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": head.version,
            "method": head.method,
            "scheme": "http",
            "path": _decode(head.path),
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "client": self._connection.client,
            "server": self._connection.local,
            "extensions": {},
        }

    async def _wait_gone(self) -> Message:
        connection = self._connection
        while not (self._gone or self._ended):
            if connection.buffered or connection.broken:
                # The next request is here, and is not read past: nobody sees the peer go.
                self._over = anyio.Event()
                await self._over.wait()
            else:
                self._gone = await connection.wait_gone()
        return {"type": "http.disconnect"}

    async def _answer(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the answer, behind its head if it is the first."""
        start = b"" if self.answering else self._begin(body, more=more)
        if self._head.method == "HEAD" or self._status in _NO_BODY:
            body = b""
        elif self._left is not None:
            if len(body) > self._left:
                self.keeps_alive = False
                msg = "the body of the answer is longer than its content-length"
                raise RuntimeError(msg)
            self._left -= len(body)
            if self._left and not more:
                self.keeps_alive = False  # so that the peer does not wait for the rest
        elif self._chunked:
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        self.answering = True
        self._ended = not more
        if self._over is not None and self._ended:
            self._over.set()
        try:
            await self._connection.send(start + body)
        except PeerGoneError:
            self._gone = True
            self.keeps_alive = False
            raise

    def _begin(self, body: bytes, *, more: bool) -> bytes:
        """Return the head of the answer. How a body is framed and whether the connection lives is the server's."""
        connection = self._connection
        if connection.server.ending or not (self._received or connection.arrived):
            self.keeps_alive = False
        lines = [b"HTTP/1.1 %d " % self._status]
        for name, value in self._headers:
            lowered = name.lower()
            if lowered == b"connection":
                self.keeps_alive = self.keeps_alive and b"close" not in value.lower()
            elif lowered != b"transfer-encoding":
                if lowered == b"content-length":
                    self._left = int(value)
                lines.append(b"%s: %s" % (name, value))
        if self._left is None and self._status not in _NO_BODY:
            if not more:
                self._left = len(body)
                lines.append(b"content-length: %d" % self._left)
            elif self._head.version == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked")
            else:
                self.keeps_alive = False  # which ends the body
        if not self.keeps_alive:
            lines.append(b"connection: close")
        elif self._head.version == "1.0":
            lines.append(b"connection: keep-alive")
        lines += (b"", b"")
        start = b"\r\n".join(lines)
        if not start.count(b"\n") == start.count(b"\r") == len(lines) - 1:
            msg = "a header of the answer has a line break in it"
            raise ValueError(msg)
        return start


def _decode(path: bytes) -> str:
    if b"%" in path:
        from urllib.parse import unquote_to_bytes  # whose import nobody else needs

        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace")


def _is_gone(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.split(PeerGoneError)[1] is None
    return isinstance(error, PeerGoneError)
