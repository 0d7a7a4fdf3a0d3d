"""`Correlator`: events to log records and reports, each with its invocation. Pure but for a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, final

import attrs
import msgspec

from lambda_extension._api._enums import InitializationType
from lambda_extension._api._models import Registration
from lambda_extension._environment import Environment
from lambda_extension.records._holding import Held, Holding, LineSource, Orphans
from lambda_extension.records._invocations import Invocations
from lambda_extension.records._joining import JoinLines, Message, begin
from lambda_extension.records._lines import Reading, is_request_id, read_line
from lambda_extension.records._platform import attributes_of, platform_line, severity_number
from lambda_extension.records._record import Context, LogRecord
from lambda_extension.records._reports import InvocationReport
from lambda_extension.telemetry import (
    ExtensionLog,
    FunctionLog,
    PlatformInitReport,
    PlatformInitStart,
    PlatformLogsDropped,
    PlatformRestoreReport,
    TelemetryEvent,
    UnknownEvent,
)

Record: TypeAlias = LogRecord | InvocationReport
"""What a transform and an encoder are given."""

_LIFECYCLE = frozenset({"platform.start", "platform.runtimeDone", "platform.report"})


@final
@attrs.frozen(kw_only=True)
class CorrelatorStatistics:
    """What a correlator holds, and what it has not made a report of.

    Attributes:
        held: Lines that wait for their invocation to be known.
        held_bytes: Their size, about.
        open: Invocations that have not been reported.
        repeated: Events about an invocation that told nothing new, such as one that came twice.
    """

    held: int
    held_bytes: int
    open: int
    repeated: int


@final
@attrs.frozen(kw_only=True)
class LineSettings:
    """How a correlator reads lines, for whoever has one made, such as `Delivery`.

    Attributes:
        parse_json: Whether a line of text that is a JSON object is read as one.
        join: How lines are joined to messages; None leaves every line by itself.
        holding: How much is held until its invocation is known, and for how long.
    """

    parse_json: bool = False
    join: JoinLines | None = None
    holding: Holding = attrs.field(factory=Holding)


@final
class Correlator:
    """Turns the platform's events into records, in their order.

    Each log event becomes a `LogRecord` with level, time, message and invocation; each platform event one with the line
    that CloudWatch shows of it; each invocation, once, an `InvocationReport` as soon as the platform has told its end.

    Where one invocation runs at a time, the order tells which one a line belongs to that names none: the last that has
    begun, be it over or not, or none before the first. After the platform has dropped events the order tells nothing
    until the next event that names an invocation, and lines are held meanwhile. Where several run at once (Managed
    Instances) only the id that a line itself names counts, and a line that names one of which the platform has not yet
    told is held. What is held too long, or is too much, goes on without an invocation; none is ever guessed.

    Args:
        environment: The `AWS_LAMBDA_*` variables; by default the process's own.
        registration: What the platform told about the function.
        parse_json: Whether a line of text that is a JSON object is read as one.
        join: How lines are joined to messages; None leaves every line by itself.
        holding: How much is held, and for how long.
        clock: Gives seconds; only a test has reason to pass another.
    """

    def __init__(
        self,
        environment: Environment | None = None,
        registration: Registration | None = None,
        *,
        parse_json: bool = False,
        join: JoinLines | None = None,
        holding: Holding | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        environment = environment or Environment.from_mapping()
        self._several = environment.is_managed_instance
        self._invocations = Invocations(_function(environment, registration), environment, several=self._several)
        self._parse_json = parse_json
        self._join = join
        self._messages: dict[str, Message] = {}
        self._orphans = Orphans(holding or Holding())
        self._clock = clock
        self._last = ""

    def take(self, events: Iterable[TelemetryEvent]) -> list[Record]:
        """Take in events and give the records that are ready."""
        out: list[Record] = []
        invocations, joined, parse_json = self._invocations, self._join is not None, self._parse_json
        event: Any
        for event in events:
            kind = type(event)
            if kind is FunctionLog:
                source: LineSource = "function"
            elif kind is ExtensionLog:
                source = "extension"
            else:
                self._platform(event, out)
                continue
            line = event.record
            told = read_line(line, parse_json)
            current = invocations.current
            # By far the most lines go one of the two short ways, on which every call and every object counts.
            if told is None:
                if current is not None and not joined:
                    out.append(LogRecord(event.time, source, source, 0, None, line, {}, current, event))
                else:
                    self._line(event, source, Reading(0, None, None, line, {}, None, None, False, None), out)
                continue
            number, level, time, body, attributes, request_id, id_key, _, trace = told
            if (
                current is not None
                and (request_id is None or request_id == current.request_id)
                and trace is None
                and not joined
            ):
                if id_key is not None:
                    del attributes[id_key]  # it has a place of its own
                moment = time or event.time
                out.append(LogRecord(moment, source, source, number, level, body, attributes, current, event))
            else:
                self._line(event, source, Reading(*told), out)
        return out

    def release(self) -> list[Record]:
        """Give what has been held for as long as it may be; to be called every now and then, such as before a flush."""
        out: list[Record] = []
        now = self._clock()
        for held in self._orphans.expired(now):
            self._emit_held(held, self._unknown(held.reading), out)
        if self._join is not None and any(now - each.born >= self._join.max_age for each in self._messages.values()):
            self._end_messages(out)
        return out

    def close(self) -> list[Record]:
        """Give everything that is held, and a report of every invocation that has none, as far as it is known."""
        out: list[Record] = []
        for held in self._orphans.all():
            self._emit_held(held, self._unknown(held.reading), out)
        self._end_messages(out)
        out.extend(self._invocations.close())
        return out

    def statistics(self) -> CorrelatorStatistics:
        """Count what is held at this moment."""
        return CorrelatorStatistics(
            held=len(self._orphans),
            held_bytes=self._orphans.size,
            open=len(self._invocations.open),
            repeated=self._invocations.repeated,
        )

    def _line(self, event: Any, source: LineSource, reading: Reading, out: list[Record]) -> None:
        """Find out whose line it is, and give it, or hold it."""
        current = self._invocations.current
        if current is None or (reading.request_id is not None and reading.request_id != current.request_id):
            current = self._context(reading, event, out)
        if current is not None:
            self._emit(event, source, reading, current, out)
            return
        for oldest in self._orphans.add(Held(event, source, reading), self._clock()):
            self._emit_held(oldest, self._unknown(oldest.reading), out)

    def _context(self, reading: Reading, event: Any, out: list[Record]) -> Context | None:
        """Find the invocation of a line; None when that has to wait."""
        invocations, request_id = self._invocations, reading.request_id
        if request_id is not None:
            known = invocations.known(request_id)
            if known is not None:
                return known
            if is_request_id(request_id):
                if self._several:
                    return None
                if reading.vouched:
                    # As good as the start, which must have been lost.
                    for held_before in self._orphans.all():
                        self._emit_held(held_before, self._unknown(held_before.reading), out)
                    self._end_messages(out)
                    out.extend(invocations.seen(request_id, event.time))
                    return invocations.known(request_id)
        if self._several:
            return invocations.function
        if invocations.current is None and (invocations.suspended or invocations.function).request_id is None:
            return invocations.function  # of the init, or of nobody knows whom: the same, for a record
        return invocations.current

    def _unknown(self, reading: Reading) -> Context:
        """Give the context of a line whose invocation has not been told of: the id that the runtime wrote, or none."""
        function, request_id = self._invocations.function, reading.request_id
        if request_id is None or not reading.vouched or not is_request_id(request_id):
            return function
        return self._invocations.known(request_id) or msgspec.structs.replace(function, request_id=request_id)

    def _emit_held(self, held: Held, context: Context, out: list[Record]) -> None:
        self._emit(held.event, held.source, held.reading, context, out)

    def _emit(
        self,
        event: Any,
        source: LineSource,
        reading: Reading,
        context: Context,
        out: list[Record],
    ) -> None:
        attributes = reading.attributes
        if reading.id_key is not None and context.request_id == reading.request_id:
            del attributes[reading.id_key]
        if reading.trace is not None and reading.trace != (context.trace_id, context.span_id):
            trace_id, span_id = reading.trace
            context = msgspec.structs.replace(context, trace_id=trace_id, span_id=span_id, trace_flags=None)
        record = LogRecord(
            reading.time or event.time,
            source,
            source,
            reading.number,
            reading.level,
            reading.body,
            attributes,
            context,
            event,
        )
        if self._join is None:
            out.append(record)
        else:
            self._emit_joined(record, event.time, self._join, out)

    def _emit_joined(self, record: LogRecord, time: str, limits: JoinLines, out: list[Record]) -> None:
        message = self._messages.get(record.source)
        if message is not None and message.goes_on(record, time, limits):
            message.add(record.body, time)
            return
        self._end_messages(out, record.source)
        if type(record.body) is str:
            self._messages[record.source] = begin(record, time, self._clock())
        else:
            out.append(record)

    def _end_messages(self, out: list[Record], source: str | None = None) -> None:
        """Let go the message of a source, or of all of them."""
        if source is None:
            out.extend(message.joined() for message in self._messages.values())
            self._messages.clear()
        elif source in self._messages:
            out.append(self._messages.pop(source).joined())

    def _platform(self, event: TelemetryEvent, out: list[Record]) -> None:
        self._end_messages(out)
        invocations = self._invocations
        self._last = event.time or self._last
        if event.type in _LIFECYCLE:
            request_id, record = _told(event)
            if request_id is not None:
                self._lifecycle(event, request_id, record, out)
                return
            invocations.lost(None)
        elif isinstance(event, PlatformLogsDropped):
            invocations.lost(event.record)
        elif isinstance(event, PlatformInitStart):
            if event.record.initialization_type == InitializationType.MANAGED_INSTANCES and not self._several:
                self._several = True
                invocations.several()
        elif isinstance(event, PlatformInitReport):
            invocations.init(getattr(event.record.metrics, "duration_ms", None))
        elif isinstance(event, PlatformRestoreReport):
            invocations.restored(getattr(event.record.metrics, "duration_ms", None))
        out.append(_platform_record(event, self._last, invocations.function))

    def _lifecycle(self, event: TelemetryEvent, request_id: str, record: Any, out: list[Record]) -> None:
        """Take in an event that names an invocation, and let go the lines that waited for it."""
        invocations = self._invocations
        waited = invocations.suspended
        take = {"platform.start": invocations.start, "platform.runtimeDone": invocations.done}
        reports = take.get(event.type or "", invocations.report)(request_id, self._last, record)
        if waited is not None and invocations.suspended is None:
            current = invocations.current
            same = current is not None and current.request_id == waited.request_id
            for held in self._orphans.all():
                self._emit_held(held, waited if same else self._unknown(held.reading), out)
        self._end_messages(out)
        context = invocations.known(request_id) or invocations.function
        own = _platform_record(event, self._last, context)
        begun = event.type == "platform.start"
        if begun:
            out.append(own)
        if self._several:
            for held in self._orphans.named(request_id):
                self._emit_held(held, context, out)
        if not begun:
            self._end_messages(out)
            out.append(own)
        out.extend(reports)


def _told(event: TelemetryEvent) -> tuple[str | None, Any]:
    """Give the request id of an event and its record; of an event that did not fit, whatever can be read."""
    if isinstance(event, UnknownEvent):
        record = event.record
        request_id = record.get("requestId") if isinstance(record, dict) else None
        return (request_id if isinstance(request_id, str) else None), None
    return getattr(event.record, "request_id", None), event.record


def _platform_record(event: TelemetryEvent, moment: str, context: Context) -> LogRecord:
    return LogRecord(
        moment,
        "platform",
        event.type or "unknown",
        severity_number(event),
        None,
        platform_line(event),
        attributes_of(event),
        context,
        event,
    )


def _function(environment: Environment, registration: Registration | None) -> Context:
    """Gather what is known of the function before any event."""
    name = version = None
    if registration is not None:
        name, version = registration.function_name or None, registration.function_version or None
    return Context(
        function_name=name or environment.function_name,
        function_version=version or environment.function_version,
        memory_size_mb=environment.memory_size_mb,
        region=environment.region,
    )
