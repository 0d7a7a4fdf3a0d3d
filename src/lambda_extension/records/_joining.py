"""One message that came as several lines, such as a traceback, joined again. Pure."""

from __future__ import annotations

import attrs

from lambda_extension._validators import number, whole
from lambda_extension.records._record import LogRecord
from lambda_extension.records._severity import ERROR
from lambda_extension.records._times import unix_nanoseconds

_HEAD = "Traceback (most recent call last):"
_BETWEEN = ("During handling of the above exception", "The above exception was the direct cause", "Caused by: ", _HEAD)


@attrs.frozen(kw_only=True)
class JoinLines:
    """How far lines are joined to one message; whatever does not fit begins a new one.

    A line goes on with the one before it when it is indented, when it belongs to a traceback that has begun, or when it
    begins a traceback right after a line of level ERROR or above. Only lines without a level of their own do.

    Attributes:
        max_lines: Lines of one message.
        max_bytes: Bytes of one message, about.
        max_gap: Seconds between one line and the next, by the platform's times.
        max_age: Seconds that a message waits for its next line at most, until `Correlator.release` lets it go.
    """

    max_lines: int = attrs.field(default=500, validator=whole(1))
    max_bytes: int = attrs.field(default=64 * 1024, validator=whole(1))
    max_gap: float = attrs.field(default=0.1, validator=number(above=0))
    max_age: float = attrs.field(default=1.0, validator=number(least=0))


@attrs.define(eq=False)
class Message:
    """The message that may go on, of one source."""

    record: LogRecord
    lines: list[str]
    size: int
    last: str
    born: float
    traced: bool

    def joined(self) -> LogRecord:
        """Give the record of all its lines."""
        return self.record.replace(body="\n".join(self.lines)) if len(self.lines) > 1 else self.record

    def goes_on(self, record: LogRecord, time: str, limits: JoinLines) -> bool:
        """Tell whether a line belongs to it. `time` is the platform's."""
        line = record.body
        return (
            type(line) is str
            and record.severity_number == 0
            and record.context is self.record.context
            and self._continues(line)
            and len(self.lines) < limits.max_lines
            and self.size + len(line) <= limits.max_bytes
            and 0 <= _gap(self.last, time) <= limits.max_gap
        )

    def add(self, line: str, time: str) -> None:
        """Add a line."""
        self.lines.append(line)
        self.size += len(line)
        self.last = time
        self.traced = self.traced or line.startswith(_HEAD)

    def _continues(self, line: str) -> bool:
        if line[:1] in {" ", "\t"}:
            return True
        before = self.lines[-1]
        if not self.traced:
            return line.startswith("Caused by: ") or (
                line.startswith(_HEAD) and self.record.severity_number >= ERROR and len(self.lines) == 1
            )
        # The line that names the exception ends the indented ones; a blank line and a sentence lead to the next.
        return before[:1] in {" ", "\t"} or not line or line.startswith(_BETWEEN)


def begin(record: LogRecord, time: str, now: float) -> Message:
    """Begin a message with a record of text."""
    line = str(record.body)
    return Message(record, [line], len(line), time, now, line.startswith(_HEAD))


def _gap(before: str, after: str) -> float:
    first, second = unix_nanoseconds(before), unix_nanoseconds(after)
    return -1.0 if first is None or second is None else (second - first) / 1e9
