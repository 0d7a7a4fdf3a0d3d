"""The call that registers, made before most of this library is imported.

Lambda starts the function's runtime only once every extension has registered, so nothing that this call can do without
stands before it: neither attrs nor msgspec nor h11, which are imported while Lambda answers.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable

import anyio
import anyio.abc

from lambda_extension import early
from lambda_extension._api._enums import EventType
from lambda_extension._budget import CONNECT_LIMIT


def extension_name(name: str | None) -> str:
    """Give the name to register: the one that has been, or the complete file name of what Lambda started.

    Raises:
        ValueError: It cannot be sent as a header: it is empty, or has other characters than printable ones of ASCII.
    """
    name = name or early.sent_name() or os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib costs start-up
    if not name or not early.is_header_value(name):
        msg = (
            f"an extension cannot register as {name!r}: a name is printable ASCII, without spaces around it; pass the"
            " complete file name of what Lambda started"
        )
        raise ValueError(msg)
    return name


def wanted_events(events: Iterable[EventType | str] | None, *, managed_instance: bool) -> tuple[EventType, ...]:
    """Give the events to ask for: each once, and no INVOKE where there is none.

    Raises:
        ValueError: An event that the API does not have.
    """
    return tuple(map(EventType, early.wanted_events(events, managed_instance=managed_instance)))


async def take_early(
    address: str, name: str, events: Iterable[EventType], *, account_id: bool
) -> anyio.abc.SocketStream | None:
    """Take over the connection on which `early.register` has sent the call.

    Returns:
        None where it has not, or the connection has broken.

    Raises:
        RuntimeError: It has sent another one.
    """
    descriptor = early.take(address, name, events, account_id=account_id)
    if descriptor is None:
        return None
    sock = socket.socket(fileno=descriptor)
    try:
        return await anyio.abc.SocketStream.from_socket(sock)
    except (OSError, ValueError):  # anyio's word for a peer that has reset it
        sock.close()
        return None
    except BaseException:  # a cancellation has to close it too
        sock.close()
        raise


def split_address(address: str) -> tuple[str, int]:
    """Take `host:port` apart.

    Raises:
        ValueError: The address is not of that form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        msg = f"the runtime API's address must be 'host:port', not {address!r}"
        raise ValueError(msg)
    return host.strip("[]"), int(port)


async def send_register(
    address: str, name: str, events: tuple[EventType, ...], *, account_id: bool
) -> anyio.abc.SocketStream | None:
    """Connect and send the call, if it has not been sent at process start; who gets the stream reads the answer.

    Returns:
        None where it could not be sent: the client's own call will then fail, and say why.

    Raises:
        ValueError: The address is not `host:port`.
        RuntimeError: Another call has been sent at process start.
    """
    stream = await take_early(address, name, events, account_id=account_id)
    if stream is not None:
        return stream
    host, port = split_address(address)
    request = early.register_request(address, name, events, account_id=account_id)
    try:
        with anyio.fail_after(CONNECT_LIMIT):
            stream = await anyio.connect_tcp(host, port)
            try:
                await stream.send(request)
            except BaseException:  # a cancellation has to close it too
                await anyio.aclose_forcefully(stream)
                raise
    except (OSError, anyio.BrokenResourceError):  # a TimeoutError is the first
        return None
    return stream
