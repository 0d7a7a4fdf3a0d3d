"""When telemetry leaves: policies that decide, do no I/O, and arm no timer that a freeze could make meaningless.

All times are epoch seconds: the wall clock is the only one that goes on while the environment is frozen.
"""

# ruff: noqa: ARG002 - each policy looks at those of the arguments that it needs
from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import Protocol, final

import attrs

from lambda_extension._validators import number, whole


class Action(Enum):
    """What to do with an invocation that has begun."""

    LET_GO = "let_go"
    """Nothing: ask for the next event at once."""
    FLUSH_NOW = "flush_now"
    """Flush at once, beside the function."""
    FLUSH_AT_END = "flush_at_end"
    """Wait for this request's `platform.runtimeDone`, take in what has come, flush."""


@attrs.frozen(kw_only=True)
class Decision:
    """What to do with an invocation that has begun; everything is cut to its deadline besides.

    Attributes:
        action: What to do.
        wait: Seconds from now that waiting for the function's end may take (`FLUSH_AT_END`).
        limit: Seconds that the flush may hold the invocation; it is then cancelled, and what has not left stays. 0 does
            not hold the invocation at all: the flush runs in the background, and a freeze may interrupt it.
    """

    action: Action
    wait: float = 0.0
    limit: float = 0.0


LET_GO = Decision(action=Action.LET_GO)


class FlushSchedule(Protocol):
    """The state of a policy in one run. Its methods decide at once and do no I/O."""

    def invocation_started(self, now: float, deadline: float) -> Decision:
        """Decide on an invocation that has begun.

        Args:
            now: Epoch seconds.
            deadline: When the function times out, in epoch seconds.
        """
        raise NotImplementedError  # pragma: no cover - a protocol

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        """Decide, after telemetry has come, whether to flush in the background.

        Args:
            now: Epoch seconds.
            items: Events that have come since the last flush began, and those of a flush that was cut off.
            size: Bytes in which they came.
        """
        raise NotImplementedError  # pragma: no cover - a protocol

    def next_tick(self, now: float) -> float | None:
        """Say when to flush in the background if nothing else happens, in epoch seconds; None for never.

        Asked only while the environment is certain to be awake: during an invocation that is being held, and on Lambda
        Managed Instances, which know neither INVOKE nor freeze.
        """
        raise NotImplementedError  # pragma: no cover - a protocol

    def flush_started(self, now: float) -> None:
        """Note that a flush has really begun. If it is cut off, what it was to send is `buffered` anew."""


class FlushPolicy(Protocol):
    """When to flush: settings, which any number of runs may share."""

    def begin(self, now: float) -> FlushSchedule:
        """Make the state of a run that begins now (epoch seconds)."""
        raise NotImplementedError  # pragma: no cover - a protocol


class Clock:
    """When the last flush began; a wall clock that was set back counts as if the time were over."""

    def __init__(self, last: float) -> None:
        self.last = last

    def due(self, now: float, seconds: float) -> bool:
        """Tell whether a period is over."""
        return not 0 <= now - self.last < seconds

    def next(self, now: float, seconds: float) -> float:
        """Say when a period is over."""
        return now if self.due(now, seconds) else self.last + seconds


@final
@attrs.frozen(kw_only=True)
class EndOfInvocation:
    """Flush at the end of every invocation, before the freeze.

    Costs: every invocation is billed for the platform's buffering time (25 ms by default) and for the flush.
    Risks: nothing but the `platform.report`, which Lambda makes only afterwards; it leaves with the next invocation, or
    at shutdown. A `platform.runtimeDone` that never comes holds the invocation for `share` of its time.

    Attributes:
        share: Share of the invocation's time, from its start, that waiting for the function's end may take.
        limit: Seconds that one flush may hold an invocation.
        interval: Seconds between flushes during a long invocation, and on Lambda Managed Instances, where invocations
            overlap and nothing freezes.
    """

    share: float = attrs.field(default=0.8, validator=number(above=0, most=1))
    limit: float = attrs.field(default=2.0, validator=number(above=0))
    interval: float = attrs.field(default=10.0, validator=number(above=0))

    def begin(self, now: float) -> FlushSchedule:
        """Make the state of a run that begins now (epoch seconds)."""
        return _EndOfInvocation(self, Clock(now))


