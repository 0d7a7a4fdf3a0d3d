"""The call that registers, made before most of this library is imported.

Lambda starts the function's runtime only once every extension has registered, so nothing that this call can do without
stands before it: neither attrs nor msgspec nor h11, which are imported while Lambda answers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import anyio
import anyio.abc

from lambda_extension._api._enums import EventType
from lambda_extension._budget import CONNECT_LIMIT

REGISTER = "/2020-01-01/extension/register"
JSON = {"Content-Type": "application/json"}


def extension_name(name: str | None) -> str:
    """Give the name to register: the complete file name of what Lambda started, unless there is a better one."""
    return name or os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib costs start-up


def wanted_events(events: Iterable[EventType | str] | None, *, managed_instance: bool) -> tuple[EventType, ...]:
    """Give the events to ask for: each once, and no INVOKE where there is none.

    Raises:
        ValueError: An event that the API does not have.
    """
    wanted = dict.fromkeys(EventType(event) for event in (EventType if events is None else events))
    if managed_instance:
        wanted.pop(EventType.INVOKE, None)
    return tuple(wanted)


def register_headers(name: str, *, account_id: bool) -> dict[str, str]:
    """Give the header fields of the call."""
    feature = {"Lambda-Extension-Accept-Feature": "accountId"} if account_id else {}
    return {"Lambda-Extension-Name": name, **feature}


def register_body(events: Iterable[EventType]) -> bytes:
    """Give the body of the call."""
    return b'{"events":[%s]}' % b",".join(b'"%s"' % event.encode() for event in events)


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
    """Connect and send the call; whoever gets the stream reads the answer, and closes it.

    Returns:
        None where it could not be sent: the client's own call will then fail, and say why.

    Raises:
        ValueError: The address is not `host:port`.
    """
    host, port = split_address(address)
    if not name.isprintable() or not name.isascii() or name != name.strip():
        return None  # not a value for a header
    body = register_body(events)
    fields = {
        "Host": address,
        "Content-Length": str(len(body)),
        **JSON,
        **register_headers(name, account_id=account_id),
    }
    head = f"POST {REGISTER} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in fields.items()) + "\r\n"
    try:
        with anyio.fail_after(CONNECT_LIMIT):
            stream = await anyio.connect_tcp(host, port)
            try:
                await stream.send(head.encode() + body)
            except BaseException:  # a cancellation has to close it too
                await anyio.aclose_forcefully(stream)
                raise
    except (OSError, anyio.BrokenResourceError):  # a TimeoutError is the first
        return None
    return stream
