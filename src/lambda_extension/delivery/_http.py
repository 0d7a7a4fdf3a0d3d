"""Payloads over HTTP: one request each, and what an answer means for the payload."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from lambda_extension._budget import shielded
from lambda_extension.delivery._encoders import Encoder, JSONArray
from lambda_extension.delivery._sinks import Payload, SinkError

if TYPE_CHECKING:
    import httpx

Authorize: TypeAlias = Callable[[Payload], Mapping[str, str] | Awaitable[Mapping[str, str]]]

# What will be otherwise with time, or once somebody has mended the configuration: the payload is not to blame.
_PASSING = frozenset({408, 425, 429})
_OUR_FAULT = frozenset({401, 403, 404, 407, 421})
_CLOSING = 0.5


@final
class HTTPSink:
    """Sends each payload as a request to one URL. An async context manager; leaving it closes its connections.

    An answer of 2xx acknowledges. 408, 425, 429, 5xx, time-outs and broken connections are tried again; a connection
    that was there and broke, at once. 401, 403, 404 and redirects are not tried again at once, but the payload is kept;
    any other 4xx says that the payload itself is wrong, and it is dropped. Every request carries the payload's id as
    `Idempotency-Key`.

    Args:
        url: Where to.
        headers: Headers of every request, over those that describe the payload.
        auth: Called before every request; gives headers, at once or awaited.
        encoder: The format; by default a JSON array, not compressed, which every endpoint takes.
        method: `POST` or `PUT`.
        timeout: Seconds for each step of a request: connecting, writing, waiting for the answer.
        http_client: An httpx client to use instead of an own one; it stays open.

    Raises:
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
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self.encoder: Encoder = encoder or JSONArray()
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = f"HTTPSink needs a URL such as https://host/path, not {url!r}"
            raise ValueError(msg)
        self._url = url
        self._headers = dict(headers or {})
        self._auth = auth
        self._method = method
        self._timeout = timeout
        self._http = http_client
        self._owns_http = http_client is None
        self._opening = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._owns_http and self._http is not None:
            http, self._http = self._http, None
            with shielded(_CLOSING):
                await http.aclose()

    async def open(self) -> None:
        """Make the client, in a worker thread: that imports httpx, and for https loads certificates.

        `send` does it if nobody did.
        """
        async with self._opening:
            self._http = self._http or await anyio.to_thread.run_sync(_client, self._url)

    async def send(self, payload: Payload) -> None:
        """Send one payload. A cancelled call closes its connection; the other end may have taken the payload.

        Raises:
            SinkError: The answer was not 2xx.
            ConnectionResetError: The connection broke; after a freeze, kept ones always have.
            ConnectionError: The other end cannot be reached.
            TimeoutError: It took too long.
        """
        if self._http is None:
            await self.open()
        assert self._http is not None
        import httpx  # by now somebody has: it can wait until after register

        headers = {"Content-Type": payload.content_type, "Idempotency-Key": payload.id}
        if payload.content_encoding is not None:
            headers["Content-Encoding"] = payload.content_encoding
        headers |= self._headers
        if self._auth is not None:
            credentials = self._auth(payload)
            headers |= await credentials if inspect.isawaitable(credentials) else credentials
        try:
            response = await self._http.request(
                self._method,
                self._url,
                headers=headers,
                content=payload.body,
                timeout=self._timeout,
                follow_redirects=False,
            )
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{self._url}: {type(error).__name__}") from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise ConnectionError(f"{self._url}: {error}") from error
        except httpx.TransportError as error:
            raise ConnectionResetError(f"{self._url}: {type(error).__name__}: {error}") from error
        if not response.is_success:
            raise _refused(self._url, response)


def _client(url: str) -> httpx.AsyncClient:
    import httpx  # a quarter of a start, which can wait until after register

    verify: ssl.SSLContext | bool = ssl.create_default_context() if urlsplit(url).scheme == "https" else False
    return httpx.AsyncClient(verify=verify, limits=httpx.Limits(keepalive_expiry=60.0))


def _refused(url: str, response: httpx.Response) -> SinkError:
    status = response.status_code
    passing = status in _PASSING or status >= 500
    return SinkError(
        f"{url} answered {status}: {response.text[:200]}",
        retryable=passing,
        keep=passing or status < 400 or status in _OUR_FAULT,
        retry_after=_retry_after(response.headers.get("Retry-After", "")) if passing else None,
    )


def _retry_after(text: str) -> float | None:
    """Read a `Retry-After`: seconds, or a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
