"""`InvocationReport`: everything about one invocation, gathered from the platform's events. Pure."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

import attrs
import msgspec

from lambda_extension.records._record import Context, Source, spliced
from lambda_extension.records._times import unix_nanoseconds
from lambda_extension.telemetry import ReportRecord, RuntimeDoneRecord, Status

Outcome: TypeAlias = Literal["success", "error", "failure", "timeout", "out_of_memory", "unknown"]
"""How an invocation ended."""

_TIMED_OUT = frozenset({"Sandbox.Timedout", "Sandbox.Timeout", "Function.Timeout"})
# The runtime was killed: by whom is told by the memory that it used.
_KILLED = frozenset({"Runtime.ExitError", "Extension.Crash"})


class _Report(msgspec.Struct, kw_only=True, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """The part of a report's JSON that is its own."""

    time: str = msgspec.field(name="timestamp")
    status: str | None = None
    outcome: Outcome = "unknown"
    error_type: str | None = None
    started: str | None = None
    duration_ms: float | None = None
    billed_duration_ms: float | None = None
    runtime_duration_ms: float | None = None
    init_duration_ms: float | None = None
    restore_duration_ms: float | None = None
    billed_restore_duration_ms: float | None = None
    max_memory_used_mb: int | None = None
    response_latency_ms: float | None = None
    response_duration_ms: float | None = None
    runtime_overhead_ms: float | None = None
    extension_overhead_ms: float | None = None
    produced_bytes: int | None = None
    dropped_records: int = 0
    dropped_bytes: int = 0
    late: bool = False
    complete: bool = True
    attributes: dict[str, Any] = {}


