"""Register at process start, before anything else is imported: Lambda starts the function once every extension has.

One line at the top of a script, before its other imports:

    from lambda_extension import early; early.register(events=["SHUTDOWN"])

It sends the call and returns at once. What registers later (`open_extension`, `open_telemetry`, `run`, `run_telemetry`,
`ExtensionClient.register`) takes the connection over and reads the answer, which has come by then.

A launcher that has no time for the package's own head imports this file by itself, from the folder that it lies in:

    sys.path.insert(0, "/opt/python/lambda_extension"); import early; del sys.path[0]
"""

# This module stands before everything else: it imports nothing but what is built into the interpreter, and `_socket`,
# which many builds keep in a file of its own. `__future__` and `typing` are not, so that annotations that need a name
# of theirs are strings; nor is `os`, which takes a quarter of what the interpreter's own start does.
import _socket
import sys

__all__ = ["register"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REGISTER = "/2020-01-01/extension/register"
JSON = {"Content-Type": "application/json"}

_EVENTS = ("INVOKE", "SHUTDOWN")
# The API is a process on the same machine. Where it does not answer, the call that is made later waits for it.
_CONNECT_LIMIT = 0.25

# Whichever way this file was imported, there is one of it: whoever takes the connection over looks here.
sys.modules.setdefault("lambda_extension.early", sys.modules[__name__])


class Sent:
    """The call that has been sent.

    Attributes:
        address: `host:port` of the API that it was sent to.
        name: The name that was registered.
        events: The events that were asked for.
        account_id: Whether the account id was asked for.
        socket: The connection that the answer comes on; None once it was taken over.
    """

    __slots__ = ("account_id", "address", "events", "name", "socket")

    def __init__(
        self, address: str, name: str, events: tuple[str, ...], account_id: bool, socket: _socket.socket
    ) -> None:
        self.address: str = address
        self.name: str = name
        self.events: tuple[str, ...] = events
        self.account_id: bool = account_id
        self.socket: _socket.socket | None = socket


_sent: Sent | None = None


def register(*, name: str | None = None, events: "Iterable[str] | None" = None, account_id: bool = False) -> None:
    """Send the call that registers this extension, and return without waiting for the answer.

    Outside of Lambda, and where the API does not take the call within 0.25 seconds, nothing is sent: what registers
    later does, and says what is wrong. It has to ask for the same events; a name that it does not mention is this one.
    A second call that asks for the same does nothing: the launcher of a layer has registered before its script does.

    Args:
        name: For an external extension, the complete file name of what Lambda started in `/opt/extensions`. By default
            the basename of `sys.argv[0]`.
        events: What to be told of; by default INVOKE and SHUTDOWN. `open_telemetry` asks for SHUTDOWN alone.
        account_id: Ask for the AWS account id too.

    Raises:
        ValueError: An event that the API does not have.
        RuntimeError: It was called before, and asked for something else.
    """
    global _sent  # noqa: PLW0603 - there is one process, and it registers once
    managed = _variable("AWS_LAMBDA_INITIALIZATION_TYPE").casefold() == "lambda-managed-instances"
    wanted = wanted_events(events, managed_instance=managed)
    address = _variable("AWS_LAMBDA_RUNTIME_API")
    if _sent is not None:
        _check_same(_sent, address, name or _sent.name, wanted, account_id)
        return
    name = name or sys.argv[0].rpartition("/")[2]
    connection = _send(address, name, wanted, account_id)
    if connection is not None:
        _sent = Sent(address, name, wanted, account_id, connection)


def _variable(name: str) -> str:
    """Give a variable of the environment; empty where it is not set."""
    os = sys.modules.get("os")
    if os is not None:  # where somebody has imported it, it may have been set since the process began
        found: str = os.environ.get(name, "")
        return found
    import posix  # in the interpreter; never reached where there is none

    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def _send(address: str, name: str, events: tuple[str, ...], account_id: bool) -> "_socket.socket | None":
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    if not is_header_value(name):
        return None
    try:
        _socket.inet_pton(family, host)  # not a name: looking one up may block, and imports encodings.idna
        connection = _socket.socket(family, _socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        connection.settimeout(_CONNECT_LIMIT)
        connection.connect((host, int(port)))
        connection.sendall(register_request(address, name, events, account_id=account_id))
    except (OSError, OverflowError, ValueError):  # a TimeoutError is the first, a port that is none one of the others
        connection.close()
        return None
    return connection


def sent_name() -> str | None:
    """Give the name that was registered; None where nothing was sent."""
    return None if _sent is None else _sent.name


def take(address: str, name: str, events: "Iterable[str]", *, account_id: bool) -> int | None:
    """Take the connection over, for whoever registers later.

    Returns:
        Its descriptor, which is the caller's to close; None where nothing was sent, or it was taken before.

    Raises:
        RuntimeError: The call that was sent is another one than the caller's. The connection is closed.
    """
    if _sent is None or _sent.socket is None:
        return None
    connection, _sent.socket = _sent.socket, None
    try:
        _check_same(_sent, address, name, tuple(events), account_id)
    except RuntimeError:
        connection.close()
        raise
    return connection.detach()


def _check_same(sent: Sent, address: str, name: str, events: tuple[str, ...], account_id: bool) -> None:
    """Hold a later call against the one that was sent, which may have asked for the account id besides."""
    for what, then, now in (
        ("with the API at", sent.address, address),
        ("the name", sent.name, name),
        ("for", " and ".join(sorted(sent.events)), " and ".join(sorted(events))),
        ("with account_id =", sent.account_id, account_id or sent.account_id),
    ):
        if then != now:
            msg = f"early.register() has registered {what} {then}, but now it is {now}: give both calls the same"
            raise RuntimeError(msg)


def wanted_events(events: "Iterable[str] | None", *, managed_instance: bool) -> tuple[str, ...]:
    """Give the events to ask for: each once, and no INVOKE where there is none.

    Raises:
        ValueError: An event that the API does not have.
    """
    wanted = dict.fromkeys(_EVENTS if events is None else events)
    for event in wanted:
        if event not in _EVENTS:
            msg = f"{event!r} is not a valid EventType"
            raise ValueError(msg)
    if managed_instance:
        wanted.pop("INVOKE", None)
    return tuple(wanted)


def is_header_value(name: str) -> bool:
    """Give whether a name can stand in a header."""
    return name.isprintable() and name.isascii() and name == name.strip()


def register_headers(name: str, *, account_id: bool) -> dict[str, str]:
    """Give the header fields of the call."""
    feature = {"Lambda-Extension-Accept-Feature": "accountId"} if account_id else {}
    return {"Lambda-Extension-Name": name, **feature}


def register_body(events: "Iterable[str]") -> bytes:
    """Give the body of the call."""
    return b'{"events":[%s]}' % b",".join(b'"%s"' % event.encode() for event in events)


def register_request(address: str, name: str, events: "Iterable[str]", *, account_id: bool) -> bytes:
    """Give the whole call, to the byte."""
    fields = {**JSON, **register_headers(name, account_id=account_id)}
    return request("POST", REGISTER, address, fields, register_body(events))


def request(method: str, path: str, address: str, fields: "Mapping[str, str]", body: bytes) -> bytes:
    """Give a request, to the byte; what its fields hold is the caller's to check."""
    fields = {"Host": address, "Content-Length": str(len(body)), **fields}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join([f"{key}: {value}\r\n" for key, value in fields.items()])
    return f"{head}\r\n".encode("latin-1") + body
