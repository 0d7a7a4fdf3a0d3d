"""Spans of what the platform does: an init, a restore, an invocation, and their parts. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, final

import msgspec

from lambda_extension.otel._identity import Identities, Identity, identity_of, new_span_id
from lambda_extension.otel._model import ERROR, INTERNAL, SERVER, OTLPSpan, SpanLink, SpanStatus, span_flags
from lambda_extension.otel._values import Limits, attributes, nanoseconds
from lambda_extension.records import InvocationReport, LogRecord, Outcome
from lambda_extension.records._times import unix_nanoseconds
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
)

Sampled: TypeAlias = Literal["respect", "always"]
"""Whether an invocation that X-Ray has not sampled has spans."""
SpanEnd: TypeAlias = Literal["report", "runtime_done"]
"""When an invocation's span ends."""

_Init: TypeAlias = PlatformInitStart | PlatformInitRuntimeDone | PlatformInitReport
_Restore: TypeAlias = PlatformRestoreStart | PlatformRestoreRuntimeDone | PlatformRestoreReport
_Invoke: TypeAlias = PlatformStart | PlatformRuntimeDone | PlatformReport

# The part that extensions, and no runtime, are to answer for.
_EXTENSION_PART: Final = "extensionOverhead"
_MILLISECOND: Final = 1_000_000
# Invocations that are remembered, as many as `lambda_extension.records` does, and events of inits.
_MOST_TOLD: Final = 2_000
_MOST_SEEN: Final = 32


class _Phase(msgspec.Struct, eq=False):
    """An init or a restore while its events come in."""

    kind: Literal["init", "restore"]
    identity: Identity
    start: int
    end: int
    values: dict[str, Any] = {}
    parts: list[Span] = []
    status: str | None = None
    error_type: str | None = None

    @property
    def failure(self) -> str | None:
        """What went wrong, if anything is known to have."""
        if self.status in {None, "success"} and self.error_type is None:
            return None
        return self.error_type or self.status


class _Told(msgspec.Struct, eq=False):
    """What an invocation's events said that its report does not; kept when it is over, for what comes again."""

    parts: dict[tuple[str, str], Span] = {}
    started: str | None = None
    arn: str | None = None
    made: bool = False


