"""Platform events to spans: one for each init, restore and invocation, made of the events that tell of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, final

import attrs
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from lambda_extension._api._enums import InitializationType
from lambda_extension.otel._resource import SCOPE
from lambda_extension.telemetry import (
    PlatformInitReport,
    PlatformInitRuntimeDone,
    PlatformInitStart,
    PlatformReport,
    PlatformRestoreReport,
    PlatformRestoreRuntimeDone,
    PlatformRestoreStart,
    PlatformRuntimeDone,
    PlatformStart,
    Span,
    TelemetryEvent,
    TraceContext,
)

_Attributes: TypeAlias = Mapping[str, str | int | float | bool | None]
_Init: TypeAlias = PlatformInitStart | PlatformInitRuntimeDone | PlatformInitReport
_Restore: TypeAlias = PlatformRestoreStart | PlatformRestoreRuntimeDone | PlatformRestoreReport
_Invoke: TypeAlias = PlatformStart | PlatformRuntimeDone | PlatformReport
_PhaseEvent: TypeAlias = _Init | _Restore | _Invoke

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEADER = re.compile(r"Root=1-([0-9a-f]{8})-([0-9a-f]{24})", re.IGNORECASE)
_PARENT = re.compile(r"Parent=([0-9a-f]{16})", re.IGNORECASE)
_SPAN_ID = re.compile(r"[0-9a-f]{16}", re.IGNORECASE)
# Phases that have begun and are not over: one or two, but on Managed Instances as many as run at once.
_MOST_OPEN = 10_000


def to_nanoseconds(moment: datetime) -> int:
    """Give nanoseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


@attrs.define(kw_only=True, eq=False)
class _Phase:
    name: str
    context: SpanContext
    parent: SpanContext | None
    start: int
    end: int
    links: list[Link]
    attributes: dict[str, str | int | float | bool] = attrs.field(factory=dict)
    spans: tuple[Span, ...] = ()
    status: str | None = None

    def note(self, attributes: _Attributes) -> None:
        self.attributes.update({name: value for name, value in attributes.items() if value is not None})