class InvocationReport(_Report, frozen=True, kw_only=True, gc=False):
    """One invocation, from its start to its end. What the platform did not say is None.

    Attributes:
        time: When the last of it was told, RFC 3339.
        status: The platform's word: `success`, `error`, `failure`, `timeout`.
        outcome: The same, with `out_of_memory` told apart; `unknown` if nothing was said.
        error_type: Such as `Runtime.ExitError`.
        started: When it began, RFC 3339.
        duration_ms: How long it took, extensions included.
        billed_duration_ms: What is billed for.
        runtime_duration_ms: How long the function itself took.
        init_duration_ms: The init before it, of a cold start.
        restore_duration_ms: The SnapStart restore before it.
        billed_restore_duration_ms: What is billed for that.
        max_memory_used_mb: The most memory that was used, in MB; `memory_size_mb` is what there was.
        response_latency_ms: Until the response began.
        response_duration_ms: From there to its end.
        runtime_overhead_ms: From there until the runtime was ready again.
        extension_overhead_ms: How long extensions went on after the function.
        produced_bytes: Size of the response.
        dropped_records: Events that the platform dropped meanwhile, for it could not deliver them.
        dropped_bytes: Their size.
        late: Whether another invocation had begun before this one was reported, where one runs at a time.
        complete: Whether the platform's own report came.
        attributes: What transforms have added.
        context: The invocation and the function.
    """

    context: Context

    @property
    def source(self) -> Source:
        """Always `report`."""
        return "report"

    @property
    def type(self) -> str:
        """Always `report`."""
        return "report"

    @property
    def request_id(self) -> str | None:
        """The invocation."""
        return self.context.request_id

    @property
    def cold_start(self) -> bool:
        """Whether somebody waited for an init or a restore."""
        return bool(self.context.cold_start)

    @property
    def memory_size_mb(self) -> int | None:
        """Configured memory in MB."""
        return self.context.memory_size_mb

    @property
    def timed_out(self) -> bool:
        """Whether the function's timeout ended it."""
        return self.outcome == "timeout"

    @property
    def out_of_memory(self) -> bool:
        """Whether it was killed for the memory that it used."""
        return self.outcome == "out_of_memory"

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well; False when nobody knows."""
        return self.outcome not in {"success", "unknown"}

    @property
    def time_unix_nano(self) -> int | None:
        """`time` in nanoseconds since the epoch, or None when it is no time."""
        return unix_nanoseconds(self.time)

    def replace(self, **changes: Any) -> Self:
        """Return the same report but for these fields."""
        return msgspec.structs.replace(self, **changes)

    def with_attributes(self, attributes: dict[str, Any]) -> Self:
        """Return the same report with these attributes and no others."""
        return self.replace(attributes=attributes)

    def encode(self) -> bytes:
        """Return the report as one flat JSON object; what is unknown is left out."""
        own = _Report(**{name: getattr(self, name) for name in _Report.__struct_fields__})
        return b'{"source":"report","type":"report",' + spliced(own, self.context)[1:]


@attrs.define(eq=False)
class Tracked:
    """One invocation while its events come in.

    Attributes:
        context: What its records share.
        started: When it began, RFC 3339.
        done: The runtime's end, once told.
        report: The platform's report, once told.
        told: Time of the last event about it.
        newer: Invocations that have begun since.
        init_ms: How long the init before it took.
        restore_ms: How long the restore before it took.
    """

    context: Context
    started: str | None = None
    done: RuntimeDoneRecord | None = None
    report: ReportRecord | None = None
    told: str = ""
    newer: int = 0
    init_ms: float | None = None
    restore_ms: float | None = None
    dropped_records: int = 0
    dropped_bytes: int = 0

    def finished(self) -> InvocationReport:
        """Make the report of what is known."""
        status = _of("status", self.report, self.done)
        error_type = _of("error_type", self.report, self.done)
        metrics = getattr(self.report, "metrics", None)
        runtime = getattr(self.done, "metrics", None)
        size = getattr(metrics, "memory_size_mb", None)
        init = getattr(metrics, "init_duration_ms", None)
        context = self.context
        if size is not None and size != context.memory_size_mb:
            context = msgspec.structs.replace(context, memory_size_mb=size)
        if init is not None and not context.cold_start:
            context = msgspec.structs.replace(context, cold_start=True)
        used = getattr(metrics, "max_memory_used_mb", None)
        spans = {span.name: span.duration_ms for end in (self.done, self.report) for span in (end and end.spans) or ()}
        return InvocationReport(
            time=self.told,
            context=context,
            status=None if status is None else str(status),
            outcome=_outcome(status, error_type, used, context.memory_size_mb),
            error_type=error_type,
            started=self.started,
            duration_ms=getattr(metrics, "duration_ms", None),
            billed_duration_ms=getattr(metrics, "billed_duration_ms", None),
            runtime_duration_ms=getattr(runtime, "duration_ms", None),
            init_duration_ms=self.init_ms if init is None else init,
            restore_duration_ms=_first(getattr(metrics, "restore_duration_ms", None), self.restore_ms),
            billed_restore_duration_ms=getattr(metrics, "billed_restore_duration_ms", None),
            max_memory_used_mb=used,
            response_latency_ms=spans.get("responseLatency"),
            response_duration_ms=spans.get("responseDuration"),
            runtime_overhead_ms=spans.get("runtimeOverhead"),
            extension_overhead_ms=spans.get("extensionOverhead"),
            produced_bytes=getattr(runtime, "produced_bytes", None),
            dropped_records=self.dropped_records,
            dropped_bytes=self.dropped_bytes,
            late=self.newer > 0,
            complete=self.report is not None,
        )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _of(name: str, *records: object) -> Any:
    """Give the first of the records' fields that is known, and not a mere success where another tells of a failure."""
    values = [value for record in records if (value := getattr(record, name, None)) is not None]
    return next((value for value in values if value != Status.SUCCESS), values[0] if values else None)


def _outcome(status: str | None, error_type: str | None, used: int | None, size: int | None) -> Outcome:
    if status is None and error_type is None:
        return "unknown"
    if status == Status.SUCCESS:
        return "success"
    if error_type == "Runtime.OutOfMemory":
        return "out_of_memory"
    if status == Status.TIMEOUT or error_type in _TIMED_OUT:
        return "timeout"
    if error_type in _KILLED and used is not None and size is not None and used >= size:
        return "out_of_memory"
    return "failure" if status == Status.FAILURE else "error"
