"""Faults as users type them: `ACTION[:ARGUMENT…][@NTH]`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lambda_extension import simulator

if TYPE_CHECKING:
    from lambda_extension.simulator import Fault

ROUTES: Final = ("register", "next", "init-error", "exit-error", "telemetry", "logs", "runtime-next")
# Types of telemetry beside those of the platform.
_LOGS: Final = ("function", "extension")
# How far the clock may be set back.
_YEARS: Final = 10 * 365 * 24 * 3600.0
PHASES: Final = ("init", "invoke", "shutdown")

HELP: Final = (
    "Something to go wrong, any number of times: delay:ROUTE:SECONDS, error:ROUTE[:STATUS], reset:ROUTE, duplicate, "
    "malformed, unknown-event, suppress:TYPE, delay:TYPE:SECONDS, kill:PARTICIPANT[:PHASE], out-of-memory, "
    "clock:SECONDS, flood:LINES_PER_SECOND[:SECONDS]; each with @N for the Nth time only. Routes: "
    + ", ".join(ROUTES)
    + ". Types: those of telemetry events, such as platform.runtimeDone. Phases: "
    + ", ".join(PHASES)
    + "."
)


def parse_fault(text: str) -> Fault:
    """Read a fault.

    Raises:
        ValueError: It is none; the message says what was expected.
    """
    body, at, number = text.partition("@")
    action, *arguments = body.split(":")
    if action not in _FORMS:
        msg = f"{action!r} is no fault; there are {', '.join(_FORMS)}"
        raise ValueError(msg)
    least, most, make = _FORMS[action]
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        msg = f"{action} takes {wanted} arguments after colons, got {len(arguments)}"
        raise ValueError(msg)
    return make(action, arguments, _number(number, 1) if at else None)


def _delay(_: str, arguments: list[str], nth: int | None) -> Fault:
    if _is_type(arguments[0]):
        return simulator.EventFault(type=arguments[0], action="delay", seconds=_seconds(arguments[1]), nth=nth)
    return simulator.RouteFault(
        route=_one_of(arguments[0], ROUTES), action="delay", seconds=_seconds(arguments[1]), nth=nth
    )


def _error(_: str, arguments: list[str], nth: int | None) -> Fault:
    status = _number(arguments[1], 400) if len(arguments) > 1 else 500
    return simulator.RouteFault(route=_one_of(arguments[0], ROUTES), action="error", status=status, nth=nth)


def _reset(_: str, arguments: list[str], nth: int | None) -> Fault:
    return simulator.RouteFault(route=_one_of(arguments[0], ROUTES), action="reset", nth=nth)


def _delivery(action: str, _: list[str], nth: int | None) -> Fault:
    return simulator.DeliveryFault(action=action, nth=nth)  # type: ignore[arg-type]  # the table's keys


def _suppress(_: str, arguments: list[str], nth: int | None) -> Fault:
    if not _is_type(arguments[0]):
        msg = f"{arguments[0]!r} is no type of telemetry event, such as platform.runtimeDone or function"
        raise ValueError(msg)
    return simulator.EventFault(type=arguments[0], nth=nth)


def _out_of_memory(_: str, __: list[str], nth: int | None) -> Fault:
    return simulator.OutOfMemory(nth=nth or 1)


def _kill(_: str, arguments: list[str], nth: int | None) -> Fault:
    phase = _one_of(arguments[1], PHASES) if len(arguments) > 1 else "invoke"
    return simulator.KillFault(participant=arguments[0], phase=phase, nth=nth or 1)  # type: ignore[arg-type]  # just checked


def _clock(_: str, arguments: list[str], nth: int | None) -> Fault:
    return simulator.ClockJump(seconds=_seconds(arguments[0], -_YEARS), nth=nth or 1)


def _flood(_: str, arguments: list[str], nth: int | None) -> Fault:
    seconds = _seconds(arguments[1]) if len(arguments) > 1 else 1.0
    return simulator.Flood(per_second=_number(arguments[0], 1), seconds=seconds, nth=nth or 1)


_FORMS: Final[dict[str, tuple[int, int, Callable[[str, list[str], int | None], Fault]]]] = {
    "delay": (2, 2, _delay),
    "error": (1, 2, _error),
    "reset": (1, 1, _reset),
    "duplicate": (0, 0, _delivery),
    "malformed": (0, 0, _delivery),
    "unknown-event": (0, 0, _delivery),
    "suppress": (1, 1, _suppress),
    "out-of-memory": (0, 0, _out_of_memory),
    "kill": (1, 2, _kill),
    "clock": (1, 1, _clock),
    "flood": (1, 2, _flood),
}


def _is_type(text: str) -> bool:
    return text.startswith("platform.") or text in _LOGS


def _one_of(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        msg = f"{text!r} is none of {', '.join(known)}"
        raise ValueError(msg)
    return text


def _seconds(text: str, least: float = 0.0) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not least <= seconds < math.inf:
        msg = f"{text!r} is no number of seconds"
        raise ValueError(msg)
    return seconds


def _number(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        msg = f"{text!r} is no whole number from {least} on"
        raise ValueError(msg)
    return int(text)
