"""What became of every event: counters that only synchronous code changes, so that they add up at every await."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class DeliveryStatistics:
    """What has happened so far. `received` = `delivered` + `buffered` + `spilled` + `dropped`, at every moment.

    Attributes:
        received: Events taken in; those that an earlier process left in the spill store are included.
        recovered: How many of them were found in the spill store.
        delivered: Events that the sink has acknowledged.
        buffered: Events in memory, those being sent included.
        spilled: Events in the spill store.
        dropped: Events lost.
        dropped_by_reason: Why: `memory` or `spill_full` (no room), `spill_failed` (the file system), `rejected` (the
            sink did not want them), `corrupt` (the spill store was damaged while this process ran), `unencodable`.
        batches: Payloads acknowledged.
        bytes: Bytes of their bodies.
        retries: Sends repeated within a flush.
        failures: Sends that failed.
        spilled_in_all: Events that ever went to the spill store.
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
    dropped_by_reason: Mapping[str, int] = attrs.field(factory=dict)
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
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.dropped_by_reason.items()))
        mean = self.held_seconds / self.invocations * 1000 if self.invocations else 0.0
        return (
            f"received {self.received} (recovered {self.recovered}), delivered {self.delivered}"
            f" in {self.batches} batches of {self.bytes} bytes, buffered {self.buffered}, spilled {self.spilled},"
            f" dropped {self.dropped}{f' ({reasons})' if reasons else ''};"
            f" {self.retries} retries, {self.failures} failures; {self.flushes} flushes ({self.cut_flushes} cut off)"
            f" of {self.flush_seconds * 1000:.0f} ms, longest {self.longest_flush * 1000:.0f} ms;"
            f" {self.invocations} invocations held {mean:.1f} ms on average, {self.longest_hold * 1000:.0f} ms at most"
        )


@attrs.define(eq=False, kw_only=True)
class Accounts:
    """The counters. `buffered` is not among them: the buffer itself knows."""

    received: int = 0
    recovered: int = 0
    delivered: int = 0
    spilled: int = 0
    drops: Counter[str] = attrs.field(factory=Counter)
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

    def flushed(self, seconds: float, *, cut: bool) -> None:
        """Count a flush."""
        self.flushes += 1
        self.cut_flushes += cut
        self.flush_seconds += seconds
        self.longest_flush = max(self.longest_flush, seconds)

    def held(self, seconds: float) -> None:
        """Count an invocation."""
        self.invocations += 1
        self.held_seconds += seconds
        self.longest_hold = max(self.longest_hold, seconds)

    def snapshot(self, *, buffered: int) -> DeliveryStatistics:
        """Give the figures of now."""
        counts = {field.name: getattr(self, field.name) for field in attrs.fields(Accounts) if field.name != "drops"}
        return DeliveryStatistics(
            **counts, buffered=buffered, dropped=self.drops.total(), dropped_by_reason=dict(self.drops)
        )
