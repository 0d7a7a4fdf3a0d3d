"""A body for a request of httpx that is safe to cancel half-way.

httpx's own is an async generator. Where a request is cancelled while a part of it is being sent, the generator is left
where it stands, for the garbage collector to find: trio warns of that, at whatever moment and in whichever task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, final

import httpx


async def send_whole(
    http: httpx.AsyncClient, method: str, url: str, *, content: bytes, **options: Any
) -> httpx.Response:
    """Send a request whose body is there already, and return the answer, read to its end.

    Args:
        http: The client; its defaults apply.
        method: HTTP method.
        url: URL, or path if the client has a base URL.
        content: The body.
        **options: Of `httpx.AsyncClient.build_request`. Redirects are not followed.

    Raises:
        httpx.HTTPError: As the client raises it.
    """
    request = http.build_request(method, url, content=content, **options)
    request.stream = WholeBody(content)
    return await http.send(request, follow_redirects=False)


@final
class WholeBody(httpx.AsyncByteStream):
    """A body in one piece, which can be sent again."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


@final
class _Once(AsyncIterator[bytes]):
    def __init__(self, content: bytes) -> None:
        self._parts = [content]

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()
