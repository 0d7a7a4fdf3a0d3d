"""Platform events to metrics, by the semantic conventions for functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from opentelemetry.metrics import Meter

from lambda_extension.telemetry import (
    PlatformInitReport,
    PlatformInitStart,
    PlatformReport,
    PlatformRuntimeDone,
    TelemetryEvent,
)

_TIME_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_MIB = 1024 * 1024
_BYTES = tuple(float(mib * _MIB) for mib in (16, 32, 64, 128, 256, 512, 768, 1024, 2048, 3072, 4096, 6144, 8192))


@final
class MetricRecorder:
    """Records what platform events tell, without I/O.

    `faas.invocations` counts those that succeeded, `faas.errors` and `faas.timeouts` the others. Where there is no
    `platform.runtimeDone` (Managed Instances), `platform.report` says how an invocation went. Lambda's MB are taken for
    MiB: `faas.mem_usage` is `maxMemoryUsedMB` times 1,048,576.
    https://opentelemetry.io/docs/specs/semconv/faas/faas-metrics/

    Args:
        meter: Makes the instruments.
        runtime_done: Whether `platform.runtimeDone` comes.
    """

    def __init__(self, meter: Meter, *, runtime_done: bool = True) -> None:
        self._outcome: type[PlatformRuntimeDone | PlatformReport] = (
            PlatformRuntimeDone if runtime_done else PlatformReport
        )
        self._coldstarts = meter.create_counter("faas.coldstarts", "{coldstart}", "Number of cold starts")
        self._invocations = meter.create_counter("faas.invocations", "{invocation}", "Number of successful invocations")
        self._errors = meter.create_counter("faas.errors", "{error}", "Number of failed invocations and inits")
        self._timeouts = meter.create_counter("faas.timeouts", "{timeout}", "Number of invocations and inits timed out")
        self._invoke_duration = meter.create_histogram(
            "faas.invoke_duration",
            "s",
            "Duration of invocations",
            explicit_bucket_boundaries_advisory=_TIME_BUCKETS,
        )
        self._init_duration = meter.create_histogram(
            "faas.init_duration", "s", "Duration of inits", explicit_bucket_boundaries_advisory=_TIME_BUCKETS
        )
        self._memory = meter.create_histogram(
            "faas.mem_usage", "By", "Most memory used by an invocation", explicit_bucket_boundaries_advisory=_BYTES
        )

    def record(self, events: Iterable[TelemetryEvent]) -> None:
        """Take in events; those that tell of nothing measured are passed over."""
        for event in events:
            if isinstance(event, PlatformInitStart):
                self._coldstarts.add(1)
            elif isinstance(event, PlatformInitReport):
                if event.record.metrics.duration_ms is not None:
                    self._init_duration.record(event.record.metrics.duration_ms / 1000)
                self._count_failure(event.record.status)
            elif isinstance(event, PlatformRuntimeDone | PlatformReport):
                self._record_invocation(event)

    def _record_invocation(self, event: PlatformRuntimeDone | PlatformReport) -> None:
        if type(event) is self._outcome:
            status = event.record.status
            if status == "success":
                self._invocations.add(1)
            self._count_failure(status)
            if event.record.metrics is not None and event.record.metrics.duration_ms is not None:
                self._invoke_duration.record(event.record.metrics.duration_ms / 1000)
        if isinstance(event, PlatformReport) and event.record.metrics.max_memory_used_mb is not None:
            self._memory.record(event.record.metrics.max_memory_used_mb * _MIB)

    def _count_failure(self, status: str | None) -> None:
        if status == "timeout":
            self._timeouts.add(1)
        elif status in {"failure", "error"}:
            self._errors.add(1)
