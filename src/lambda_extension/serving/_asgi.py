"""The types of ASGI, as far as they are used here, and the names of who serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

ServerName: TypeAlias = Literal["hypercorn", "direct"]
"""`hypercorn`, or `direct`: HTTP/1.1 and nothing more, faster and smaller; needs the extra `direct`."""
