"""A circuit breaker: a dead backend costs an invocation nothing after the first failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs

from lambda_extension._validators import number, whole


@final
@attrs.frozen(kw_only=True)
class Breaker:
    """When to leave a failing backend alone.

    Attributes:
        failures: Sends in a row that fail, or are cut off, until the sink is left alone.
        cooldown: Seconds until one payload is tried again, in the background; doubled with each failure of that, up to
            `max_cooldown`.
        max_cooldown: The longest cool-down, in seconds; also the most of a `Retry-After` that is honoured.
    """

    failures: int = attrs.field(default=3, validator=whole(1))
    cooldown: float = attrs.field(default=5.0, validator=number(above=0))
    max_cooldown: float = attrs.field(default=60.0, validator=number(above=0))


@final
class CircuitBreaker:
    """The state: closed (all may pass), open (nothing), or due for a probe. The wall clock counts, frozen time too."""

    def __init__(self, settings: Breaker, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._cooldown = settings.cooldown
        self._opened: float | None = None
        self._pause = 0.0

    @property
    def is_open(self) -> bool:
        """Whether nothing but a probe may pass."""
        return self._opened is not None

    @property
    def is_due(self) -> bool:
        """Whether the cool-down is over, so that a probe may pass."""
        return self._opened is not None and not 0 <= self._clock() - self._opened < self._pause

    def succeeded(self) -> None:
        """Note a success: closed."""
        self._failures = 0
        self._cooldown = self._settings.cooldown
        self._opened = None

    def failed(self) -> None:
        """Note a failure: the last of several in a row opens, and a failed probe opens for twice as long."""
        self._failures += 1
        if self._opened is not None:
            self._cooldown = min(self._cooldown * 2, self._settings.max_cooldown)
        if self._opened is not None or self._failures >= self._settings.failures:
            self._open(self._cooldown)

    def hold_off(self, seconds: float) -> None:
        """Open, since the other end asked to be left alone for so long."""
        self._open(seconds)

    def _open(self, seconds: float) -> None:
        self._opened = self._clock()
        self._pause = min(seconds, self._settings.max_cooldown)
