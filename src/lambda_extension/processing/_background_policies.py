"""The policies that never hold an invocation; apart from the others, which are imported at every start."""

# ruff: noqa: ARG002 - each policy looks at those of the arguments that it needs
from __future__ import annotations

from typing import final

import attrs

from lambda_extension._validators import number, whole
from lambda_extension.processing._policies import LET_GO, Action, Clock, Decision, FlushSchedule


@final
@attrs.frozen(kw_only=True)
class OnSize:
    """Flush in the background once enough has come, or once it has waited long enough.

    Costs: no invocation is held; a flush may run on into the next one. Risks: what is less than the limits waits,
    through any number of freezes, until `max_age` is over at a wake, or until shutdown; a freeze may interrupt a flush,
    which then is repeated.

    Attributes:
        max_items: Events.
        max_bytes: Bytes in which they came.
        max_age: Seconds since the first of them came; None for no limit.
    """

    max_items: int = attrs.field(default=1_000, validator=whole(1))
    max_bytes: int = attrs.field(default=256 * 1024, validator=whole(1))
    max_age: float | None = attrs.field(
        default=60.0,
        validator=attrs.validators.optional(number(above=0)),  # type: ignore[arg-type]  # it takes None too
    )

    def begin(self, now: float) -> FlushSchedule:
        """Make the state of a run that begins now (epoch seconds)."""
        return _OnSize(self)


class _OnSize:
    def __init__(self, policy: OnSize) -> None:
        self.policy = policy
        self.first: Clock | None = None

    def invocation_started(self, now: float, deadline: float) -> Decision:
        return Decision(action=Action.FLUSH_NOW) if self._too_old(now) else LET_GO

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        if self.first is None:
            self.first = Clock(now)
        return items >= self.policy.max_items or size >= self.policy.max_bytes or self._too_old(now)

    def next_tick(self, now: float) -> float | None:
        if self.first is None or self.policy.max_age is None:
            return None
        return self.first.next(now, self.policy.max_age)

    def flush_started(self, now: float) -> None:
        self.first = None

    def _too_old(self, now: float) -> bool:
        if self.first is None or self.policy.max_age is None:
            return False
        return self.first.due(now, self.policy.max_age)


@final
@attrs.frozen
class Continuous:
    """Flush in the background whenever telemetry comes; never hold an invocation.

    Costs: nothing is billed but what a flush takes from the function's processor time. Risks: a freeze interrupts
    flushes half-way, so that telemetry leaves with the next invocation, and a payload may arrive twice (with the same
    id). Best for functions that are invoked all the time.
    """

    def begin(self, now: float) -> FlushSchedule:
        """Make the state of a run that begins now (epoch seconds)."""
        return _Continuous()


class _Continuous:
    def invocation_started(self, now: float, deadline: float) -> Decision:
        return Decision(action=Action.FLUSH_NOW)

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        return items > 0

    def next_tick(self, now: float) -> float | None:
        return None

    def flush_started(self, now: float) -> None:
        """Nothing depends on it."""
