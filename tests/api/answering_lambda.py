"""A Lambda that answers what it was told to, one request after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.abc

REGISTERED = b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: e-1\r\nContent-Length: 2\r\n\r\n{}"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 91\r\n\r\n"
    b'{"errorType": "Extension.InvalidEventType", "errorMessage": "INVOKE is not to be had here"}'
)


class Lambda:
    """Answers requests, one after the other, with what it was given."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.address = ""

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                while self.answers:
                    self.requests.append(await stream.receive())
                    await stream.send(self.answers.pop(0))
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncGenerator[Lambda]:
    served = Lambda(*answers)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    served.address = f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
    with anyio.fail_after(10):
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, served.handle)
            yield served
            tasks.cancel_scope.cancel()
