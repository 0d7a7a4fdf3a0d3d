"""What has happened to telemetry, as users see it."""

from __future__ import annotations

import attrs


@attrs.define(kw_only=True)
class Statistics:
    """What has happened to telemetry so far; all numbers are totals, but for `buffered_events`.

    What `TelemetryStream.statistics` gives changes no more.

    Attributes:
        received_batches: Batches taken in and acknowledged.
        received_events: Events in them.
        received_bytes: Bytes of their bodies.
        unknown_events: Events among them that are an `UnknownEvent`.
        delivered_events: Events that the consumer has taken.
        buffered_events: Events taken in that wait for the consumer now.
        repeated_batches: Batches that came twice in a row and were delivered once.
        refused_bodies: Bodies that were not a JSON array (answered 400), or too long (413).
        refused_events: Events in them, as far as they could be told: at least one for each.
        rejected_batches: Batches answered 503, unacknowledged, since the stream had closed.
        dropped_events: Events that the platform reported as dropped.
        dropped_bytes: Bytes that the platform reported as dropped.
    """

    received_batches: int = 0
    received_events: int = 0
    received_bytes: int = 0
    unknown_events: int = 0
    delivered_events: int = 0
    buffered_events: int = 0
    repeated_batches: int = 0
    refused_bodies: int = 0
    refused_events: int = 0
    rejected_batches: int = 0
    dropped_events: int = 0
    dropped_bytes: int = 0
