"""Only who is on this machine may call: a page in the developer's browser may not."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final, final
from urllib.parse import urlsplit

from lambda_extension.serving._asgi import ASGIApp, Receive, Scope, Send

# What the platform calls itself, beside what names the loopback interface anywhere.
_NAMES: Final = frozenset({"localhost", "sandbox", "sandbox.localdomain"})
_REFUSED: Final = b'{"errorMessage":"only this machine may call, not a web page","errorType":"AccessDenied"}'


@final
class LocalOnly:
    """An ASGI application that answers 403 in place of another one where a request may come from a web page.

    A socket on the loopback interface keeps other machines out, but not a browser on this one. A page reaches it under
    a name of its own that resolves to loopback, which the Host header gives away, or by a request across origins, which
    has an Origin header or, where it only fetches, a Sec-Fetch-Site header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if _is_local(headers.get(b"host", b"")) and not _from_elsewhere(headers):
            await self._app(scope, receive, send)
            return
        pairs = [(b"content-type", b"application/json"), (b"content-length", str(len(_REFUSED)).encode())]
        await send({"type": "http.response.start", "status": 403, "headers": pairs})
        await send({"type": "http.response.body", "body": _REFUSED})


def _from_elsewhere(headers: Mapping[bytes, bytes]) -> bool:
    origin = headers.get(b"origin")
    if origin is None:
        return headers.get(b"sec-fetch-site") == b"cross-site"
    return not _is_local(origin.partition(b"://")[2])


def _is_local(authority: bytes) -> bool:
    """Tell whether HOST[:PORT] names the loopback interface."""
    try:
        host = urlsplit(f"//{authority.decode('ascii')}").hostname or ""
        return host in _NAMES or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
