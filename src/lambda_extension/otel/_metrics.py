"""What invocations and inits amount to, as OTLP metrics by the semantic conventions for functions. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, final

import msgspec

from lambda_extension.otel._model import (
    CUMULATIVE,
    DELTA,
    Histogram,
    HistogramPoint,
    NumberPoint,
    OTLPMetric,
    Sum,
)
from lambda_extension.otel._values import attributes, nanoseconds
from lambda_extension.records import InvocationReport
from lambda_extension.records._times import unix_nanoseconds
from lambda_extension.telemetry import (
    PlatformInitReport,
    PlatformLogsDropped,
    PlatformRestoreReport,
    TelemetryEvent,
)

Temporality: TypeAlias = Literal["delta", "cumulative"]
"""What the points of a metric count from."""

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_MIB: Final = 1024 * 1024
_KIND: Final = "aws.lambda.initialization_type"
_BYTE_BUCKETS: Final = tuple(
    float(mib * _MIB) for mib in (16, 32, 64, 128, 256, 512, 768, 1024, 2048, 3072, 4096, 6144, 8192)
)
_SIZE_BUCKETS: Final = tuple(float(1024 * 4**power) for power in range(8))


class _Kind(NamedTuple):
    """A metric: what it is called, and how its values are put together."""

    unit: str
    description: str
    bounds: tuple[float, ...] | None = None  # of a histogram; None for a counter
    whole: bool = True  # whether a counter counts


# https://opentelemetry.io/docs/specs/semconv/faas/faas-metrics/ has the names that begin with `faas.`.
KINDS: Final[Mapping[str, _Kind]] = {
    "faas.coldstarts": _Kind("{coldstart}", "Number of invocation cold starts"),
    "faas.invocations": _Kind("{invocation}", "Number of successful invocations"),
    "faas.errors": _Kind("{error}", "Number of invocation errors"),
    "faas.timeouts": _Kind("{timeout}", "Number of invocation timeouts"),
    "faas.invoke_duration": _Kind("s", "Duration of the function's logic", _BUCKETS),
    "faas.init_duration": _Kind("s", "Duration of the function's initialization", _BUCKETS),
    "faas.mem_usage": _Kind("By", "Most memory that an invocation used", _BYTE_BUCKETS),
    "aws.lambda.billed_duration": _Kind("s", "Duration that is billed for", _BUCKETS),
    "aws.lambda.restore_duration": _Kind("s", "Duration of SnapStart restores", _BUCKETS),
    "aws.lambda.response_latency": _Kind("s", "Time until the response began", _BUCKETS),
    "aws.lambda.response_duration": _Kind("s", "Time that sending the response took", _BUCKETS),
    "aws.lambda.extension_overhead": _Kind("s", "Time that extensions took after the function", _BUCKETS),
    "aws.lambda.produced_bytes": _Kind("By", "Size of the response", _SIZE_BUCKETS),
    "aws.lambda.memory_size": _Kind("By", "Configured memory", _BYTE_BUCKETS),
    "aws.lambda.out_of_memory": _Kind("{invocation}", "Number of invocations that ran out of memory"),
    "aws.lambda.gb_seconds": _Kind("GBy.s", "Billed duration times configured memory, estimated", whole=False),
    "aws.lambda.logs_dropped": _Kind("{record}", "Log records and events that the platform dropped"),
}


class _Values(msgspec.Struct, eq=False):
    """Values of one metric with the same attributes, since the beginning or the last collection."""

    since: int
    latest: int
    count: int = 0
    total: float = 0
    least: float = 0.0
    most: float = 0.0
    buckets: list[int] = []
    changed: bool = True


@final
class MetricMaker:
    """Puts together what has happened, and gives it as metrics when asked.

    Every invocation counts once, by its report; every init and restore by the platform's report of it.
    `faas.invocations` counts those that succeeded, `faas.errors` and `faas.timeouts` the others. Lambda's MB are taken
    for MiB. Points have the times of events, not of the clock.

    Args:
        temporality: Whether a collection gives what came since the last one, or since the beginning.
        initialization_type: How this environment is initialised, by which cold starts are told apart.
    """

    def __init__(self, temporality: Temporality = "delta", initialization_type: str | None = None) -> None:
        self._delta = temporality == "delta"
        self._kind = {} if initialization_type is None else {_KIND: initialization_type}
        self._values: dict[tuple[str, tuple[tuple[str, Any], ...]], _Values] = {}
        self._first = 0
        self._latest = 0

    def take(self, event: TelemetryEvent) -> None:
        """Take in an event of the platform that is no invocation's."""
        if isinstance(event, PlatformInitReport):
            self._init(event)
        elif isinstance(event, PlatformRestoreReport):
            self._at(event.time)
            duration = getattr(event.record.metrics, "duration_ms", None)
            self._record("aws.lambda.restore_duration", _seconds(duration))
            self._failure(str(event.record.status), event.record.error_type)
        elif isinstance(event, PlatformLogsDropped):
            self._at(event.time)
            self._record("aws.lambda.logs_dropped", event.record.dropped_records)

    def invocation(self, report: InvocationReport) -> None:
        """Take in an invocation."""
        self._at(report.time)
        if report.outcome == "success":
            self._record("faas.invocations", 1)
        elif report.out_of_memory:
            self._record("aws.lambda.out_of_memory", 1)
            self._failure("error", report.error_type or "Runtime.OutOfMemory")
        elif report.failed:
            self._failure("timeout" if report.timed_out else "error", report.error_type or report.status)
        if report.cold_start:
            self._record("faas.coldstarts", 1, self._kind)
        memory = report.memory_size_mb
        # The function's own time where the platform tells it; on Managed Instances there is only the whole.
        runtime = report.runtime_duration_ms
        self._record("faas.invoke_duration", _seconds(report.duration_ms if runtime is None else runtime))
        self._record("faas.mem_usage", _bytes(report.max_memory_used_mb))
        self._record("aws.lambda.memory_size", _bytes(memory))
        self._record("aws.lambda.billed_duration", _seconds(report.billed_duration_ms))
        self._record("aws.lambda.response_latency", _seconds(report.response_latency_ms))
        self._record("aws.lambda.response_duration", _seconds(report.response_duration_ms))
        self._record("aws.lambda.extension_overhead", _seconds(report.extension_overhead_ms))
        self._record("aws.lambda.produced_bytes", report.produced_bytes)
        if report.billed_duration_ms is not None and memory is not None:
            self._record("aws.lambda.gb_seconds", report.billed_duration_ms / 1000 * memory / 1024)

    def collect(self) -> list[OTLPMetric]:
        """Give what has changed since the last collection; nothing where nothing has."""
        points: dict[str, list[Any]] = {}
        for (name, labels), values in self._values.items():
            if values.changed:
                values.changed = False
                points.setdefault(name, []).append(_point(name, labels, values))
        if self._delta:
            self._values.clear()
            self._first = self._latest
        temporality = DELTA if self._delta else CUMULATIVE
        return [_metric(name, points[name], temporality) for name in KINDS if name in points]

    def _init(self, event: PlatformInitReport) -> None:
        self._at(event.time)
        record = event.record
        kind = {_KIND: str(record.initialization_type)}
        self._record("faas.init_duration", _seconds(getattr(record.metrics, "duration_ms", None)), kind)
        self._failure(None if record.status is None else str(record.status), record.error_type)

    def _failure(self, status: str | None, error_type: str | None) -> None:
        if status == "timeout":
            self._record("faas.timeouts", 1)
        elif status not in {None, "None", "success"}:
            self._record("faas.errors", 1, {"error.type": error_type or status})

    def _at(self, time: str | None) -> None:
        now = nanoseconds(unix_nanoseconds(time or ""))
        self._latest = max(self._latest, now)
        self._first = self._first or self._latest

    def _record(self, name: str, value: float | None, labels: Mapping[str, Any] | None = None) -> None:
        if value is None:
            return
        key = (name, tuple((labels or {}).items()))
        values = self._values.get(key)
        bounds = KINDS[name].bounds
        if values is None:
            values = self._values[key] = _Values(self._first, self._latest, least=value, most=value)
            values.buckets = [0] * (len(bounds) + 1 if bounds else 0)
        values.count += 1
        values.total += value
        values.least, values.most = min(values.least, value), max(values.most, value)
        values.latest = self._latest
        values.changed = True
        if bounds:
            values.buckets[bisect.bisect_left(bounds, value)] += 1


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _bytes(megabytes: float | None) -> float | None:
    return None if megabytes is None else megabytes * _MIB


def _point(name: str, labels: tuple[tuple[str, Any], ...], values: _Values) -> NumberPoint | HistogramPoint:
    kind = KINDS[name]
    since, latest, common = str(values.since), str(values.latest), attributes(dict(labels))
    if kind.bounds is None:
        return NumberPoint(
            attributes=common,
            start_time_unix_nano=since,
            time_unix_nano=latest,
            as_int=str(int(values.total)) if kind.whole else None,
            as_double=None if kind.whole else float(values.total),
        )
    return HistogramPoint(
        attributes=common,
        start_time_unix_nano=since,
        time_unix_nano=latest,
        count=str(values.count),
        sum=float(values.total),
        bucket_counts=[str(count) for count in values.buckets],
        explicit_bounds=list(kind.bounds),
        min=float(values.least),
        max=float(values.most),
    )


def _metric(name: str, points: list[Any], temporality: int) -> OTLPMetric:
    kind = KINDS[name]
    total = distribution = None
    if kind.bounds is None:
        total = Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=True)
    else:
        distribution = Histogram(data_points=points, aggregation_temporality=temporality)
    return OTLPMetric(name=name, unit=kind.unit, description=kind.description, sum=total, histogram=distribution)
