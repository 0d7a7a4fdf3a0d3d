"""Telemetry out in time: flush policies, batching, retries, a spill store, sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.delivery._batches import Batching as Batching
    from lambda_extension.delivery._breaker import Breaker as Breaker
    from lambda_extension.delivery._delivery import Delivery as Delivery
    from lambda_extension.delivery._encoders import (
        NDJSON as NDJSON,
        Compression as Compression,
        Encoder as Encoder,
        JSONArray as JSONArray,
    )
    from lambda_extension.delivery._http import HTTPSink as HTTPSink
    from lambda_extension.delivery._retry import Retry as Retry
    from lambda_extension.delivery._sinks import (
        Limits as Limits,
        Payload as Payload,
        Sink as Sink,
        SinkError as SinkError,
    )
    from lambda_extension.delivery._spill import Spill as Spill
    from lambda_extension.delivery._statistics import DeliveryStatistics as DeliveryStatistics
    from lambda_extension.processing._background_policies import Continuous as Continuous, OnSize as OnSize
    from lambda_extension.processing._policies import (
        Action as Action,
        Adaptive as Adaptive,
        Decision as Decision,
        EndOfInvocation as EndOfInvocation,
        Every as Every,
        FlushPolicy as FlushPolicy,
        FlushSchedule as FlushSchedule,
    )
