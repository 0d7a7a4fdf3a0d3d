"""A telemetry processor that exports spans, log records and metrics; it imports OpenTelemetry during init."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, final, get_args

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import attrs

from lambda_extension._api._enums import ShutdownReason
from lambda_extension._budget import EXPORT_LIMIT
from lambda_extension._environment import Environment
from lambda_extension.telemetry import PlatformStart, TelemetryEvent

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from lambda_extension._api._models import Registration
    from lambda_extension.otel._logs import LogConverter
    from lambda_extension.otel._metrics import MetricRecorder
    from lambda_extension.otel._spans import SpanConverter

Signal: TypeAlias = Literal["traces", "logs", "metrics"]
T = TypeVar("T")

logger = logging.getLogger("lambda_extension.otel")

# Items that one request of an exporter carries, as OpenTelemetry's own batch processors do.
_BATCH = 512
# Snapshots of the metrics that may wait for a backend that is away.
_MOST_SNAPSHOTS = 100


@attrs.frozen(kw_only=True)
class OpenTelemetryStatistics:
    """What has become of what was made of telemetry; metrics are counted by snapshot, one for each flush.

    Attributes:
        exported_spans: Spans that the exporter has taken.
        pending_spans: Spans that wait for the next flush.
        dropped_spans: Spans that were given up, since too many were waiting.
        exported_logs: Log records that the exporter has taken.
        pending_logs: Log records that wait for the next flush.
        dropped_logs: Log records that were given up, since too many were waiting.
        exported_metrics: Snapshots that the exporter has taken.
        pending_metrics: Snapshots that wait for the next flush.
        dropped_metrics: Snapshots that were given up, since too many were waiting.
    """

    exported_spans: int = 0
    pending_spans: int = 0
    dropped_spans: int = 0
    exported_logs: int = 0
    pending_logs: int = 0
    dropped_logs: int = 0
    exported_metrics: int = 0
    pending_metrics: int = 0
    dropped_metrics: int = 0


class _Queue(Generic[T]):
    """What waits for an exporter: bounded, in order, and kept until it has been taken."""

    def __init__(self, what: str, most: int, batch: int) -> None:
        self.exported = self.dropped = 0
        self.export: Callable[[Sequence[T]], Any] | None = None
        self._what = what
        self._most = most
        self._batch = batch
        self._waiting: deque[T] = deque()
        self._one_at_a_time = threading.Lock()

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def add(self, items: Iterable[T]) -> None:
        self._waiting.extend(items)
        excess = len(self._waiting) - self._most
        if excess > 0:
            if not self.dropped:
                logger.warning("more than %d %s wait to be exported: the oldest are dropped", self._most, self._what)
            self.dropped += excess
            for _ in range(excess):
                self._waiting.popleft()

    async def flush(self) -> None:
        """Export what waits, until the exporter fails. A cancelled call keeps its batch, which may go out twice."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            taken = False
            try:
                taken = await _in_thread(self._export, batch)
            finally:
                if not taken:
                    self._waiting.extendleft(reversed(batch))
            if not taken:
                logger.warning("%s could not be exported: %d wait for the next flush", self._what, self.pending)
                return
            self.exported += len(batch)

    def _export(self, batch: list[T]) -> bool:
        assert self.export is not None
        with self._one_at_a_time:  # after one that a deadline cut off
            try:
                # All three results are enumerations whose success is 0.
                return bool(self.export(batch).value == 0)
            except Exception:  # other people's code: a fault of theirs must not cost the extension its life
                logger.exception("the exporter of %s failed", self._what)
                return False


