"""Telemetry out in time: flush policies, batching, retries, a spill store, sinks."""

from __future__ import annotations

from lambda_extension._flush import (
    Action,
    Adaptive,
    Continuous,
    Decision,
    EndOfInvocation,
    Every,
    FlushPolicy,
    FlushSchedule,
    OnSize,
)
from lambda_extension.delivery._accounts import DeliveryStatistics
from lambda_extension.delivery._breaker import Breaker
from lambda_extension.delivery._buffer import Batching
from lambda_extension.delivery._delivery import Delivery
from lambda_extension.delivery._encoders import NDJSON, Compression, Encoder, JSONArray
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._retry import Retry
from lambda_extension.delivery._sinks import Payload, Sink, SinkError
from lambda_extension.delivery._spill import Spill

__all__ = [
    "NDJSON",
    "Action",
    "Adaptive",
    "Batching",
    "Breaker",
    "Compression",
    "Continuous",
    "Decision",
    "Delivery",
    "DeliveryStatistics",
    "Encoder",
    "EndOfInvocation",
    "Every",
    "FlushPolicy",
    "FlushSchedule",
    "HTTPSink",
    "JSONArray",
    "OnSize",
    "Payload",
    "Retry",
    "Sink",
    "SinkError",
    "Spill",
]
