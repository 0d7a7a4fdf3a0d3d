"""Syslog over TCP or TLS: RFC 5424 for messages, RFC 6587 and RFC 5425 for their octet-counted frames."""

from __future__ import annotations

import re
import select
import ssl
from collections.abc import Sequence
from typing import Any, final

import anyio
import attrs
from anyio.abc import SocketAttribute

from lambda_extension._budget import closing_until, shielded
from lambda_extension._validators import whole
from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._reaching import reach
from lambda_extension.delivery._sinks import Limits, Payload
from lambda_extension.delivery.sinks._fields import cut, fields_of, message_of, text_of
from lambda_extension.records import InvocationReport, Record

_USER = 1
_INFORMATIONAL = 6
# OpenTelemetry's severity numbers, in fours, to syslog's.
_SEVERITIES = (7, 7, 6, 4, 3, 2)
# Characters of names: RFC 5424, section 6.
_NOT_PRINTABLE = re.compile(r"[^\x21-\x7e]")
_NOT_SD_NAME = re.compile(r"[^\x21-\x7e]|[=\]\"]")
_ESCAPED = re.compile(r'[\\"\]]')
_DIGITS = re.compile(r"(\.\d{6})\d+")
# Room that is left beside the message, for what is told of it.
_FIELDS = 48 * 1024


@final
@attrs.frozen(kw_only=True)
class Syslog5424:
    """Syslog messages in octet-counted frames: level and time are the header's, all else is structured data.

    Attributes:
        facility: The facility, a number; 1 is that of user programs.
        max_bytes: Bytes of a message's text; what is longer is cut. Receivers take 8 KiB at the least and often more.
    """

    facility: int = attrs.field(default=_USER, validator=whole(0, 23))
    max_bytes: int = attrs.field(default=256 * 1024, validator=whole(1))
    compression: Compression | None = attrs.field(default=None, init=False)
    records: bool = attrs.field(default=True, init=False)
    limits: Limits = attrs.field(default=Limits(), init=False)
    content_type: str = attrs.field(default="application/syslog", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record as a frame."""
        context = event.context
        fields = fields_of(event)
        own = fields.pop("attributes", {})
        header = " ".join(
            (
                f"<{self.facility * 8 + _severity(event)}>1",
                _DIGITS.sub(r"\1", event.time) or "-",
                _word(context.function_arn or context.function_name, 255),
                _word(context.function_name, 48),
                "-",
                _word(event.type, 32),
            )
        )
        message = cut(message_of(event), self.max_bytes)
        text = f"{header} {_structured(fields, own)} \ufeff{message}"
        # NUL is text for a frame that is counted, and the end of everything for many a receiver.
        body = text.replace("\x00", "\ufffd").encode("utf-8", "replace")
        return b"%d %b" % (len(body), body)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of frames."""
        return b"".join(pieces)


def _severity(record: Record) -> int:
    if isinstance(record, InvocationReport):
        return _SEVERITIES[4] if record.failed else _INFORMATIONAL
    number = record.severity_number
    return _SEVERITIES[(number - 1) // 4] if 1 <= number <= 24 else _INFORMATIONAL


def _word(text: str | None, limit: int) -> str:
    return _NOT_PRINTABLE.sub("_", text or "-")[:limit] or "-"


def _structured(fields: dict[str, Any], own: dict[str, Any]) -> str:
    """Write structured data: what is known of the invocation, and the record's own attributes."""
    elements = []
    room = _FIELDS
    for name, values in (("lambda@32473", fields), ("attributes@32473", own)):
        told: dict[str, str] = {}
        for key, value in values.items():
            parameter = _NOT_SD_NAME.sub("_", key)[:32] or "_"
            while parameter in told and len(parameter) < 32:
                parameter += "_"
            text = _ESCAPED.sub(r"\\\g<0>", cut(text_of(value), max(room, 0)))
            room -= len(text.encode("utf-8", "replace"))
            told[parameter] = text
        if told:
            elements.append("[" + " ".join([name, *(f'{key}="{value}"' for key, value in told.items())]) + "]")
    return "".join(elements)


@final
class SyslogSink:
    """Sends syslog messages over one connection. Syslog acknowledges nothing: what was written counts as taken.

    Args:
        host: The receiver.
        port: Its port; 6514 is that of syslog over TLS.
        tls: Whether to speak TLS, or the context to speak it with.
        facility: The facility, a number; 1 is that of user programs.
        timeout: Seconds that connecting and writing may take.
    """

    def __init__(
        self,
        host: str,
        port: int = 6514,
        *,
        tls: bool | ssl.SSLContext = True,
        facility: int = _USER,
        timeout: float = 5.0,
    ) -> None:
        self.encoder: Syslog5424 = Syslog5424(facility=facility)
        self._host = host
        self._port = port
        self._tls = tls
        self._timeout = timeout
        self._stream: anyio.abc.ByteStream | None = None

    async def open(self) -> None:
        """Connect. `send` does it if nobody did.

        Raises:
            OSError: The receiver cannot be reached.
            TimeoutError: It took too long.
        """
        with anyio.fail_after(self._timeout):
            self._stream = await reach(self._host, self._port, self._connect)

    async def _connect(self, address: str) -> anyio.abc.ByteStream:
        if self._tls is False:
            return await anyio.connect_tcp(address, self._port)
        context = self._tls if isinstance(self._tls, ssl.SSLContext) else None
        return await anyio.connect_tcp(
            address,
            self._port,
            tls=True,
            ssl_context=context,
            tls_standard_compatible=False,
            tls_hostname=self._host,
        )

    async def send(self, payload: Payload) -> None:
        """Write one payload. A cancelled call, and one that failed, closes the connection.

        Raises:
            ConnectionResetError: The connection broke; after a freeze, a kept one may have.
            OSError: The receiver cannot be reached.
            TimeoutError: It took too long.
        """
        if self._stream is None:
            await self.open()
        assert self._stream is not None
        try:
            with anyio.fail_after(self._timeout):
                if _is_gone(self._stream):
                    raise anyio.BrokenResourceError
                await self._stream.send(payload.body)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            await self.aclose()
            msg = f"syslog at {self._host}:{self._port} has closed the connection"
            raise ConnectionResetError(msg) from error
        except BaseException:
            # What was written in part would be the beginning of the next message.
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the connection; idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with shielded(closing_until()):
                await stream.aclose()


# Where the peer's end of a connection shows only by reading (macOS), the send after it is lost.
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


def _is_gone(stream: anyio.abc.ByteStream) -> bool:
    """Tell whether the receiver has closed a kept connection, to which one could still write, in vain."""
    poll = select.poll()
    poll.register(stream.extra(SocketAttribute.raw_socket).fileno(), _GONE)  # noqa: S610 - no database here
    return bool(poll.poll(0))


def syslog(
    host: str,
    port: int = 6514,
    *,
    tls: bool | ssl.SSLContext = True,
    facility: int = _USER,
) -> SyslogSink:
    """Send to a syslog receiver over TCP, with TLS unless told otherwise; the arguments are those of `SyslogSink`."""
    return SyslogSink(host, port, tls=tls, facility=facility)
