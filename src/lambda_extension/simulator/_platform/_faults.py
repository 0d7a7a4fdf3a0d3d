"""Faults as small values: what goes wrong, where, and the how-manieth time."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen

__all__ = ["ClockJump", "DeliveryFault", "Fault", "Flood", "KillFault", "RouteFault"]


@frozen(kw_only=True)
class RouteFault:
    """Disturb a route: `register`, `next`, `init-error`, `exit-error`, `telemetry`, `logs` or `runtime-next`.

    Attributes:
        route: Short name of the route.
        action: `delay` by `seconds`, answer `error` with `status`, or `reset` the connection half-way.
        nth: Which call, from 1; `None` for all.
    """

    route: str
    action: Literal["delay", "error", "reset"] = "error"
    seconds: float = 0.0
    status: int = 500
    nth: int | None = None


@frozen(kw_only=True)
class DeliveryFault:
    """Send a batch twice, malformed, or with an event of an unknown type; `nth` from 1, `None` for all."""

    action: Literal["duplicate", "malformed", "unknown-event"]
    nth: int | None = None


@frozen(kw_only=True)
class KillFault:
    """Kill a participant (`runtime` or an extension's name) at the start of `init`, `invoke` or `shutdown`."""

    participant: str
    phase: Literal["init", "invoke", "shutdown"] = "invoke"
    nth: int | None = 1


@frozen(kw_only=True)
class ClockJump:
    """Move the clock by `seconds` at the start of the `nth` invocation."""

    seconds: float
    nth: int = 1


@frozen(kw_only=True)
class Flood:
    """Let the function log `per_second` lines for `seconds` during the `nth` invocation."""

    per_second: int
    seconds: float = 1.0
    nth: int | None = 1


Fault: TypeAlias = RouteFault | DeliveryFault | KillFault | ClockJump | Flood
