"""Payloads over HTTP: one request each, and what an answer means for the payload."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import re
import ssl
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, TypeAlias, final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import anyio

from lambda_extension._budget import CLOSING_LIMIT, shielded, wall_clock
from lambda_extension._threads import in_daemon_thread
from lambda_extension._validators import check_http_client, check_type
from lambda_extension.delivery._accounts import logger
from lambda_extension.delivery._encoders import Encoder, JSONArray
from lambda_extension.delivery._proxies import ProxyError, proxy_for
from lambda_extension.delivery._sinks import Payload, SinkError
from lambda_extension.serving._faults import Faults

if TYPE_CHECKING:
    import httpx

Authorize: TypeAlias = Callable[[Payload], Mapping[str, str] | Awaitable[Mapping[str, str]]]
ReadAnswer: TypeAlias = Callable[[Payload, int, bytes], None]

# What will be otherwise with time.
_PASSING = frozenset({408, 425, 429})
# The payload itself is to blame. Of any other 4xx it is the configuration, which somebody may mend.
_PAYLOAD_FAULT = frozenset({400, 409, 422})
_TOO_LARGE = 413
# Of an answer, no more is read: of one that says what became of each event, and of any other.
_LONGEST_ANSWER = 4 * 1024 * 1024
_LONGEST_REASON = 64 * 1024
# Kept connections are not used after so many seconds of the wall clock: the environment may have been frozen meanwhile,
# and a peer that has gone silently is found out by a time-out only.
_STALE = 15.0
# And by the clock of the event loop, which may stand still in a freeze.
_KEPT = 60.0
# Names and values of headers as RFC 9110 has them, in ASCII alone: white space around a value is no part of it.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


@final
class HTTPSink:
    """Sends each payload as a request to one URL. An async context manager; leaving it closes its connections.

    An answer of 2xx acknowledges. 408, 425, 429, 5xx, time-outs and broken connections are tried again; a connection
    that was there and broke, at once. 413 has the payload's halves sent. 400, 409 and 422 say that the payload itself
    is wrong, and it is dropped. All else, such as 401, 404 or a redirect, is a matter of configuration: it is not tried
    again at once, but the payload is kept. Every request carries the payload's id as `Idempotency-Key`.

    The status alone decides: a body that breaks off, cannot be unpacked or does not end changes nothing.

    Proxies are those of the environment: `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, also in capitals, as
    curl reads them; `no_proxy` may list networks. Nothing of that, or of the URL beyond its host, is ever logged.

    Args:
        url: Where to; a user and password in it are sent as basic authentication.
        headers: Headers of every request, over those that describe the payload.
        auth: Called before every request; gives headers, at once or awaited.
        encoder: The format; by default a JSON array, not compressed, which every endpoint takes.
        method: `POST` or `PUT`.
        timeout: Seconds for each step of a request: connecting, writing, waiting for the answer.
        read_answer: Called with the payload, the status and the body of each answer, as far as it came and 4 MiB of it
            at most. The meaning is as above unless this raises a `SinkError` that says otherwise, such as which events
            were refused; any other error of it is logged.
        http_client: An httpx client to use instead of own connections; it stays open.

    Attributes:
        place: Scheme, host and port, for the log.

    Raises:
        TypeError: An argument is of another type.
        ValueError: The URL is not one of http or https with a host.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: Authorize | None = None,
        encoder: Encoder | None = None,
        method: Literal["POST", "PUT"] = "POST",
        timeout: float = 5.0,
        read_answer: ReadAnswer | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        check_type("timeout", timeout, int | float, "a number of seconds")
        check_http_client(http_client)
        if not isinstance(headers, Mapping | None):
            msg = f"headers must be a mapping or None, not of type {type(headers).__name__}"  # they are often secret
            raise TypeError(msg)
        self.encoder: Encoder = encoder or JSONArray()
        self._parts = _checked(url)
        scheme, host = self._parts.scheme, self._parts.netloc.rpartition("@")[2]
        self.place: str = f"{scheme}://{host}"
        self._url = urlunsplit((scheme, host, self._parts.path, self._parts.query, ""))
        self._headers = _basic(self._parts) | dict(headers or {})
        self._auth = auth
        self._method = method
        self._timeout = timeout
        self._read_answer = read_answer
        self._faults = Faults(logger)
        self._client = http_client
        self._connections: _Connections | None = None
        self._closed = False
        self._opening = anyio.Lock()
        self._wall_clock = wall_clock.get()
        self._used: float | None = None

    def __repr__(self) -> str:
        return f"HTTPSink({self.place!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Prepare own connections, in a worker thread: that imports httpx, and for https loads certificates.

        `send` does it if nobody did. A cancelled call leaves the thread to itself.

        Raises:
            RuntimeError: The sink has been closed.
            SinkError: The environment names a proxy that cannot be used.
        """
        self._check_open()
        async with self._opening:
            if self._client is None and self._connections is None:
                connections = await in_daemon_thread(_prepare, self._parts, dict(os.environ))
                self._check_open()  # it may have been closed meanwhile
                self._connections = connections

    async def aclose(self) -> None:
        """Close own connections; nothing can be sent any more. Never blocks for long. Safe to call again."""
        self._closed = True
        connections, self._connections = self._connections, None
        if connections is not None:
            await _close(connections.transport)

    async def send(self, payload: Payload) -> None:
        """Send one payload. A cancelled call closes its connection; the other end may have taken the payload.

        Raises:
            SinkError: The answer was not 2xx, or `read_answer` raised it, or a header cannot be sent.
            ConnectionResetError: The connection broke; after a freeze, kept ones always have.
            ConnectionError: The other end cannot be reached.
            TimeoutError: It took too long.
            RuntimeError: The sink has been closed.
        """
        self._check_open()
        if self._client is None:
            await self._fresh_connections()
        import httpx  # by now somebody has: it can wait until after register

        headers = httpx.Headers(
            {"Content-Type": payload.content_type, "Idempotency-Key": payload.id, "Accept-Encoding": "identity"}
        )
        if payload.content_encoding is not None:
            headers["Content-Encoding"] = payload.content_encoding
        headers.update(self._sendable(self._headers))
        if self._auth is not None:
            credentials = self._auth(payload)
            headers.update(self._sendable(await credentials if inspect.isawaitable(credentials) else credentials))
        # Without the errors themselves: their texts may hold a header, or what the other end made of it.
        try:
            answer = await self._exchange(headers, payload.body)
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{self.place}: {type(error).__name__}") from None
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise ConnectionError(f"{self.place}: {type(error).__name__}") from None
        except httpx.LocalProtocolError:
            msg = f"{self.place}: a header, or its value, is none that HTTP knows"
            raise SinkError(msg, retryable=False) from None
        except httpx.TransportError as error:
            raise ConnectionResetError(f"{self.place}: {type(error).__name__}") from None
        self._ask_meaning(payload, answer)
        if not 200 <= answer.status < 300:
            raise _refused(self.place, answer)

    def _ask_meaning(self, payload: Payload, answer: _Answer) -> None:
        if self._read_answer is None:
            return
        try:
            self._read_answer(payload, answer.status, answer.body)
        except SinkError:
            raise
        except Exception as error:  # noqa: BLE001 - what was answered may be anything; what was taken must not be sent again
            self._faults.note(f"an answer of {self.place} cannot be read ({type(error).__name__}): its status counts")

    def _sendable(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return headers as they are; say of one that HTTP cannot carry which it is, and nothing of its value."""
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                msg = f"{self.place}: the header {name!a} is not all ASCII, or has a space or newline at an end"
                raise SinkError(msg, retryable=False)
        return headers

    def _check_open(self) -> None:
        if self._closed:
            msg = "the sink has been closed"
            raise RuntimeError(msg)

    async def _fresh_connections(self) -> None:
        """Have connections that were not kept through a freeze."""
        await self.open()
        assert self._connections is not None
        now = self._wall_clock()
        if self._used is not None and not 0 <= now - self._used < _STALE:
            stale, self._connections = self._connections.transport, self._connections.again()
            await _close(stale)
        self._used = now

    async def _exchange(self, headers: httpx.Headers, body: bytes) -> _Answer:
        import httpx

        if self._client is not None:
            request = self._client.build_request(
                self._method, self._url, headers=headers, content=body, timeout=self._timeout
            )
            response = await self._client.send(request, stream=True, follow_redirects=False)
        else:
            # The transport itself, since a client logs every request with its URL.
            self._check_open()
            assert self._connections is not None
            headers.setdefault("User-Agent", "lambda-extension")
            timeouts = httpx.Timeout(self._timeout).as_dict()
            request = httpx.Request(
                self._method, self._url, headers=headers, content=body, extensions={"timeout": timeouts}
            )
            response = await self._connections.transport.handle_async_request(request)
        try:
            with anyio.move_on_after(self._timeout):
                return _Answer(
                    response.status_code,
                    response.headers.get("Retry-After", ""),
                    await _read(response, _LONGEST_REASON if self._read_answer is None else _LONGEST_ANSWER),
                )
        finally:
            with shielded(anyio.current_time() + CLOSING_LIMIT):
                await response.aclose()
            self._used = self._wall_clock()
        return _Answer(response.status_code, "", b"")


class _Answer(NamedTuple):
    status: int
    retry_after: str
    body: bytes


class _Connections(NamedTuple):
    """Own connections, and how to make others."""

    transport: httpx.AsyncBaseTransport
    make: Callable[[], httpx.AsyncBaseTransport]

    def again(self) -> _Connections:
        """Make others, which shares what is slow to make."""
        return _Connections(self.make(), self.make)


def _checked(url: str) -> SplitResult:
    msg = "HTTPSink needs a URL such as https://host/path"  # not what it was: there may be a password in it
    if not isinstance(url, str):
        raise TypeError(msg)
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    raise ValueError(msg)


def _basic(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"}


def _prepare(parts: SplitResult, variables: Mapping[str, str]) -> _Connections:
    import httpx  # a quarter of a start, which can wait until after register

    from lambda_extension.delivery._connecting import Connections

    try:
        url = proxy_for(parts, variables)
        proxy = None if url is None else httpx.Proxy(url)
    except (ProxyError, ValueError, httpx.InvalidURL) as error:
        reason = str(error) if isinstance(error, ProxyError) else "the environment names a proxy that is none"
        raise SinkError(reason, retryable=False) from None
    if proxy is not None and proxy.url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        msg = "the environment names a SOCKS proxy, which needs pip install 'httpx[socks]'"
        raise SinkError(msg, retryable=False)
    context = ssl.create_default_context() if parts.scheme == "https" else None

    def make() -> httpx.AsyncBaseTransport:
        return Connections(context, proxy, kept=_KEPT)

    return _Connections(make(), make)


async def _close(transport: httpx.AsyncBaseTransport) -> None:
    """Close connections; whoever is at the other end is not waited for."""
    with shielded(anyio.current_time() + CLOSING_LIMIT):
        await transport.aclose()


def _refused(place: str, answer: _Answer) -> SinkError:
    status = answer.status
    passing = status in _PASSING or status >= 500
    return SinkError(
        f"{place} answered {status}",
        retryable=passing,
        keep=status not in _PAYLOAD_FAULT,
        too_large=status == _TOO_LARGE,
        retry_after=_retry_after(answer.retry_after) if passing else None,
        answer=answer.body[:1000].decode(errors="replace"),
    )


async def _read(response: httpx.Response, most: int) -> bytes:
    """Read the body of an answer, as far as it comes and can be unpacked, and no more than so many bytes."""
    import httpx

    if response.is_stream_consumed:  # by a hook of the client's
        return response.content[:most]
    packed = bytearray()
    with contextlib.suppress(httpx.TransportError):
        async for part in response.aiter_raw():
            packed += part[: most - len(packed)]
            if len(packed) == most and not response.is_closed:
                # With that the next step fails, and nothing is left of the reading; to break off would leave it behind.
                with shielded(anyio.current_time() + CLOSING_LIMIT):
                    await response.aclose()
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        return bytes(packed)
    # None was asked for. What is packed is not unpacked beyond the limit either, however often a byte is repeated.
    with contextlib.suppress(zlib.error):
        if coding in ("gzip", "x-gzip", "deflate"):
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(packed, most)
    return b""


def _retry_after(text: str) -> float | None:
    """Read a `Retry-After`: seconds, or a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime  # it can wait until there is an answer that needs it

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