@final
class OpenTelemetryProcessor:
    """Exports telemetry by OpenTelemetry, for `run_telemetry`: phases as spans, events as log records, and metrics.

    What is made of events waits until `flush`, in memory, and is given to the exporters in threads. What an
    exporter does not take is offered again with the next flush; beyond `max_pending` the oldest is dropped and counted.

    Exporters that are not passed are those for OTLP over HTTP, set up by the `OTEL_EXPORTER_OTLP_*` variables. They are
    made during init, and nothing of OpenTelemetry is imported before: it takes longer than all of this library.

    Args:
        signals: What to export, of `traces`, `logs` and `metrics`.
        span_exporter: Takes spans; shut down at the end, as are the others.
        log_exporter: Takes log records.
        metric_exporter: Takes metrics.
        environment: The environment's variables; by default those of this process.
        max_pending: Spans, and log records, that may wait.

    Raises:
        ValueError: A signal that there is not, or an exporter for a signal that is not exported.
        ModuleNotFoundError: OpenTelemetry is not installed.
    """

    def __init__(
        self,
        signals: Collection[Signal] = ("traces", "logs", "metrics"),
        *,
        span_exporter: SpanExporter | None = None,
        log_exporter: LogRecordExporter | None = None,
        metric_exporter: MetricExporter | None = None,
        environment: Environment | None = None,
        max_pending: int = 10_000,
    ) -> None:
        passed = {"traces": span_exporter, "logs": log_exporter, "metrics": metric_exporter}
        for signal in signals:
            if signal not in get_args(Signal):
                msg = f"signals are of {', '.join(get_args(Signal))}, not {signal!r}"
                raise ValueError(msg)
        for name, exporter in passed.items():
            if exporter is not None and name not in signals:
                msg = f"there is an exporter for {name}, which are not among the signals"
                raise ValueError(msg)
        # A missing package should be found out now, not within Lambda's init.
        if importlib.util.find_spec("opentelemetry") is None:
            msg = "OpenTelemetry is not installed: pip install 'lambda-extension[otel]'"
            raise ModuleNotFoundError(msg, name="opentelemetry")
        self._exporters: dict[str, Any] = {signal: passed[signal] for signal in signals}
        self._environment = environment
        self._spans: _Queue[Any] = _Queue("spans", max_pending, _BATCH)
        self._logs: _Queue[Any] = _Queue("log records", max_pending, _BATCH)
        self._metrics: _Queue[Any] = _Queue("snapshots of metrics", _MOST_SNAPSHOTS, 1)
        self._span_converter: SpanConverter
        self._log_converter: LogConverter
        self._recorder: MetricRecorder | None = None
        self._reader: InMemoryMetricReader
        self._provider: MeterProvider

    def statistics(self) -> OpenTelemetryStatistics:
        """Count what has been exported, waits, and was dropped so far."""
        return OpenTelemetryStatistics(
            exported_spans=self._spans.exported,
            pending_spans=self._spans.pending,
            dropped_spans=self._spans.dropped,
            exported_logs=self._logs.exported,
            pending_logs=self._logs.pending,
            dropped_logs=self._logs.dropped,
            exported_metrics=self._metrics.exported,
            pending_metrics=self._metrics.pending,
            dropped_metrics=self._metrics.dropped,
        )

    async def init(self, registration: Registration) -> None:
        """Import OpenTelemetry and make the exporters, in a worker thread, while the runtime boots."""
        await anyio.to_thread.run_sync(self._set_up, registration)

    async def process(self, events: Iterable[TelemetryEvent]) -> None:
        """Take in events: to spans, log records and metrics that wait for `flush`. A cancelled call has taken them."""
        for event in events:
            # A log record belongs to the span of an invocation from its start to its report, both included.
            if isinstance(event, PlatformStart):
                self._convert_span(event)
                self._convert_log(event)
            else:
                self._convert_log(event)
                self._convert_span(event)
            if self._recorder is not None:
                self._recorder.record([event])
        await anyio.lowlevel.checkpoint()

    async def flush(self) -> None:
        """Export what waits. Returns early when an exporter fails; a cancelled call loses nothing."""
        if self._recorder is not None:
            snapshot = await anyio.to_thread.run_sync(self._reader.get_metrics_data)
            if snapshot is not None and snapshot.resource_metrics:
                self._metrics.add([snapshot])
        async with anyio.create_task_group() as tasks:
            for queue in (self._spans, self._logs, self._metrics):
                tasks.start_soon(queue.flush)

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """Export the spans of what never ended too, shut the exporters down, and say what is left over."""
        if not hasattr(self, "_span_converter"):
            return  # init failed
        if "traces" in self._exporters:
            self._spans.add(self._span_converter.finish())
        try:
            await self.flush()
            await _in_thread(self._shut_down)
        finally:
            counts = self.statistics()
            if any(queue.pending or queue.dropped for queue in (self._spans, self._logs, self._metrics)):
                logger.warning("not everything was exported: %s", counts)
            else:
                logger.info("everything was exported: %s", counts)

    def _convert_span(self, event: TelemetryEvent) -> None:
        spans = self._span_converter.convert([event])
        if spans and "traces" in self._exporters:
            self._spans.add(spans)

    def _convert_log(self, event: TelemetryEvent) -> None:
        if "logs" in self._exporters:
            self._logs.add(self._log_converter.convert([event]))

    def _set_up(self, registration: Registration) -> None:
        from lambda_extension.otel._logs import LogConverter
        from lambda_extension.otel._resource import lambda_resource
        from lambda_extension.otel._spans import SpanConverter

        environment = self._environment or Environment.from_mapping()
        managed_instance = environment.is_managed_instance
        resource = lambda_resource(registration, environment)
        for signal, exporter in self._exporters.items():
            self._exporters[signal] = exporter or _own_exporter(signal)
        if "traces" in self._exporters:
            self._spans.export = self._exporters["traces"].export
        if "logs" in self._exporters:
            self._logs.export = self._exporters["logs"].export
        if "metrics" in self._exporters:
            self._set_up_metrics(self._exporters["metrics"], resource, runtime_done=not managed_instance)
        self._span_converter = SpanConverter(resource)
        self._log_converter = LogConverter(resource, context=self._span_converter.context, several=managed_instance)

    def _set_up_metrics(self, exporter: MetricExporter, resource: Any, *, runtime_done: bool) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        from lambda_extension.otel._metrics import MetricRecorder
        from lambda_extension.otel._resource import SCOPE

        # What OpenTelemetry's own periodic reader asks an exporter for.
        self._reader = InMemoryMetricReader(exporter._preferred_temporality, exporter._preferred_aggregation)  # noqa: SLF001
        self._provider = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        self._recorder = MetricRecorder(self._provider.get_meter(SCOPE.name), runtime_done=runtime_done)

        self._metrics.export = lambda batch: exporter.export(batch[0])

    def _shut_down(self) -> None:
        if self._recorder is not None:
            self._provider.shutdown()
        for signal, exporter in self._exporters.items():
            try:
                exporter.shutdown()
            except Exception:  # as above; and the others have to be shut down too
                logger.exception("the exporter of %s could not be shut down", signal)


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    """Run blocking work, which must not raise, in a thread of its own.

    Unlike a worker thread it holds up neither a cancelled call nor the end of the process.
    """
    token = anyio.lowlevel.current_token()
    done = anyio.Event()
    outcome: list[T] = []

    def run() -> None:
        outcome.append(work(*args))
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=run, name="lambda_extension.otel", daemon=True).start()
    await done.wait()
    return outcome[0]


def _own_exporter(signal: str) -> Any:
    variables = ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT")
    timeout = None if any(name in os.environ for name in variables) else EXPORT_LIMIT
    if signal == "traces":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(timeout=timeout)
    if signal == "logs":
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

        return OTLPLogExporter(timeout=timeout)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(timeout=timeout)
