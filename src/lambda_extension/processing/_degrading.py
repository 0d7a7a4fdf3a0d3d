"""What becomes of a processor's errors: they end the extension, or cost the processor its telemetry alone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, final

from lambda_extension._budget import DEGRADED_PAUSE, wall_clock

logger = logging.getLogger("lambda_extension")

# Failures in a row after which a processor is left alone for a while.
_MOST_FAILURES = 5


@final
class Guard:
    """Calls the methods of one processor.

    Attributes:
        errors: Errors that cost telemetry instead of the extension's life.
        dropped: Events that they cost, or that came while the processor was left alone.
    """

    def __init__(self, name: str, *, degrade: bool) -> None:
        self.errors = 0
        self.dropped = 0
        self._name = name
        self._degrade = degrade
        self._wall_clock = wall_clock.get()
        # By method: a `process` that does well says nothing about `flush`.
        self._in_a_row: Counter[str] = Counter()
        self._left_alone_since: float | None = None
        self._ending = False
        self._said: set[tuple[str, type[Exception]]] = set()

    async def call(self, method: Callable[..., Awaitable[object]], *args: Any, what: str, events: int = 0) -> bool:
        """Call a method, unless the processor is being left alone.

        Args:
            method: What to call.
            *args: Its arguments.
            what: Its name.
            events: How many events are lost if it is not called, or fails.

        Returns:
            Whether it was called and returned.

        Raises:
            Exception: What the method raised, where errors are not to be survived.
        """
        if not self._degrade:
            await method(*args)
            return True
        if self.is_leaving_alone:
            self.dropped += events
            return False
        ended = False
        try:
            await method(*args)
            ended = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the function is to live on
            ended = True
            self.errors += 1
            self.dropped += events
            self._say(error, what)
            self._count_failure(what)
            return False
        finally:
            if not ended:
                # Cut off at its limit: to the invocation that was held, that is as bad as an error.
                self._count_failure(what)
        self._in_a_row[what] = 0
        return True

    @property
    def is_leaving_alone(self) -> bool:
        """Whether nothing is called now, after repeated failures."""
        since = self._left_alone_since
        # A wall clock that was set back counts as if the pause were over.
        return since is not None and 0 <= self._wall_clock() - since < DEGRADED_PAUSE

    def leave_alone_no_more(self) -> None:
        """Call the processor from here on, however often it fails: its last flush has a limit, and none comes after."""
        self._left_alone_since = None
        self._ending = True

    def _say(self, error: Exception, what: str) -> None:
        if (what, type(error)) not in self._said:
            self._said.add((what, type(error)))
            logger.error(
                "%s of %s failed; the function lives on, and the same is not said again",
                what,
                self._name,
                exc_info=error,
            )

    def _count_failure(self, what: str) -> None:
        self._in_a_row[what] += 1
        # After the pause one failure is enough: only a success forgets those before.
        if self._in_a_row[what] >= _MOST_FAILURES and not self._ending:
            self._left_alone_since = self._wall_clock()
            logger.warning("%s is left alone for %.0f s after repeated failures", self._name, DEGRADED_PAUSE)
