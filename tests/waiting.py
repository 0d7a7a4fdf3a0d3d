"""Waits, with a bound that means a hang, for what nobody announces: the state of another process, a port, a file."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

# Seconds between two looks. That it is short matters to how long the tests take, and to nothing else.
_PAUSE = 0.01


async def eventually(holds: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait until `holds()` is true, `within` seconds at most."""
    with anyio.fail_after(within):
        while not holds():  # noqa: ASYNC110 - an event is better, where there is one
            await anyio.sleep(_PAUSE)


async def obtained(attempt: Callable[[], Awaitable[T | None]], *, within: float = 5.0) -> T:
    """Repeat an attempt until it gives something, `within` seconds at most."""
    with anyio.fail_after(within):
        while (found := await attempt()) is None:  # noqa: ASYNC110
            await anyio.sleep(_PAUSE)
        return found


def wait_until(holds: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait in plain code until `holds()` is true, `within` seconds at most."""
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            msg = f"not so within {within:g} s"
            raise TimeoutError(msg)
        time.sleep(_PAUSE)


def listens(port: int) -> bool:
    """Tell whether somebody takes connections at a port of this machine."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
