"""What became of every event, as users see it."""

from __future__ import annotations

from collections import Counter
from typing import final

import attrs


@final
@attrs.define(kw_only=True)
class DeliveryStatistics:
    """What has happened so far.

    `received` = `delivered` + `buffered` + `spilled` + `dropped` + `filtered`, at every moment.

    Attributes:
        received: Events taken in, or records made of them where there are transforms; those that an earlier process
            left in the spill store are included.
        recovered: How many of them were found in the spill store.
        delivered: Events that the sink has acknowledged.
        buffered: Events in memory, those being sent included.
        spilled: Events that are in the spill store alone.
        dropped: Events lost.
        dropped_by_reason: Why: `memory` or `spill_full` (no room), `spill_failed` (the file system), `rejected` (the
            sink did not want them), `too_large` (longer than the sink takes), `corrupt` (the spill store was damaged
            while this process ran, or has another format), `unencodable`, `transform_failed` (one that leaves out what
            it fails for).
        filtered: What a transform, a hook, or the encoder, left out because it is meant to.
        filtered_by_name: By which transform; `encoder` for what came to nothing in the encoder.
        transform_failures: How often each transform has raised, by its name; what it left out for that is dropped.
        batches: Payloads acknowledged.
        bytes: Bytes of their bodies.
        retries: Sends repeated within a flush.
        failures: Sends that failed, and openings of the sink.
        spilled_in_all: Events that were ever in the spill store alone.
        torn_records: Records of an earlier process that were incomplete or damaged; how many events is not known.
        flushes: Flushes that had something to do.
        cut_flushes: Flushes cancelled at their limit.
        flush_seconds: Their duration, in all.
        longest_flush: The longest one's, in seconds.
        invocations: Invocations seen.
        held_seconds: What they were held beyond their function's end, in all.
        longest_hold: The longest one's, in seconds.
    """

    received: int = 0
    recovered: int = 0
    delivered: int = 0
    buffered: int = 0
    spilled: int = 0
    dropped: int = 0
    dropped_by_reason: Counter[str] = attrs.field(factory=Counter)
    filtered: int = 0
    filtered_by_name: Counter[str] = attrs.field(factory=Counter)
    transform_failures: Counter[str] = attrs.field(factory=Counter)
    batches: int = 0
    bytes: int = 0
    retries: int = 0
    failures: int = 0
    spilled_in_all: int = 0
    torn_records: int = 0
    flushes: int = 0
    cut_flushes: int = 0
    flush_seconds: float = 0.0
    longest_flush: float = 0.0
    invocations: int = 0
    held_seconds: float = 0.0
    longest_hold: float = 0.0

    def __str__(self) -> str:
        failed = self.transform_failures
        mean = self.held_seconds / self.invocations * 1000 if self.invocations else 0.0
        return (
            f"received {self.received} (recovered {self.recovered}), delivered {self.delivered}"
            f" in {self.batches} batches of {self.bytes} bytes, buffered {self.buffered}, spilled {self.spilled},"
            f" dropped {self.dropped}{_listed(self.dropped_by_reason)},"
            f" filtered {self.filtered}{_listed(self.filtered_by_name)};"
            f"{f' transforms failed {failed.total()} times{_listed(failed)};' if failed else ''}"
            f" {self.retries} retries, {self.failures} failures; {self.flushes} flushes ({self.cut_flushes} cut off)"
            f" of {self.flush_seconds * 1000:.0f} ms, longest {self.longest_flush * 1000:.0f} ms;"
            f" {self.invocations} invocations held {mean:.1f} ms on average, {self.longest_hold * 1000:.0f} ms at most"
        )


def _listed(counts: Counter[str]) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f" ({parts})" if parts else ""
