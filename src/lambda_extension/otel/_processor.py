"""A telemetry processor that exports spans, log records and metrics as OTLP, by deliveries of this library."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, final

import anyio

from lambda_extension._budget import REQUESTS_END, wall_clock
from lambda_extension._environment import Environment
from lambda_extension.delivery import Delivery, DeliveryStatistics, Encoder, HTTPSink, Sink
from lambda_extension.otel._encoders import OTLPEncoder, Protocol, Resource, Signal, read_answer
from lambda_extension.otel._resource import lambda_resource, named_account, new_instance_id
from lambda_extension.otel._variables import SignalSettings, check_no_circle, settings_by_signal, settings_of
from lambda_extension.processing import TelemetryProcessor
from lambda_extension.processing._lifecycle import side_by_side

if TYPE_CHECKING:
    import socket

    import anyio.abc

    from lambda_extension._api._enums import ShutdownReason
    from lambda_extension._api._events import InvokeEvent
    from lambda_extension._api._models import Registration
    from lambda_extension.otel._conversion import Conversion
    from lambda_extension.otel._metrics import Temporality
    from lambda_extension.otel._model import OTLPMetric, OTLPSpan
    from lambda_extension.otel._phases import Sampled, SpanEnd
    from lambda_extension.records import LineSettings, Pipeline, Sample, Transform
    from lambda_extension.telemetry import TelemetryEvent

logger = logging.getLogger("lambda_extension.otel")


@final
class OpenTelemetryProcessor(TelemetryProcessor):
    """Exports telemetry by OpenTelemetry, for `run_telemetry`: phases as spans, lines as log records, and metrics.

    Each signal has a delivery of its own (`lambda_extension.delivery`), so that retries, time limits, the breaker, the
    spill store and the accounts are those of every other backend: a dead one costs no invocation more than its breaker
    allows, and nothing is lost in silence. OpenTelemetry's SDK is not needed.

    Where it goes, and how, say OpenTelemetry's environment variables (`OTEL_EXPORTER_OTLP_*` and others, see the
    documentation), which the function shares; arguments win over them.

    Args:
        signals: What to export, of `traces`, `logs` and `metrics`; less what `OTEL_<SIGNAL>_EXPORTER=none` leaves out.
        endpoint: Base URL of the collector; the signals' paths are added.
        headers: Headers of requests, such as an API key.
        protocol: `http/json` or `http/protobuf`.
        compression: `gzip`, or None.
        timeout: Seconds that a request may take.
        sampled: Whether an invocation that X-Ray has not sampled has spans: not with `respect`, with `always`.
        span_end: When an invocation's span ends: with its `report`, or at `runtime_done`, so that it can leave before
            the freeze; what the report alone tells is then in metrics and log records only.
        phase_names: Call an invocation's span `<function>/invoke`, and not by the function's name.
        temporality: Whether metrics count since the last time, or since the beginning.
        metrics_interval: Seconds between two collections of the metrics; 0 collects at each flush.
        transforms: What log records go through, see `lambda_extension.records`.
        lines: How lines are made into records: JSON in text, messages of several lines.
        span_hook: Called with each span; gives it, another, or None to leave it out. One that it fails for is left out.
        metric_hook: The same for metrics.
        span_exporter: Makes an exporter of OpenTelemetry's SDK (extra `otel`) that spans go to instead; a function, so
            that nothing is imported before the extension has registered.
        log_exporter: The same for log records.
        metric_exporter: The same for metrics.
        receive: Port on localhost at which the function's own OTLP is taken in and passed on; None takes none in.
        receive_resource: Whether what is passed on gets those attributes of this extension's resource that it lacks,
            such as `faas.name`; else it is passed on as it came.
        environment: The environment's variables that Lambda sets; by default those of this process.
        variables: All environment variables; by default those of this process.

    Raises:
        ValueError: A signal that there is not, an endpoint that is the port of `receive`, or an argument or a variable
            that makes no sense; it is named.
    """

    name = "opentelemetry"
    # Of a run that this is given to: it is to be asked for.
    account_id = True

    def __init__(
        self,
        signals: Collection[Signal] = ("traces", "logs", "metrics"),
        *,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        protocol: Protocol | None = None,
        compression: Literal["gzip", "unset"] | None = "unset",
        timeout: float | None = None,
        sampled: Sampled | None = None,
        span_end: SpanEnd = "report",
        phase_names: bool = False,
        temporality: Temporality | None = None,
        metrics_interval: float = 0.0,
        transforms: Iterable[Transform | Sample] = (),
        lines: LineSettings | None = None,
        span_hook: Callable[[OTLPSpan], OTLPSpan | None] | None = None,
        metric_hook: Callable[[OTLPMetric], OTLPMetric | None] | None = None,
        span_exporter: Callable[[], Any] | None = None,
        log_exporter: Callable[[], Any] | None = None,
        metric_exporter: Callable[[], Any] | None = None,
        receive: int | None = None,
        receive_resource: bool = False,
        environment: Environment | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        variables = os.environ if variables is None else variables
        self._general = settings_of(variables)
        exporters: dict[Signal, Callable[[], Any] | None] = {
            "traces": span_exporter,
            "logs": log_exporter,
            "metrics": metric_exporter,
        }
        _check_signals(signals, exporters)
        self._settings = settings_by_signal(
            signals,
            variables,
            self._general,
            sampled=sampled,
            endpoint=endpoint,
            headers=headers,
            timeout=timeout,
            compression=compression,
            protocol=protocol,
            exporters=exporters,
        )
        if receive is not None:
            check_no_circle(receive, self._settings.values())
        self._environment = environment or Environment.from_mapping()
        self._resource = Resource({})
        self._deliveries: dict[Signal, Delivery] = {
            signal: self._delivery(signal, settings, exporters[signal]) for signal, settings in self._settings.items()
        }
        self._pipeline = _pipeline(transforms)
        self._lines = lines
        self._interval = metrics_interval
        self._wall_clock = wall_clock.get()
        self._collected = 0.0
        self._temporality: Temporality = temporality or self._general.temporality
        self._spans: dict[str, Any] = {
            "sampled": sampled or ("always" if self._general.sampler == "always" else "respect"),
            "phase_names": phase_names,
            "end": span_end,
            "limits": self._general.span_limits,
        }
        self._hooks: dict[str, Any] = {"span_hook": span_hook, "metric_hook": metric_hook}
        self._port = receive
        self._listening: socket.socket | None = None
        self._receive_resource = receive_resource
        self._passed_on: dict[tuple[str, str], Delivery] = {}
        self._registration: Registration
        self._made: Conversion | None = None

    def statistics(self) -> dict[str, DeliveryStatistics]:
        """Count what has become of everything, by signal; what was the function's own is counted by request."""
        own: dict[str, DeliveryStatistics] = {name: each.statistics() for name, each in self._deliveries.items()}
        return own | {f"function {signal}": each.statistics() for (signal, _), each in self._passed_on.items()}

    async def init(self, registration: Registration) -> None:
        """Learn what the telemetry is about, open the spill stores, and listen; nothing is awaited of the backend."""
        self._resource.values = lambda_resource(
            registration,
            self._environment,
            service_name=self._general.service_name,
            more=self._general.resource,
        )
        for delivery in self._deliveries.values():
            await delivery.init(registration)
        self._registration = registration
        if self._port is not None:
            self._listen(self._port)

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        """Take in events: to spans, log records and metrics that wait for `flush`. A cancelled call has taken them."""
        spans, logs = self._conversion().take(events)
        await self._give("traces", spans)
        await self._give("logs", logs)

    async def flush(self) -> None:
        """Send what waits, signals side by side, or as much as the backend takes. A cancelled call loses nothing."""
        conversion = self._conversion()
        await self._give("logs", conversion.release())
        now = self._wall_clock()
        # A clock that was set back counts as if the time were over.
        if not 0 <= now - self._collected < self._interval:
            self._collected = now
            await self._give("metrics", conversion.collect())
        await side_by_side([delivery.flush for delivery in self._all()])

    async def background(self) -> None:
        """Take in the function's own telemetry, and open what sends; never returns."""
        async with anyio.create_task_group() as tasks:
            for delivery in self._all():
                tasks.start_soon(delivery.background, name="lambda_extension.otel delivery")
            if self._listening is not None:
                await self._receive(tasks, self._listening)
            await anyio.sleep_forever()

    def record_invocation(self, event: InvokeEvent) -> None:
        """Note by which ARN the function was invoked."""
        if event.invoked_function_arn:
            self._conversion().invoked(event.request_id, event.invoked_function_arn)

    def record_overhead(self, seconds: float) -> None:
        """Count an invocation that was held for so long beyond its function's end."""
        for delivery in self._deliveries.values():
            delivery.record_overhead(seconds)

    async def store_what_is_left(self) -> None:
        """Write to the spill stores what waits, and what is not over yet; see `Delivery.store_what_is_left`."""
        await self._finish()
        await side_by_side([delivery.store_what_is_left for delivery in self._all()])

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        """Send what is left, or store it, and say what became of everything; the signals side by side."""
        if self._listening is not None:
            self._listening.close()  # `background` may not have been called
        if hasattr(self, "_registration"):  # init has not failed
            await self._finish()
        await side_by_side([functools.partial(delivery.shutdown, reason, error) for delivery in self._all()])

    async def _finish(self) -> None:
        conversion = self._conversion()
        spans, logs = conversion.finish()
        await self._give("traces", spans)
        await self._give("logs", logs)
        await self._give("metrics", conversion.collect())

    def _conversion(self) -> Conversion:
        """Give what makes signals of events; what that imports can wait until after the first next."""
        if self._made is None:
            self._made = self._make_conversion()
        return self._made

    def _make_conversion(self) -> Conversion:
        from lambda_extension.otel._conversion import Conversion
        from lambda_extension.otel._identity import Identities
        from lambda_extension.otel._metrics import MetricMaker
        from lambda_extension.otel._phases import SpanMaker
        from lambda_extension.records import Correlator, LineSettings

        identities = Identities(self._wall_clock, sampled_alone=self._environment.is_managed_instance)
        kind = self._environment.initialization_type
        lines = self._lines or LineSettings()
        return Conversion(
            tuple(self._deliveries),
            Correlator(
                self._environment,
                self._registration,
                parse_json=lines.parse_json,
                join=lines.join,
                holding=lines.holding,
            ),
            SpanMaker(str(self._resource.values.get("faas.name", "function")), identities, **self._spans),
            MetricMaker(self._temporality, None if kind is None else str(kind)),
            identities,
            self._environment,
            pipeline=self._pipeline,
            log_limits=self._general.log_limits,
            on_restore=self._restored,
            on_instance=self._named,
            on_arn=self._located,
            **self._hooks,
        )

    def _all(self) -> list[Delivery]:
        return [*self._deliveries.values(), *self._passed_on.values()]

    async def _give(self, signal: Signal, items: Sequence[Any]) -> None:
        delivery = self._deliveries.get(signal)
        if delivery is None:
            return
        delivery.count_left_out(*self._conversion().left_out(signal))
        if items:
            await delivery.process(items)

    def _restored(self) -> None:
        """Be another environment: any number of them may have been restored from the same snapshot."""
        self._resource.values = {**self._resource.values, "service.instance.id": new_instance_id()}

    def _named(self, instance: str) -> None:
        """Take in what the platform calls this environment."""
        self._resource.values = {**self._resource.values, "faas.instance": instance}

    def _located(self, arn: str) -> None:
        """Take in the account, where registration has not told it."""
        self._resource.values = named_account(self._resource.values, arn)

    def _delivery(self, signal: Signal, settings: SignalSettings, exporter: Callable[[], Any] | None) -> Delivery:
        if exporter is not None:
            from lambda_extension.otel._exporters import ExporterSink  # for whoever has one

            return Delivery(ExporterSink(exporter, signal, self._resource), name=f"otlp-{signal}")
        encoder = OTLPEncoder(
            signal=signal,
            resource=self._resource,
            protocol=settings.protocol,
            compression=_gzip(settings),
        )
        return Delivery(_sink(settings, encoder), name=f"otlp-{signal}", encoder=encoder)

    def _listen(self, port: int) -> None:
        """Listen on localhost: what the function exports at its very start waits, and is not refused.

        That the port cannot be used costs a warning, and nothing else.
        """
        from lambda_extension.serving._socket import listen_on

        try:
            self._listening = listen_on("127.0.0.1", port)
        except OSError as error:
            logger.warning("the function's own OTLP is not taken in: port %d cannot be used: %s", port, error)

    async def _receive(self, tasks: anyio.abc.TaskGroup, sock: socket.socket) -> None:
        """Take in OTLP."""
        from lambda_extension.otel._receiving import FunctionTelemetry, PassingOn
        from lambda_extension.serving import ServerName
        from lambda_extension.serving._serve import serve_app

        async def passed_on(signal: str, content_type: str) -> Delivery | None:
            settings = self._settings.get(signal)  # type: ignore[call-overload]  # it is looked for
            if settings is None:
                return None
            key = (signal, content_type)
            if key not in self._passed_on:
                kind = content_type.rpartition("/")[2].removeprefix("x-")
                encoder = PassingOn(signal=signal, content_type=content_type, compression=_gzip(settings))
                delivery = Delivery(_sink(settings, encoder), name=f"function-{signal}-{kind}", encoder=encoder)
                self._passed_on[key] = delivery
                await delivery.init(self._registration)
                tasks.start_soon(delivery.background, name="lambda_extension.otel delivery")
            return self._passed_on[key]

        server: ServerName = "direct" if importlib.util.find_spec("httptools") is not None else "hypercorn"
        app = FunctionTelemetry(passed_on, self._resource if self._receive_resource else None)
        serving = functools.partial(
            serve_app,
            app,
            sock,
            server=server,
            shutdown_trigger=anyio.sleep_forever,
            graceful_timeout=REQUESTS_END,
        )
        await tasks.start(serving, name="lambda_extension.otel receiver")


