"""A function with OpenTelemetry's own instrumentation for Lambda, as its layer sets it up; run by awslambdaric."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aws_lambda import AwsLambdaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("orders")


def handler(event: Any, _: Any) -> str:
    with tracer.start_as_current_span(f"work {event}"):
        return "done"


AwsLambdaInstrumentor().instrument()