@final
class SpanMaker:
    """Makes spans of phases, each once.

    An init and a restore has a trace of its own, to which the first invocation after it is linked: nobody's request
    waits for an init alone. Trace and parent of an invocation are those of its X-Ray header.

    Args:
        function: The function's name, which is the name of an invocation's span.
        identities: What invocations are in their traces.
        sampled: Whether an invocation that is not sampled has spans.
        phase_names: Whether an invocation's span is called `<function>/invoke`, as inits are `<function>/init`.
        end: When an invocation's span ends: with its report, or, so that it is complete before the freeze, when the
            runtime is done.
        limits: How much of attributes is kept.
    """

    def __init__(
        self,
        function: str,
        identities: Identities,
        *,
        sampled: Sampled = "respect",
        phase_names: bool = False,
        end: SpanEnd = "report",
        limits: Limits | None = None,
    ) -> None:
        self._function = function
        self._identities = identities
        self._sampled = sampled
        self._name = f"{function}/invoke" if phase_names else function
        self._end = end
        self._limits = limits or Limits()
        self._phases: dict[str, _Phase] = {}
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._before: Identity | None = None
        self._seen: deque[tuple[str, str]] = deque(maxlen=_MOST_SEEN)

    def take(self, event: TelemetryEvent) -> list[OTLPSpan]:
        """Take in an event of the platform; give the spans of an init or a restore that is over with it."""
        if isinstance(event, _Init):
            return self._take_phase("init", event)
        if isinstance(event, _Restore):
            return self._take_phase("restore", event)
        if isinstance(event, _Invoke):
            self._note(event)
        return []

    def invoked(self, request_id: str, arn: str) -> None:
        """Note by which ARN a function was invoked."""
        self._told_of(request_id).arn = arn

    def invocation(self, report: InvocationReport) -> list[OTLPSpan]:
        """Give the spans of an invocation that is over."""
        request_id = report.request_id or ""
        told = self._told.get(request_id) or _Told()
        metrics = {
            "aws.lambda.billed_duration_ms": report.billed_duration_ms,
            "aws.lambda.max_memory_used_mb": report.max_memory_used_mb,
            "aws.lambda.restore_duration_ms": report.restore_duration_ms,
        }
        end = nanoseconds(unix_nanoseconds(report.time))
        return self._invocation(report, told, end, report.duration_ms, metrics)

    def done(self, record: LogRecord) -> list[OTLPSpan]:
        """Give the spans of an invocation whose runtime is done, where they end there; its report adds none later.

        Args:
            record: The record of its `platform.runtimeDone`.
        """
        event = record.event
        told = self._told.get(record.request_id or "")
        if self._end == "report" or not isinstance(event, PlatformRuntimeDone) or told is None:
            return []
        metrics = event.record.metrics
        report = InvocationReport(
            time=event.time or record.time,
            context=record.context,
            status=None if event.record.status is None else str(event.record.status),
            outcome=_outcome(event),
            error_type=event.record.error_type,
            started=told.started,
            produced_bytes=None if metrics is None else metrics.produced_bytes,
        )
        duration = None if metrics is None else metrics.duration_ms
        return self._invocation(report, told, nanoseconds(unix_nanoseconds(report.time)), duration, {})

    def finish(self) -> list[OTLPSpan]:
        """Give the spans of inits and restores whose report never came, up to the last that was heard of them."""
        phases = list(self._phases.values())
        self._phases.clear()
        return [span for phase in phases for span in self._spans(phase)]

    def _invocation(
        self,
        report: InvocationReport,
        told: _Told,
        end: int,
        duration: float | None,
        metrics: Mapping[str, Any],
    ) -> list[OTLPSpan]:
        if told.made:
            return []
        told.made = True
        identity = self._identities.settle(report.request_id or "")
        before, self._before = self._before, None
        if not identity.sampled and self._sampled == "respect":
            return []
        start = nanoseconds(unix_nanoseconds(report.started)) if report.started else 0
        # Where the start was missed, the duration that was told tells when it was.
        start = start or max(end - int((duration or 0.0) * _MILLISECOND), 0)
        failure = (report.error_type or report.status or report.outcome) if report.failed else None
        context = report.context
        values = {
            "faas.invocation_id": report.request_id,
            "faas.coldstart": report.cold_start,
            "aws.lambda.invoked_arn": context.function_arn or told.arn,
            "aws.lambda.produced_bytes": report.produced_bytes,
            "aws.lambda.tenant_id": context.tenant_id,
            **metrics,
        }
        links = [] if before is None else [_link(before)]
        whole = self._span(self._name, identity, start, max(end, start), values, failure=failure, links=links)
        return [whole, *self._parts(identity, told.parts.values(), failure)]

    def _note(self, event: _Invoke) -> None:
        """Remember what an invocation's report will not say."""
        request_id = event.record.request_id
        self._identities.tell(request_id, event.record.tracing)
        told = self._told_of(request_id)
        if isinstance(event, PlatformStart):
            told.started = told.started or event.time
        else:
            for part in event.record.spans or ():
                told.parts.setdefault((part.name, part.start), part)

    def _told_of(self, request_id: str) -> _Told:
        told = self._told.setdefault(request_id, _Told())
        if len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)
        return told

    def _take_phase(self, kind: Literal["init", "restore"], event: _Init | _Restore) -> list[OTLPSpan]:
        now = nanoseconds(unix_nanoseconds(event.time or ""))
        seen = (event.type, event.time or "")
        if not now or seen in self._seen:
            return []  # repeated, or without a time to put it at
        self._seen.append(seen)
        over: list[OTLPSpan] = []
        begins = isinstance(event, PlatformInitStart | PlatformRestoreStart)
        if begins and kind in self._phases:
            over += self._spans(self._phases.pop(kind))  # begun anew: a repeated init
        phase = self._phases.get(kind)
        if phase is None:
            duration = getattr(getattr(event.record, "metrics", None), "duration_ms", None) or 0.0
            start = max(now - int(duration * _MILLISECOND), 0)
            identity = identity_of(event.record.tracing, now / 1e9)
            phase = self._phases[kind] = _Phase(kind, identity, start, now)
            self._before = identity
        phase.end = max(phase.end, now)
        self._note_phase(phase, event)
        if isinstance(event, PlatformInitReport | PlatformRestoreReport):
            over += self._spans(self._phases.pop(kind))
        return over

    def _note_phase(self, phase: _Phase, event: _Init | _Restore) -> None:
        record = event.record
        phase.parts += getattr(record, "spans", None) or ()
        status = getattr(record, "status", None)
        phase.status = str(status) if status is not None and phase.status in {None, "success"} else phase.status
        phase.error_type = phase.error_type or getattr(record, "error_type", None)
        values = {
            "aws.lambda.initialization_type": getattr(record, "initialization_type", None),
            "aws.lambda.runtime_version": getattr(record, "runtime_version", None),
            "aws.lambda.runtime_version_arn": getattr(record, "runtime_version_arn", None),
        }
        phase.values |= {name: str(value) for name, value in values.items() if value}

    def _spans(self, phase: _Phase) -> list[OTLPSpan]:
        name = f"{self._function}/{phase.kind}"
        whole = self._span(name, phase.identity, phase.start, phase.end, phase.values, failure=phase.failure)
        return [whole, *self._parts(phase.identity, phase.parts, phase.failure)]

    def _parts(self, identity: Identity, parts: Any, failure: str | None) -> Iterator[OTLPSpan]:
        for part in parts:
            start = nanoseconds(unix_nanoseconds(part.start or ""))
            if not start:
                continue
            own = Identity(identity.trace_id, new_span_id(), identity.span_id, identity.sampled, identity.certain)
            end = start + max(int((part.duration_ms or 0.0) * _MILLISECOND), 0)
            # What extensions do after the function is over has not failed with it.
            fault = None if part.name == _EXTENSION_PART else failure
            yield self._span(f"{self._function}/{part.name}", own, start, end, {}, failure=fault, kind=INTERNAL)

    def _span(
        self,
        name: str,
        identity: Identity,
        start: int,
        end: int,
        values: Mapping[str, Any],
        *,
        failure: str | None,
        links: list[SpanLink] | None = None,
        kind: int = SERVER,
    ) -> OTLPSpan:
        values = {name: value for name, value in {**values, "error.type": failure}.items() if value is not None}
        dropped = list(values)[self._limits.count :] if self._limits.count is not None else []
        for each in dropped:
            del values[each]
        return OTLPSpan(
            trace_id=identity.trace_id,
            span_id=identity.span_id,
            parent_span_id=identity.parent_id,
            flags=span_flags(int(identity.sampled), parent_is_remote=kind == SERVER and bool(identity.parent_id)),
            name=name,
            kind=kind,
            start_time_unix_nano=str(start),
            end_time_unix_nano=str(end),
            attributes=attributes(values, self._limits.length),
            dropped_attributes_count=len(dropped),
            links=links or [],
            status=None if failure is None else SpanStatus(code=ERROR),
        )


def _link(before: Identity) -> SpanLink:
    return SpanLink(
        trace_id=before.trace_id,
        span_id=before.span_id,
        attributes=attributes({"aws.lambda.link_type": "previous-trace"}),
        flags=int(before.sampled),
    )


def _outcome(event: PlatformRuntimeDone) -> Outcome:
    status = event.record.status
    if status is None and event.record.error_type is None:
        return "unknown"
    return "success" if status == "success" else "timeout" if status == "timeout" else "error"
