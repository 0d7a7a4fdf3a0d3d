"""Exporters of OpenTelemetry's SDK as sinks: whoever has one of their own keeps it (extra: otel)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, final

import anyio
import anyio.from_thread
import anyio.lowlevel
import msgspec

from lambda_extension.delivery import Payload, SinkError
from lambda_extension.otel._encoders import SCHEMA_URL, SCOPE, VERSION, OTLPEncoder, Resource, Signal
from lambda_extension.otel._model import DELTA, HistogramPoint, NumberPoint, OTLPLogRecord, OTLPMetric, OTLPSpan

logger = logging.getLogger("lambda_extension.otel")

_ITEMS: Final[Mapping[str, type]] = {"traces": OTLPSpan, "logs": OTLPLogRecord, "metrics": OTLPMetric}
# What encoders raise for what they cannot encode; that a backend cannot be reached is told by other errors.
_ABOUT_CONTENT: Final = (TypeError, ValueError, OverflowError, LookupError, AttributeError, RecursionError)


@final
class ExporterSink:
    """Gives what a delivery sends to an exporter of the SDK, in a thread, one request at a time.

    A send that is cut off goes on in its thread, which can neither be ended nor holds anything up; the next send waits
    for it, and if it is of the same payload, takes its result: nothing is exported twice for a lack of time.

    Args:
        make: Makes the exporter, in the thread, when there is something to send: its package takes long to import.
        signal: What it exports.
        resource: What that is about.
    """

    def __init__(self, make: Callable[[], Any], signal: Signal, resource: Resource) -> None:
        self.encoder = OTLPEncoder(signal=signal, resource=resource, compression=None)
        self._make = make
        self._signal = signal
        self._resource = resource
        self._exporter: Any = None
        self._under_way: _Export | None = None

    async def send(self, payload: Payload) -> None:
        """Export a payload. A cancelled call leaves its export going on; see above.

        Raises:
            SinkError: The exporter failed. Where it cannot take something for what that holds, as its error says, the
            payload is halved until what is at fault is alone, and that is dropped.
        """
        before = self._under_way
        if before is not None:
            await before.done.wait()
            self._under_way = None
            if before.id == payload.id and before.taken:
                return
        export = self._under_way = _Export(payload.id)
        _in_thread(export, self._export, payload.pieces)
        await export.done.wait()
        self._under_way = None
        if export.odd:
            msg = f"the exporter of {self._signal} cannot take it"
            raise SinkError(msg, too_large=payload.items > 1, keep=False)
        if not export.taken:
            msg = f"the exporter of {self._signal} did not take it"
            raise SinkError(msg)

    async def aclose(self) -> None:
        """Shut the exporter down; in its thread, which is not waited for beyond a cancellation."""
        if self._exporter is not None:
            export = _Export("")
            _in_thread(export, self._shut_down, ())
            await export.done.wait()

    def _export(self, pieces: Sequence[bytes]) -> bool:
        if self._exporter is None:
            self._exporter = self._make()
        try:
            return self._exported(pieces)
        except _ABOUT_CONTENT as error:
            raise _OddError from error

    def _exported(self, pieces: Sequence[bytes]) -> bool:
        items: list[Any] = [msgspec.json.decode(piece, type=_ITEMS[self._signal]) for piece in pieces]
        resource = _resource(self._resource)
        if self._signal == "metrics":
            batch: Any = _metrics(items, resource)
        else:
            batch = [(_span if self._signal == "traces" else _log_record)(item, resource) for item in items]
        # All three results are enumerations whose success is 0.
        return bool(self._exporter.export(batch).value == 0)

    def _shut_down(self, _: Sequence[bytes]) -> bool:
        self._exporter.shutdown()
        return True


class _OddError(Exception):
    """What was to be exported is itself at fault."""


class _Export:
    """One export in its thread."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.done = anyio.Event()
        self.taken = False
        self.odd = False


