"""Bytes that no peer should send, as strategies; and a run of them that counts what it costs, in a process of its own.

`python hostile.py BACKEND SERVER COUNT` prints, as JSON, how many good requests were sent and answered meanwhile.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
from hypothesis import strategies as st
from serving_for_tests import Peer, answer, read_body, running

HEADERS = [
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: 5\r\nContent-Length: 7",
    b"Content-Length: 40",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Expect: 100-continue\r\nContent-Length: 100",
    b"Connection: close",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    b"Host: y",
    b"X: " + b"y" * 20_000,
    b"X : y",
    b"\x00: y",
    b" folded",
]
BODIES = [
    b"",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n",
    b"fffffffffffffffff\r\n",
    b"[",
    b"\x00" * 300,
    b"0\r\n\r\n",
]
TARGETS = [b"/", b"*", b"//", b"/%ff%zz", b"/\xff", b"http://", b"http://x/y", b"/" + b"z" * 70_000, b""]
METHODS = [b"GET", b"POST", b"PUT", b"CONNECT", b"HEAD", b"PRI", b"NO", b"get", b"\xff"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/9", b"", b"HTTP/1.1 "]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

crooked = st.builds(
    lambda method, target, version, headers, body: (
        method + b" " + target + b" " + version + b"\r\nHost: x\r\n" + b"\r\n".join([*headers, b"", b""]) + body
    ),
    st.sampled_from(METHODS),
    st.sampled_from(TARGETS),
    st.sampled_from(VERSIONS),
    st.lists(st.sampled_from(HEADERS), max_size=3),
    st.sampled_from(BODIES),
)
hostile = st.one_of(
    st.binary(max_size=300),
    crooked,
    st.sampled_from(
        [PREFACE, PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"\r\n" * 1000, b"\x16\x03\x01\x02\x00"]
    ),
)


def arbitrary(rng: random.Random) -> bytes:
    """Make what the strategies make, quickly."""
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(300))
    line = b" ".join(rng.choice(parts) for parts in (METHODS, TARGETS, VERSIONS))
    headers = [rng.choice(HEADERS) for _ in range(rng.randrange(4))]
    request = line + b"\r\nHost: x\r\n" + b"\r\n".join([*headers, b"", b""]) + rng.choice(BODIES)
    return request[: rng.randrange(len(request))] if rng.random() < 0.3 else request


async def hasty(scope: Any, receive: Any, send: Any) -> None:
    """Answer whatever it was."""
    if scope["type"] == "http":
        await read_body(receive)
        await answer(send)


async def main(server: Any, count: int) -> dict[str, int]:
    rng = random.Random(7)
    tried = good = 0

    async def attack(peer: Peer) -> None:
        async with peer:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError), anyio.move_on_after(0.05):
                for _ in range(rng.randrange(1, 4)):
                    await peer.send(arbitrary(rng))
                if rng.random() < 0.5:
                    await peer.rest()
            if rng.random() < 0.5:
                await peer.reset()

    async with running(hasty, server, within=300.0) as run:
        for _ in range(count // 10):
            async with await run.connect() as kept, anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(attack, await run.connect())
                for _ in range(5):
                    tried += 1
                    await kept.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]")
                    with anyio.move_on_after(5), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                        good += (await kept.answer())[0] == 200
    return {"tried": tried, "good": good}


if __name__ == "__main__":
    backend, server, count = sys.argv[1:]
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    name = "trio" if backend == "trio" else "asyncio"
    sys.stdout.write(json.dumps(anyio.run(main, server, int(count), backend=name, backend_options=options)))
