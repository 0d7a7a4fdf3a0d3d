"""From the platform's events to what OpenTelemetry has: spans, log records, metrics. Pure but for the clock."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeVar, final

from lambda_extension._environment import Environment
from lambda_extension.otel._encoders import Signal
from lambda_extension.otel._identity import Identities
from lambda_extension.otel._metrics import MetricMaker
from lambda_extension.otel._model import OTLPLogRecord, OTLPMetric, OTLPSpan
from lambda_extension.otel._phases import SpanMaker
from lambda_extension.otel._records import LogMaker
from lambda_extension.otel._values import Limits
from lambda_extension.records import Correlator, InvocationReport, LogRecord, Pipeline
from lambda_extension.telemetry import (
    ExtensionLog,
    FunctionLog,
    PlatformInitStart,
    PlatformReport,
    PlatformRestoreStart,
    PlatformRuntimeDone,
    PlatformStart,
    TelemetryEvent,
)

T = TypeVar("T")

_LINES: Final = frozenset({FunctionLog, ExtensionLog})

logger = logging.getLogger("lambda_extension.otel")


@final
class Conversion:
    """Makes the signals that are wanted, each invocation in its one trace.

    Attributes:
        refused: Items that a hook left out, by signal.
        failed: Items that a hook failed for, which are left out too.
    """

    def __init__(
        self,
        signals: Collection[Signal],
        correlator: Correlator,
        spans: SpanMaker,
        metrics: MetricMaker,
        identities: Identities,
        environment: Environment,
        *,
        pipeline: Pipeline | None = None,
        log_limits: Limits | None = None,
        span_hook: Callable[[OTLPSpan], OTLPSpan | None] | None = None,
        metric_hook: Callable[[OTLPMetric], OTLPMetric | None] | None = None,
        on_restore: Callable[[], object] = lambda: None,
        on_instance: Callable[[str], object] = lambda _: None,
        on_arn: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._told: dict[Signal, tuple[Counter[str], int]] = {}
        self._signals = signals
        self._correlator = correlator
        self._span_maker = spans
        self._metric_maker = metrics
        self._identities = identities
        # Where several invocations run at once, what the platform knows of their traces comes with their reports.
        self._late = environment.is_managed_instance
        self._log_maker = LogMaker(identities, waits=self._late, limits=log_limits)
        self._pipeline = pipeline or Pipeline()
        self._hooks: dict[str, Any] = {"traces": span_hook, "metrics": metric_hook}
        self._on_restore = on_restore
        self._on_instance = on_instance
        self._on_arn = on_arn
        self._complained: set[str] = set()

    def take(self, events: Iterable[TelemetryEvent]) -> tuple[list[OTLPSpan], list[OTLPLogRecord]]:
        """Take in events; give the spans that are over with them, and the log records that are ready."""
        events = list(events)
        spans: list[OTLPSpan] = []
        for event in events:
            if type(event) in _LINES:
                continue  # by far the most of them, and nothing but log records
            if isinstance(event, PlatformRestoreStart):
                self._on_restore()
            if isinstance(event, PlatformInitStart | PlatformRestoreStart) and event.record.instance_id:
                self._on_instance(event.record.instance_id)
            if isinstance(event, PlatformStart) and event.record.function_arn:
                self._on_arn(event.record.function_arn)
            spans += self._span_maker.take(event)
            self._metric_maker.take(event)
            if isinstance(event, PlatformStart | PlatformRuntimeDone | PlatformReport):
                request_id = event.record.request_id
                self._identities.tell(request_id, event.record.tracing)
                if not self._late or isinstance(event, PlatformReport):
                    # Nothing more will be told of its trace: it gets one of its own.
                    self._identities.settle(request_id)
        made, logs = self._records(self._correlator.take(events))
        return self._hooked("traces", spans + made), logs

    def invoked(self, request_id: str, arn: str) -> None:
        """Note by which ARN a function was invoked, which on-demand no event tells."""
        self._span_maker.invoked(request_id, arn)
        self._on_arn(arn)

    def release(self) -> list[OTLPLogRecord]:
        """Give the log records that have waited for long enough."""
        return self._records(self._correlator.release())[1]

    def collect(self) -> list[OTLPMetric]:
        """Give what the metrics have come to since the last time."""
        return self._hooked("metrics", self._metric_maker.collect()) if "metrics" in self._signals else []

    def left_out(self, signal: Signal) -> tuple[Counter[str], int]:
        """Give how many items of a signal were left out since the last time: by what, and by what failed for them."""
        if signal == "logs":
            now = Counter(self._pipeline.filtered), self._pipeline.lost
        else:
            now = Counter(hook=self.refused[signal]), self.failed[signal]
        before = self._told.get(signal, (Counter(), 0))
        self._told[signal] = now
        return now[0] - before[0], now[1] - before[1]

    def finish(self) -> tuple[list[OTLPSpan], list[OTLPLogRecord]]:
        """Give what is known of everything that is not over."""
        spans, logs = self._records(self._correlator.close())
        spans += self._span_maker.finish()
        if "logs" in self._signals:
            held = [record for record in self._pipeline.flush() if isinstance(record, LogRecord)]
            logs += self._log_maker.make(held) + self._log_maker.finish()
        return self._hooked("traces", spans), logs

    def _records(self, records: Sequence[LogRecord | InvocationReport]) -> tuple[list[OTLPSpan], list[OTLPLogRecord]]:
        spans: list[OTLPSpan] = []
        for record in records:
            if isinstance(record, InvocationReport):
                spans += self._span_maker.invocation(record)
                self._metric_maker.invocation(record)
            elif record.source == "platform":
                spans += self._span_maker.done(record)
        if "logs" not in self._signals:
            return spans, []
        lines = [record for record in self._pipeline.apply(records) if isinstance(record, LogRecord)]
        return spans, self._log_maker.make(lines)

    def _hooked(self, signal: Signal, items: list[T]) -> list[T]:
        """Give what is left of items after the user's hook; one that it fails for is left out."""
        if signal not in self._signals:
            return []
        hook: Callable[[T], T | None] | None = self._hooks[signal]
        if hook is None:
            return items
        out: list[T] = []
        for item in items:
            try:
                changed = hook(item)
            except Exception:  # the user's; it may have been there to take out what must not leave
                self.failed[signal] += 1
                if signal not in self._complained:
                    self._complained.add(signal)
                    logger.exception(
                        "the hook of %s failed, and what it failed for is left out; not told again", signal
                    )
                continue
            if changed is None:
                self.refused[signal] += 1
            else:
                out.append(changed)
        return out
