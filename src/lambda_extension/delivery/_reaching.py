"""Connections to names: to whichever of a name's addresses answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from lambda_extension._budget import NEXT_ADDRESS, closing_until, shielded
from lambda_extension._threads import look_up

Stream = TypeVar("Stream")


async def reach(host: str, port: int, connect: Callable[[str], Awaitable[Stream]]) -> Stream:
    """Connect to the address of a name that answers first.

    They are tried in their order, each once the one before has failed or has taken a while: an address that nobody
    answers at, as of an IPv6 network without a way out, must not use up the time of the others. A cancelled call leaves
    no connection behind.

    Args:
        host: The name, or an address.
        port: The port that it is looked up for.
        connect: Connects to an address; what it gives has a method `aclose`.

    Raises:
        OSError: The name has no address.
        Exception: What `connect` raised of the address that failed last; of all of them, none can be reached.
    """
    addresses = await look_up(host, port)
    connected: list[Any] = []
    failure: Exception = OSError("the name has no address")

    async def attempt(address: str, over: anyio.Event) -> None:
        nonlocal failure
        try:
            connected.append(await connect(address))
            tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - raised below, where no address is any better
            failure = error
        finally:
            over.set()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                over = anyio.Event()
                tasks.start_soon(attempt, address, over, name="lambda_extension.delivery connecting")
                with anyio.move_on_after(NEXT_ADDRESS):
                    await over.wait()
    except BaseException:
        # A connection that came with the cancellation belongs to nobody.
        await _close(connected)
        raise
    if not connected:
        raise failure
    await _close(connected[1:])  # two may answer at the same moment
    return connected[0]  # type: ignore[no-any-return]


async def _close(connected: list[Any]) -> None:
    # All of them, whatever is being cancelled.
    with shielded(closing_until()):
        for stream in connected:
            await anyio.aclose_forcefully(stream)
