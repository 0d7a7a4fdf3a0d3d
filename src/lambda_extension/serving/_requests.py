"""HTTP/1.1 requests out of bytes: httptools, and a limit on what may come before something comes of it. No I/O."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, final

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidURLError,
    HttpRequestParser,
    parse_url,
)

GARBAGE = "what came is not HTTP/1.1: answered 400"
OVERSIZED = "the head of a request was too long: answered 431"
SLOW = "a request took too long to arrive: answered 408"
OTHER_PROTOCOL = "a protocol was asked for that the direct server refuses: answered 501"


class RefusedError(Exception):
    """What came cannot be taken.

    Attributes:
        status: What to answer.
        kind: What to log.
    """

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind


class Head(NamedTuple):
    """A request up to its body."""

    method: str
    path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    expects_continue: bool


@final
class RequestParser:
    """Takes in bytes, gives what they mean.

    Attributes:
        events: What has been understood: the head of a request, pieces of its body, None for its end; again and again.
        refusal: Set where what came cannot be taken: no more is to be fed.
        midway: Whether a request has begun to come and has not come to its end.
    """

    def __init__(self, most_head_bytes: int) -> None:
        self.events: deque[Head | bytes | None] = deque()
        self.refusal: RefusedError | None = None
        self.midway = False
        self._most = most_head_bytes
        self._barren = 0
        self._parser = HttpRequestParser(self)
        self.on_message_begin()
        self.midway = False

    def feed(self, data: bytes) -> None:
        """Take in bytes."""
        understood = len(self.events)
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError as error:
            cause = error.__context__
            self.refusal = cause if isinstance(cause, RefusedError) else RefusedError(400, GARBAGE)
        except HttpParserError:
            self.refusal = RefusedError(400, GARBAGE)
        # Heads, trailers, the extensions of chunks, empty lines: whatever has no end has a limit.
        self._barren = 0 if len(self.events) > understood else self._barren + len(data)
        if self._barren > self._most and self.refusal is None:
            self.refusal = RefusedError(431, OVERSIZED)

    # What follows is called by httptools, by these names.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.midway = True
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._in_head = True
        self._hosts = 0
        self._expects_continue = False

    def on_url(self, url: bytes) -> None:
        """Take in a piece of the request's target."""
        self._grow(len(url))
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header; one that follows a body counts, and is dropped."""
        self._grow(len(name) + len(value))
        if not self._in_head:
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Put a head together."""
        parser = self._parser
        version = parser.get_http_version()
        if parser.should_upgrade():
            raise RefusedError(501, OTHER_PROTOCOL)
        if version not in ("1.1", "1.0") or (self._hosts != 1 and (version == "1.1" or self._hosts)):
            raise RefusedError(400, GARBAGE)
        path, query = _split(self._target)
        self._in_head = False
        self.events.append(
            Head(
                method=parser.get_method().decode(),
                path=path,
                query=query,
                version=version,
                headers=self._headers,
                keep_alive=parser.should_keep_alive(),
                expects_continue=self._expects_continue and version == "1.1",
            )
        )

    def on_body(self, body: bytes) -> None:
        """Take in a piece of a body."""
        self.events.append(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self.midway = False
        self.events.append(None)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._most:
            raise RefusedError(431, OVERSIZED)


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request's target, which proxies are sent in its absolute form."""
    if target[:1] in (b"/", b"*"):
        path, _, query = target.partition(b"?")
        return path, query
    try:
        url = parse_url(target)
    except HttpParserInvalidURLError:
        raise RefusedError(400, GARBAGE) from None
    return url.path or b"/", url.query or b""
