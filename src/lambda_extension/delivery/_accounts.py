"""What became of every event: counters that only synchronous code changes, so that they add up at every await."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from lambda_extension.delivery._statistics import DeliveryStatistics

logger = logging.getLogger("lambda_extension.delivery")


@final
class Accounts:
    """What happened so far. `DeliveryStatistics` says what each figure is; it is made of this once somebody asks."""

    def __init__(self) -> None:
        self.received: int = 0
        self.recovered: int = 0
        self.delivered: int = 0
        self.spilled: int = 0
        self.dropped: int = 0
        self.dropped_by_reason: Counter[str] = Counter()
        self.filtered: int = 0
        self.filtered_by_name: Counter[str] = Counter()
        self.transform_failures: Counter[str] = Counter()
        self.batches: int = 0
        self.bytes: int = 0
        self.retries: int = 0
        self.failures: int = 0
        self.spilled_in_all: int = 0
        self.torn_records: int = 0
        self.flushes: int = 0
        self.cut_flushes: int = 0
        self.flush_seconds: float = 0.0
        self.longest_flush: float = 0.0
        self.invocations: int = 0
        self.held_seconds: float = 0.0
        self.longest_hold: float = 0.0

    def statistics(self, *, buffered: int) -> DeliveryStatistics:
        """Give the figures of now, which stay as they are."""
        # Not before: of all classes that a delivery has, this one takes longest to make, and next would wait for it.
        from lambda_extension.delivery._statistics import DeliveryStatistics

        figures: dict[str, Any] = {
            name: Counter(figure) if isinstance(figure, Counter) else figure for name, figure in vars(self).items()
        }
        return DeliveryStatistics(buffered=buffered, **figures)

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
