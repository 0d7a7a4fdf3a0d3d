"""Which invocations there are, which one is running, and when one is to be reported: once. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from lambda_extension._api._enums import InitializationType
from lambda_extension._environment import Environment
from lambda_extension.records._record import Context
from lambda_extension.records._reports import InvocationReport, Tracked
from lambda_extension.telemetry import LogsDroppedRecord, TraceContext

# Ids of this many invocations that are over are remembered, so that none is reported twice.
CLOSED_IDS = 1000
# More than this are never open at once; if the platform tells no ends, the oldest are reported as they are.
OPEN_IDS = 1000
# Inits that nobody waits for.
_AHEAD = (InitializationType.PROVISIONED_CONCURRENCY, InitializationType.MANAGED_INSTANCES)


class Invocations:
    """Keeps account of invocations, by the platform's events.

    Attributes:
        function: What every record has in common, whatever its invocation.
        current: The context that lines belong to which name no invocation, in the order in which they come: of the last
            invocation that has begun, or of none. None while that cannot be known.
        open: The invocations that have not been reported.
        repeated: Events that told of an invocation which had been reported before.
    """

    def __init__(self, function: Context, environment: Environment, *, several: bool) -> None:
        self.function = function
        self.current: Context | None = function
        self.open: dict[str, Tracked] = {}
        self.repeated = 0
        self._closed: OrderedDict[str, Context] = OrderedDict()
        self._several = several
        self._ahead = environment.initialization_type in _AHEAD
        self._first = True
        self._newest = ""
        self._init_ms: float | None = None
        self._restore_ms: float | None = None
        self._suspended: Context | None = None

    @property
    def suspended(self) -> Context | None:
        """The context that was current when the platform lost something, until it is known whether it still is."""
        return self._suspended

    def known(self, request_id: str) -> Context | None:
        """Give the context of an invocation that the platform has told of."""
        tracked = self.open.get(request_id)
        return self._closed.get(request_id) if tracked is None else tracked.context

    def start(self, request_id: str, time: str, record: Any = None) -> list[InvocationReport]:
        """Take in that an invocation has begun; give the reports of those that can wait no longer."""
        known = self.known(request_id)
        if known is not None and (time <= self._newest or request_id in self.open):
            self._filled(request_id, time, record)
            return []
        due: list[InvocationReport] = []
        if known is None:
            known = self._begin(request_id, time, record).context
            due = self._superseded(request_id)
        else:  # Lambda's own retry of an invocation, which has been reported
            self.repeated += 1
            known = self._closed[request_id] = msgspec.structs.replace(known, cold_start=False)
        if not self._several:
            self.current, self._suspended = known, None
        self._newest = max(self._newest, time)
        return due

    def seen(self, request_id: str, time: str) -> list[InvocationReport]:
        """Take in that the runtime has named an invocation, which has begun then, seen or unseen."""
        due: list[InvocationReport] = []
        if self.known(request_id) is None:
            tracked = self._begin(request_id, None, None)
            tracked.told = time
            due = self._superseded(request_id)
            self._newest = max(self._newest, time)
            if not self._several:
                self.current, self._suspended = tracked.context, None
        return due

    def done(self, request_id: str, time: str, record: Any) -> list[InvocationReport]:
        """Take in that the runtime has finished an invocation."""
        due = self.seen(request_id, time)
        tracked = self.open.get(request_id)
        if tracked is None or tracked.done is not None:
            self.repeated += 1
            return due
        self._resume(request_id)
        tracked.done, tracked.told = record, max(tracked.told, time)
        return [*due, *self._close_if_told(request_id, tracked)]

    def report(self, request_id: str, time: str, record: Any) -> list[InvocationReport]:
        """Take in the platform's report of an invocation."""
        due = self.seen(request_id, time)
        tracked = self.open.get(request_id)
        if tracked is None or tracked.report is not None:
            self.repeated += 1
            return due
        self._resume(request_id)
        tracked.report, tracked.told = record, max(tracked.told, time)
        return [*due, *self._close_if_told(request_id, tracked)]

    def init(self, milliseconds: float | None) -> None:
        """Take in how long an init took."""
        self._init_ms = milliseconds

    def restored(self, milliseconds: float | None) -> None:
        """Take in how long a restore took; the init was another environment's, when the snapshot was made."""
        self._restore_ms, self._init_ms = milliseconds, None

    def lost(self, record: LogsDroppedRecord | None) -> None:
        """Take in that the platform has lost events: the order tells nothing until the next event that names an id."""
        for tracked in self.open.values():
            tracked.dropped_records += getattr(record, "dropped_records", None) or 0
            tracked.dropped_bytes += getattr(record, "dropped_bytes", None) or 0
        if not self._several and self.current is not None:
            self.current, self._suspended = None, self.current

    def several(self) -> None:
        """Take in that several invocations run at once, so that the order tells nothing at all."""
        self._several = self._ahead = True
        self.current = self._suspended = None

    def close(self) -> list[InvocationReport]:
        """Report every invocation that is open, as far as it is known."""
        return [self._close(request_id) for request_id in list(self.open)]

    def _resume(self, request_id: str) -> None:
        """Note that the invocation that ran when something was lost has run until now, since no other ran meanwhile."""
        if self._suspended is not None and self._suspended.request_id == request_id:
            self.current, self._suspended = self._suspended, None

    def _begin(self, request_id: str, time: str | None, record: Any) -> Tracked:
        cold = self._first and not self._ahead
        context = msgspec.structs.replace(self.function, request_id=request_id, cold_start=cold)
        tracked = Tracked(context=context, started=time, told=time or "")
        if self._first and not self._several:
            tracked.init_ms, tracked.restore_ms = (self._init_ms, self._restore_ms) if cold else (None, None)
        self._first = False
        self.open[request_id] = tracked
        self._filled(request_id, time, record)
        return tracked

    def _filled(self, request_id: str, time: str | None, record: Any) -> None:
        """Complete what is known of an invocation with what its start says."""
        tracked = self.open.get(request_id)
        if tracked is None:
            self.repeated += 1
        elif record is not None and tracked.context.trace_id is None:
            trace = trace_of(getattr(record, "tracing", None))
            told = {
                "function_version": getattr(record, "version", None),
                "function_arn": getattr(record, "function_arn", None),
                "tenant_id": getattr(record, "tenant_id", None),
            }
            changes = {**{key: value for key, value in told.items() if value is not None}, **trace}
            was_current = self.current is tracked.context
            tracked.context = msgspec.structs.replace(tracked.context, **changes)
            tracked.started = tracked.started or time
            if was_current:
                self.current = tracked.context

    def _superseded(self, request_id: str) -> list[InvocationReport]:
        """Note that an invocation is newer than the others; report those for which nothing more is to be expected."""
        due = []
        for other, tracked in list(self.open.items()):
            if self._several or other == request_id:
                continue  # where several run at once, that one has begun tells nothing of the others
            tracked.newer += 1
            # Where one runs at a time, the end of one comes at latest with the end of the next.
            if tracked.report is not None or tracked.newer > 1:
                due.append(self._close(other))
        while len(self.open) > OPEN_IDS:
            due.append(self._close(next(iter(self.open))))
        return due

    def _close_if_told(self, request_id: str, tracked: Tracked) -> list[InvocationReport]:
        whole = tracked.report is not None and (tracked.done is not None or self._several or tracked.newer > 0)
        return [self._close(request_id)] if whole else []

    def _close(self, request_id: str) -> InvocationReport:
        tracked = self.open.pop(request_id)
        self._closed[request_id] = tracked.context
        if len(self._closed) > CLOSED_IDS:
            self._closed.popitem(last=False)
        return tracked.finished()


def trace_of(tracing: TraceContext | None) -> dict[str, Any]:
    """Read an X-Ray header: `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=1`, parts missing or in any order."""
    if tracing is None:
        return {}
    halves = (part.strip().partition("=") for part in (tracing.value or "").split(";"))
    parts = {name: value for name, _, value in halves}
    root = parts.get("Root", "").split("-")
    trace_id = "".join(root[1:]) if len(root) == 3 else ""
    if len(trace_id) != 32:
        return {}
    found: dict[str, Any] = {"trace_id": trace_id}
    span_id = tracing.span_id or parts.get("Parent")
    if span_id:
        found["span_id"] = span_id
    sampled = parts.get("Sampled")
    if sampled in {"0", "1"}:
        found["trace_flags"] = int(sampled)
    return found
