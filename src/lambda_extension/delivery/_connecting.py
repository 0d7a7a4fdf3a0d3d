"""An HTTP sink's own connections: httpx's requests over httpcore's pool. Imported late, since both take their time."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, final

import anyio
import httpcore
import httpx

from lambda_extension.delivery._reaching import reach


@final
class Connections(httpx.AsyncBaseTransport):
    """Does what `httpx.AsyncHTTPTransport` does, but for names: looking one up never holds up the process's end.

    Args:
        context: For TLS; None where only http is spoken.
        proxy: What the connections go through.
        kept: Seconds that an idle connection is kept.
    """

    def __init__(self, context: ssl.SSLContext | None, proxy: httpx.Proxy | None, *, kept: float) -> None:
        through = None
        if proxy is not None:
            through = httpcore.Proxy(_url(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw)
        # As many as there are requests at the same time: by default httpcore would have others wait for ten.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            proxy=through,
            max_connections=None,
            keepalive_expiry=kept,
            network_backend=_LookingUp(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises httpx's errors."""
        with _in_words_of_httpx():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    _url(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


@final
class _LookingUp(httpcore.AsyncNetworkBackend):
    """Connects to addresses. On asyncio, the look-up of a name would run in a thread that the interpreter joins."""

    def __init__(self) -> None:
        # To a type checker it may be a stand-in that httpcore has for where anyio is missing.
        self._connecting: Any = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async def connect(address: str) -> httpcore.AsyncNetworkStream:
            stream: httpcore.AsyncNetworkStream = await self._connecting.connect_tcp(
                address, port, None, local_address, socket_options
            )
            return stream

        try:
            with anyio.fail_after(timeout):
                return await reach(host, port, connect)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError(type(error).__name__) from None


@final
class _Body(httpx.AsyncByteStream):
    """An answer's body, whose errors are httpx's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_words_of_httpx():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        """Close the answer, so that its connection can be used again."""
        await self._stream.aclose()


@contextmanager
def _in_words_of_httpx() -> Iterator[None]:
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from None  # each has one of the same name


def _url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
