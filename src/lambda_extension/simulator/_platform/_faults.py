"""Faults as small values: what goes wrong, where, and the how-manieth time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal, TypeAlias

import attrs

ROUTES: Final = ("register", "next", "init-error", "exit-error", "telemetry", "logs", "runtime-next")


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
class DeliveryFault:
    """Send a batch twice, malformed, or with an event of an unknown type; `nth` from 1, `None` for all."""

    action: Literal["duplicate", "malformed", "unknown-event"]
    nth: int | None = None


@attrs.frozen(kw_only=True)
class EventFault:
    """Suppress telemetry events of one type, or delay them by `seconds`; `nth` from 1, `None` for all.

    An event that is delayed keeps the time at which it was created.

    Attributes:
        type: As the event says it: `platform.runtimeDone`, `function`.
    """

    type: str
    action: Literal["suppress", "delay"] = "suppress"
    seconds: float = 0.0
    nth: int | None = None


@attrs.frozen(kw_only=True)
class OutOfMemory:
    """Let the function use up its memory during the `nth` invocation: the kernel kills the runtime, as on Lambda."""

    nth: int | None = 1


@attrs.frozen(kw_only=True)
class KillFault:
    """Kill a participant (`runtime` or an extension's name) at the start of `init`, `invoke` or `shutdown`."""

    participant: str
    phase: Literal["init", "invoke", "shutdown"] = "invoke"
    nth: int | None = 1


@attrs.frozen(kw_only=True)
class ClockJump:
    """Move the clock of who runs in this process by `seconds` at the start of the `nth` invocation."""

    seconds: float
    nth: int = 1


@attrs.frozen(kw_only=True)
class Flood:
    """Let the function log `per_second` lines for `seconds` during the `nth` invocation."""

    per_second: int
    seconds: float = 1.0
    nth: int | None = 1


Fault: TypeAlias = RouteFault | DeliveryFault | EventFault | OutOfMemory | KillFault | ClockJump | Flood


def check_faults(faults: Iterable[Fault], extensions: Collection[str]) -> None:
    """Look for what nobody has.

    Args:
        faults: What is to go wrong.
        extensions: Names of the extensions.

    Raises:
        ValueError: A fault is for a participant or a route that there is not.
    """
    for fault in faults:
        if isinstance(fault, KillFault) and fault.participant not in {"runtime", *extensions}:
            message = f"nobody is called {fault.participant!r} here; there are {', '.join(['runtime', *extensions])}"
            raise ValueError(message)
        if isinstance(fault, RouteFault) and fault.route not in ROUTES:
            message = f"{fault.route!r} is no route; there are {', '.join(ROUTES)}"
            raise ValueError(message)