@final
class SpanConverter:
    """Turns platform events into spans as AWS describes it, without I/O; it keeps the phases that have begun.

    An init, a restore and an invocation is each a span of kind SERVER, from its first event to its report; the parts
    that the platform names, such as `responseLatency`, are its children. Trace and parent of an invocation are those of
    its X-Ray header; an init has a trace of its own, to which the first invocation after it is linked.
    https://docs.aws.amazon.com/lambda/latest/dg/telemetry-otel-spans.html

    Args:
        resource: What the spans are about; its `faas.name` begins their names.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._function = str(resource.attributes.get("faas.name") or "function")
        self._ids = RandomIdGenerator()
        self._open: dict[str, _Phase] = {}
        self._before: SpanContext | None = None
        self._cold = False

    def convert(self, events: Iterable[TelemetryEvent]) -> list[ReadableSpan]:
        """Take in events and give the spans that are over with them. Events that tell of no phase are passed over."""
        spans: list[ReadableSpan] = []
        for event in events:
            if isinstance(event, _PhaseEvent):
                spans += self._take(event)
        return spans

    def finish(self) -> list[ReadableSpan]:
        """Give the spans of the phases whose report never came, up to the last that was heard of them."""
        phases = list(self._open.values())
        self._open.clear()
        return [span for phase in phases for span in self._spans(phase)]

    def context(self, request_id: str) -> SpanContext | None:
        """Give the span context of an invocation that is not over, for the log records that belong to it."""
        phase = self._open.get(request_id)
        return None if phase is None else phase.context

    def _take(self, event: _PhaseEvent) -> list[ReadableSpan]:
        moment = event.timestamp
        if moment is None:
            return []
        now = to_nanoseconds(moment)
        if isinstance(event, _Invoke):
            key, kind = event.record.request_id, "invoke"
        else:
            key = kind = "init" if isinstance(event, _Init) else "restore"
        over: list[ReadableSpan] = []
        begins = isinstance(event, PlatformInitStart | PlatformRestoreStart | PlatformStart)
        if begins and key in self._open:
            over += self._spans(self._open.pop(key))  # begun anew: a repeated init
        if len(self._open) >= _MOST_OPEN and key not in self._open:
            over += self._spans(self._open.pop(next(iter(self._open))))
        if key not in self._open:
            self._open[key] = self._begin(event, kind, now)
        phase = self._open[key]
        phase.end = max(phase.end, now)
        self._note(phase, event)
        if isinstance(event, PlatformInitReport | PlatformRestoreReport | PlatformReport):
            over += self._spans(self._open.pop(key))
        return over

    def _begin(self, event: _PhaseEvent, kind: str, now: int) -> _Phase:
        duration = getattr(getattr(event.record, "metrics", None), "duration_ms", None)
        # Where the first event was missed, the duration that a later one reports tells when it was.
        start = now if duration is None else now - int(duration * 1_000_000)
        context, parent = self._contexts(event.record.tracing)
        phase = _Phase(name=f"{self._function}/{kind}", context=context, parent=parent, start=start, end=now, links=[])
        if kind != "invoke":
            self._before = context
            return phase
        if self._before is not None:
            phase.links.append(Link(self._before, {"aws.lambda.link_type": "previous-trace"}))
        phase.note({"faas.coldstart": self._before is not None and self._cold})
        self._before = None
        return phase

    def _note(self, phase: _Phase, event: _PhaseEvent) -> None:
        record = event.record
        phase.spans = phase.spans or getattr(record, "spans", None) or ()
        status = getattr(record, "status", None)
        if status is not None:
            phase.status = str(status)
        phase.note({"error.type": getattr(record, "error_type", None)})
        if isinstance(event, PlatformInitStart):
            # The others are initialised before anybody waits for them; a snapshot, when it is restored.
            self._cold = event.record.initialization_type is InitializationType.ON_DEMAND
        elif isinstance(event, PlatformRestoreStart):
            self._cold = True
        if isinstance(event, _Init):
            kind = event.record.initialization_type
            phase.note({"aws.lambda.initialization_type": None if kind is None else str(kind)})
        if isinstance(event, PlatformInitStart | PlatformRestoreStart):
            phase.note(
                {
                    "aws.lambda.runtime_version": event.record.runtime_version,
                    "aws.lambda.runtime_version_arn": event.record.runtime_version_arn,
                }
            )
        elif isinstance(event, _Invoke):
            phase.note({"faas.invocation_id": event.record.request_id})
            self._note_invoke(phase, event)

    def _note_invoke(self, phase: _Phase, event: _Invoke) -> None:
        if isinstance(event, PlatformStart):
            phase.note({"aws.lambda.invoked_arn": event.record.function_arn})
        elif isinstance(event, PlatformRuntimeDone):
            if event.record.metrics is not None:
                phase.note({"aws.lambda.produced_bytes": event.record.metrics.produced_bytes})
        else:
            metrics = event.record.metrics
            phase.note(
                {
                    "aws.lambda.billed_duration_ms": metrics.billed_duration_ms,
                    "aws.lambda.memory_size_mb": metrics.memory_size_mb,
                    "aws.lambda.max_memory_used_mb": metrics.max_memory_used_mb,
                    "aws.lambda.restore_duration_ms": metrics.restore_duration_ms,
                }
            )

    def _contexts(self, tracing: TraceContext | None) -> tuple[SpanContext, SpanContext | None]:
        """Give the contexts of a phase's span and of its parent: what its X-Ray header says, else random ones."""
        header = "" if tracing is None or tracing.value is None else tracing.value
        root, above = _HEADER.search(header), _PARENT.search(header)
        own = _SPAN_ID.fullmatch(tracing.span_id) if tracing is not None and tracing.span_id else None
        # An id of zeros is none.
        known = int(root[1] + root[2], 16) if root else 0
        span_id = (int(own[0], 16) if own else 0) or self._ids.generate_span_id()
        parent_id = int(above[1], 16) if known and above else 0
        flags = TraceFlags(TraceFlags.DEFAULT if known and "Sampled=1" not in header else TraceFlags.SAMPLED)
        trace_id = known or self._ids.generate_trace_id()
        context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)
        parent = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=flags) if parent_id else None
        return context, parent

    def _spans(self, phase: _Phase) -> list[ReadableSpan]:
        status = _status(phase)
        spans = [
            ReadableSpan(
                phase.name,
                context=phase.context,
                parent=phase.parent,
                resource=self._resource,
                attributes=phase.attributes,
                links=phase.links,
                kind=SpanKind.SERVER,
                status=status,
                start_time=phase.start,
                end_time=phase.end,
                instrumentation_scope=SCOPE,
            )
        ]
        for part in phase.spans:
            started = part.started_at
            if started is None:
                continue
            start = to_nanoseconds(started)
            context = SpanContext(
                phase.context.trace_id,
                self._ids.generate_span_id(),
                is_remote=False,
                trace_flags=phase.context.trace_flags,
            )
            spans.append(
                ReadableSpan(
                    f"{self._function}/{part.name}",
                    context=context,
                    parent=phase.context,
                    resource=self._resource,
                    kind=SpanKind.SERVER,
                    status=status,
                    start_time=start,
                    end_time=start + int((part.duration_ms or 0) * 1_000_000),
                    instrumentation_scope=SCOPE,
                )
            )
        return spans


def _status(phase: _Phase) -> Status:
    if phase.status is None:
        return Status(StatusCode.UNSET)
    if phase.status == "success":
        return Status(StatusCode.OK)
    phase.attributes.setdefault("error.type", phase.status)
    return Status(StatusCode.ERROR, str(phase.attributes["error.type"]))