class _EndOfInvocation:
    def __init__(self, policy: EndOfInvocation, clock: Clock) -> None:
        self.policy = policy
        self.clock = clock

    def invocation_started(self, now: float, deadline: float) -> Decision:
        wait = max(0.0, deadline - now) * self.policy.share
        return Decision(action=Action.FLUSH_AT_END, wait=wait, limit=self.policy.limit)

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        return False

    def next_tick(self, now: float) -> float | None:
        return self.clock.next(now, self.policy.interval)

    def flush_started(self, now: float) -> None:
        self.clock.last = now


@final
@attrs.frozen
class Every:
    """Flush at the first wake after some seconds: an invocation, or telemetry that arrives.

    Costs: one flush per period, at the top of an invocation and beside the function; only a function shorter than the
    flush is billed for the difference. Risks: telemetry of the last period waits for the next invocation, or for the
    shutdown, while the environment is frozen.

    Attributes:
        seconds: The period.
        limit: Seconds that one flush may hold an invocation.
    """

    seconds: float = attrs.field(default=20.0, validator=number(above=0))
    limit: float = attrs.field(default=2.0, validator=number(above=0), kw_only=True)

    def begin(self, now: float) -> FlushSchedule:
        """Make the state of a run that begins now (epoch seconds)."""
        return _Every(self, Clock(now))


class _Every:
    def __init__(self, policy: Every, clock: Clock) -> None:
        self.policy = policy
        self.clock = clock

    def invocation_started(self, now: float, deadline: float) -> Decision:
        if not self.clock.due(now, self.policy.seconds):
            return LET_GO
        return Decision(action=Action.FLUSH_NOW, limit=self.policy.limit)

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        return self.clock.due(now, self.policy.seconds)

    def next_tick(self, now: float) -> float | None:
        return self.clock.next(now, self.policy.seconds)

    def flush_started(self, now: float) -> None:
        self.clock.last = now


@final
@attrs.frozen(kw_only=True)
class Adaptive:
    """Flush at the end while invocations are rare, and periodically while they are frequent. The default.

    Frequent means that the last `window` invocations each began within `period` of the one before; one longer gap, and
    the next `window` invocations are flushed at their end again.

    Costs: as `EndOfInvocation` while rare, as `Every(period)` while frequent. Risks: when frequent traffic stops, what
    came since the last flush, `period` seconds' worth at most, waits for the next invocation or the shutdown.

    Attributes:
        period: Seconds between flushes while invocations are frequent, on Lambda Managed Instances, and during a long
            invocation.
        window: Invocations in a row that make frequent traffic.
        share: As in `EndOfInvocation`.
        limit: Seconds that one flush may hold an invocation.
    """

    period: float = attrs.field(default=20.0, validator=number(above=0))
    window: int = attrs.field(default=10, validator=whole(2))
    share: float = attrs.field(default=0.8, validator=number(above=0, most=1))
    limit: float = attrs.field(default=2.0, validator=number(above=0))

    def begin(self, now: float) -> FlushSchedule:
        """Make the state of a run that begins now (epoch seconds)."""
        end = EndOfInvocation(share=self.share, limit=self.limit, interval=self.period)
        clock = Clock(now)
        every = _Every(Every(self.period, limit=self.limit), clock)
        return _Adaptive(self, _EndOfInvocation(end, clock), every, clock)


class _Adaptive:
    def __init__(self, policy: Adaptive, rare: FlushSchedule, frequent: FlushSchedule, clock: Clock) -> None:
        self.policy = policy
        self.rare = rare
        self.frequent = frequent
        self.clock = clock
        self.starts: deque[float] = deque()

    def invocation_started(self, now: float, deadline: float) -> Decision:
        last = self.starts[-1] if self.starts else -math.inf
        if not 0 <= now - last <= self.policy.period:
            self.starts.clear()
        self.starts.append(now)
        if len(self.starts) > self.policy.window:
            self.starts.popleft()
        return self._current().invocation_started(now, deadline)

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        return self._current().buffered(now, items=items, size=size)

    def next_tick(self, now: float) -> float | None:
        return self.clock.next(now, self.policy.period)

    def flush_started(self, now: float) -> None:
        self.clock.last = now

    def _current(self) -> FlushSchedule:
        return self.frequent if len(self.starts) == self.policy.window else self.rare
