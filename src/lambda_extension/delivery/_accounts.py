"""What became of every event: counters that only synchronous code changes, so that they add up at every await."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Self, final

import attrs

logger = logging.getLogger("lambda_extension.delivery")


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

    def copy(self) -> Self:
        """Give the figures of now, which stay as they are."""
        return attrs.evolve(
            self,
            dropped_by_reason=Counter(self.dropped_by_reason),
            filtered_by_name=Counter(self.filtered_by_name),
            transform_failures=Counter(self.transform_failures),
        )

    def drop(self, reason: str, items: int) -> None:
        """Count a loss."""
        self.dropped += items
        self.dropped_by_reason[reason] += items

    def leave_out(self, name: str, items: int) -> None:
        """Count what was filtered."""
        self.filtered += items
        self.filtered_by_name[name] += items

    def count_flush(self, seconds: float, *, cut: bool) -> None:
        """Count a flush."""
        self.flushes += 1
        self.cut_flushes += cut
        self.flush_seconds += seconds
        self.longest_flush = max(self.longest_flush, seconds)

    def count_hold(self, seconds: float) -> None:
        """Count an invocation."""
        self.invocations += 1
        self.held_seconds += seconds
        self.longest_hold = max(self.longest_hold, seconds)


def _listed(counts: Counter[str]) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f" ({parts})" if parts else ""


@final
class Complaints:
    """Says each kind of trouble once, in a sentence, until it is over: an outage must not fill the log.

    The traceback is logged at DEBUG: the sentence says what it means, and an error's own text may be anybody's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._said: set[str] = set()

    def say(self, about: str, message: str, *args: object) -> None:
        """Complain, unless that has been done; the error at hand, if there is one, is logged at DEBUG."""
        if about not in self._said:
            self._said.add(about)
            logger.warning(f"%s: {message}", self._name, *args)  # noqa: G004 - a constant of ours
            logger.debug("%s: about the last warning", self._name, exc_info=True)  # noqa: LOG014 - most are handlers

    def over(self, about: str) -> None:
        """Note that a kind of trouble is over, so that the next is said again."""
        self._said.discard(about)