def _in_thread(export: _Export, work: Callable[[Sequence[bytes]], bool], pieces: Sequence[bytes]) -> None:
    """Run blocking work in a thread of its own; unlike a worker thread it holds up no end of the process."""
    token = anyio.lowlevel.current_token()

    def run() -> None:
        try:
            export.taken = work(pieces)
        except Exception as error:  # other people's code
            export.odd = isinstance(error, _OddError)
            logger.warning("an exporter failed", exc_info=True)
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(export.done.set, token=token)

    threading.Thread(target=run, name="lambda_extension.otel exporter", daemon=True).start()


def _resource(resource: Resource) -> Any:
    from opentelemetry.sdk.resources import Resource as SDKResource

    return SDKResource({name: value for name, value in resource.values.items() if value is not None}, SCHEMA_URL)


def _scope() -> Any:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope(SCOPE, VERSION, SCHEMA_URL)


def _context(trace_id: str, span_id: str, flags: int, *, remote: bool = False) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=TraceFlags(flags & 0xFF))


def _span(span: OTLPSpan, resource: Any) -> Any:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    parent = _context(span.trace_id, span.parent_span_id, span.flags, remote=True) if span.parent_span_id else None
    links = [Link(_context(link.trace_id, link.span_id, link.flags), _values(link.attributes)) for link in span.links]
    return ReadableSpan(
        span.name,
        context=_context(span.trace_id, span.span_id, span.flags),
        parent=parent,
        resource=resource,
        attributes=_values(span.attributes),
        links=links,
        kind=SpanKind(span.kind - 1),
        status=Status(StatusCode.UNSET if span.status is None else StatusCode.ERROR),
        start_time=int(span.start_time_unix_nano),
        end_time=int(span.end_time_unix_nano),
        instrumentation_scope=_scope(),
    )


def _log_record(record: OTLPLogRecord, resource: Any) -> Any:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    context = None
    if record.trace_id and record.span_id:
        span = NonRecordingSpan(_context(record.trace_id, record.span_id, record.flags))
        context = set_span_in_context(span)
    made = LogRecord(
        timestamp=int(record.time_unix_nano) or None,
        observed_timestamp=int(record.observed_time_unix_nano),
        context=context,
        severity_number=SeverityNumber(record.severity_number),
        severity_text=record.severity_text or None,
        body=None if record.body is None else _value(record.body),
        attributes=_values(record.attributes),
        event_name=record.event_name or None,
    )
    return ReadableLogRecord(made, resource, _scope())


def _metrics(metrics: Sequence[OTLPMetric], resource: Any) -> Any:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Histogram,
        Metric,
        MetricsData,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )

    made = []
    for metric in metrics:
        kind = metric.sum or metric.histogram
        assert kind is not None
        delta = kind.aggregation_temporality == DELTA
        temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        data: Any
        if metric.sum is not None:
            data = Sum([_number(point) for point in metric.sum.data_points], temporality, metric.sum.is_monotonic)
        else:
            data = Histogram([_histogram(point) for point in kind.data_points], temporality)  # type: ignore[arg-type]
        made.append(Metric(metric.name, metric.description, metric.unit, data))
    scoped = ScopeMetrics(_scope(), made, SCHEMA_URL)
    return MetricsData([ResourceMetrics(resource, [scoped], SCHEMA_URL)])


def _number(point: NumberPoint) -> Any:
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    value = int(point.as_int) if point.as_int is not None else float(point.as_double or 0.0)
    times = int(point.start_time_unix_nano), int(point.time_unix_nano)
    return NumberDataPoint(_values(point.attributes), *times, value)


def _histogram(point: HistogramPoint) -> Any:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    return HistogramDataPoint(
        attributes=_values(point.attributes),
        start_time_unix_nano=int(point.start_time_unix_nano),
        time_unix_nano=int(point.time_unix_nano),
        count=int(point.count),
        sum=point.sum,
        bucket_counts=[int(count) for count in point.bucket_counts],
        explicit_bounds=point.explicit_bounds,
        min=point.min,
        max=point.max,
    )


def _values(attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {item["key"]: _value(item["value"]) for item in attributes}


def _value(item: Mapping[str, Any]) -> Any:
    for kind, content in item.items():
        if kind == "intValue":
            return int(content)
        if kind == "kvlistValue":
            return _values(content["values"])
        if kind == "arrayValue":
            return [_value(each) for each in content["values"]]
        return float(content) if kind == "doubleValue" else content
    return None
