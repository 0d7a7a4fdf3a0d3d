"""The records of platform events, and the events that extensions get; pure."""

from __future__ import annotations

import math
from typing import Any, Final

from lambda_extension.simulator._platform._participants import Invocation
from lambda_extension.simulator._settings import Settings
from lambda_extension.simulator._watching._clock import Clock

_TRACE: Final = "X-Amzn-Trace-Id"


def instance(settings: Settings) -> dict[str, Any]:
    """Describe the environment, as initStart and restoreStart do."""
    about = settings.about
    return {
        "functionName": about.name,
        "functionVersion": about.version,
        "instanceId": about.version if settings.managed else "simulator",
        "instanceMaxMemory": settings.memory_mb * 1024 * 1024,
        "runtimeVersion": "" if settings.managed else "simulator",
        "runtimeVersionArn": "",
    }


def start(settings: Settings, invocation: Invocation) -> dict[str, Any]:
    """Make the record of platform.start."""
    record: dict[str, Any] = {"requestId": invocation.request_id, "version": settings.about.version}
    if settings.managed:
        record["functionArn"] = settings.about.arn
    elif invocation.trace_header is not None:
        record["tracing"] = _tracing(invocation)
    return record


def _tracing(invocation: Invocation) -> dict[str, Any]:
    span = {} if invocation.span_id is None else {"spanId": invocation.span_id}
    return {**span, "type": _TRACE, "value": invocation.trace_header}


def invoke_event(settings: Settings, invocation: Invocation, *, host: bool) -> dict[str, Any]:
    """Make the INVOKE event.

    Args:
        settings: Of the simulation.
        invocation: Which one.
        host: Whether it is for a real process, which has the host's clock.
    """
    event: dict[str, Any] = {
        "eventType": "INVOKE",
        "deadlineMs": invocation.host_deadline_ms if host else invocation.deadline_ms,
        "requestId": invocation.request_id,
        "invokedFunctionArn": settings.about.arn,
    }
    if invocation.trace_header is not None:
        event["tracing"] = {"type": _TRACE, "value": invocation.trace_header}
    return event


def runtime_done(invocation: Invocation) -> dict[str, Any]:
    """Make the record of platform.runtimeDone of a runtime that has asked for the next invocation."""
    took = invocation.runtime_done - invocation.started
    answered = invocation.answered - invocation.started
    traced = {} if invocation.trace_header is None else {"tracing": _tracing(invocation)}
    return ending(
        invocation,
        **traced,
        metrics={"durationMs": round(took * 1000, 3), "producedBytes": len(invocation.response)},
        spans=[
            _span("responseLatency", invocation.started, answered),
            _span("responseDuration", invocation.answered, 0.0),
            _span("runtimeOverhead", invocation.answered, took - answered),
        ],
    )


def report(
    settings: Settings, invocation: Invocation, *, memory_mb: int, init_duration_ms: float | None
) -> dict[str, Any]:
    """Make the record of platform.report; `init_duration_ms` only where init belongs to the invocation."""
    took = (invocation.finished - invocation.started) * 1000
    metrics: dict[str, Any] = {"durationMs": round(took, 3)}
    if settings.managed:
        answered = (invocation.answered or invocation.finished) - invocation.started
        spans = [
            _span("responseLatency", invocation.started, answered),
            _span("responseDuration", invocation.started + answered, 0.0),
        ]
        # Nothing else tells of a trace there, and this only of one that is sampled.
        traced = {} if invocation.span_id is None else {"tracing": _tracing(invocation)}
        return ending(invocation, **traced, metrics=metrics, spans=spans)
    metrics |= {
        "billedDurationMs": math.ceil(took),
        "memorySizeMB": settings.memory_mb,
        # Who was killed for want of memory had used all of it.
        "maxMemoryUsedMB": settings.memory_mb if invocation.out_of_memory else min(memory_mb, settings.memory_mb),
    }
    if init_duration_ms is not None:
        metrics["initDurationMs"] = round(init_duration_ms, 3)
    done = invocation.runtime_done or invocation.finished
    spans = [_span("extensionOverhead", done, invocation.finished - done)]
    record = ending(invocation, metrics=metrics, spans=spans)
    if invocation.trace_header is not None:
        record["tracing"] = _tracing(invocation)
    return record


def ending(invocation: Invocation, **more: Any) -> dict[str, Any]:
    """Say how an invocation ended, and why if not well."""
    record = {"requestId": invocation.request_id, "status": invocation.status, **more}
    if invocation.error_type is not None and invocation.status != "success":
        record["errorType"] = invocation.error_type
    return record


def _span(name: str, start: float, seconds: float) -> dict[str, Any]:
    took = round(max(0.0, seconds) * 1000, 3)
    return {"name": name, "start": Clock.format(start), "durationMs": took}
