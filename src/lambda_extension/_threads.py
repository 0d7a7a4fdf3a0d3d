"""Work in threads that nobody has to wait for, not even the interpreter's own end."""

from __future__ import annotations

import contextlib
import contextvars
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, TypeVar

import anyio
from sniffio import current_async_library_cvar

T = TypeVar("T")


async def in_daemon_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a thread of its own, and wait for it; a cancelled call leaves the thread to itself.

    For what may take longer than a shutdown has time: the interpreter ends without daemon threads, whereas it joins
    anyio's worker threads on asyncio. The function sees the context variables of the caller. What it raises is raised
    here.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []
    context = contextvars.copy_context()
    context.run(current_async_library_cvar.set, None)
    # Its end says that the work is done, whether or not the event loop still runs by then: nothing is called across
    # threads, and anyio.from_thread, which makes classes, is not imported.
    done, working = socket.socketpair()

    def work() -> None:
        with working:
            try:
                outcome.append(context.run(function, *args))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                failure.append(error)

    with done:
        threading.Thread(target=work, daemon=True, name="lambda_extension work").start()
        await anyio.wait_readable(done)
    if failure:
        raise failure[0]
    return outcome[0]


async def look_up(host: str, port: int, *, family: int = socket.AF_UNSPEC) -> list[str]:
    """Give the addresses of a name, in the order in which they should be tried; an address is its own.

    A resolver that nobody answers takes half a minute to give up; on asyncio, the event loop's own look-up would hold
    up the end of the process for as long.

    Raises:
        OSError: It has none.
    """
    with contextlib.suppress(ValueError):
        return [str(ip_address(host))]
    # As bytes, where that is the same: for text the tables of IDNA are imported, 3 ms and half a MiB.
    name = host.encode() if host.isascii() else host
    found = await in_daemon_thread(socket.getaddrinfo, name, port, family, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