def _pipeline(transforms: Iterable[Transform | Sample]) -> Pipeline | None:
    """Give what log records go through, and see at once that it can be; most often there is nothing to import."""
    transforms = tuple(transforms)
    if not transforms:
        return None
    from lambda_extension.records import Pipeline

    return Pipeline(transforms)


def _check_signals(signals: Collection[Signal], exporters: Mapping[Signal, object]) -> None:
    for signal in signals:
        if signal not in exporters:
            msg = f"signals are of {', '.join(exporters)}, not {signal!r}"
            raise ValueError(msg)
    for signal, exporter in exporters.items():
        if exporter is not None and signal not in signals:
            msg = f"there is an exporter for {signal}, which are not among the signals"
            raise ValueError(msg)


def _gzip(settings: SignalSettings) -> Literal["gzip"] | None:
    return "gzip" if settings.compression == "gzip" else None


def _sink(settings: SignalSettings, encoder: Encoder) -> Sink:
    """Make the sink that a signal's settings ask for."""
    if settings.exporter == "console":
        from lambda_extension.otel._console import ConsoleSink  # for a look

        return ConsoleSink()
    return HTTPSink(
        settings.url,
        headers=settings.headers,
        timeout=settings.timeout,
        encoder=encoder,
        read_answer=read_answer,
    )
