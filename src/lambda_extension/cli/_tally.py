"""What is counted while a simulation runs: figures only, since there may be many invocations."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import IO, Any, Final

import attrs

from lambda_extension.simulator import Clock, Entry, InvocationResult

# Failed invocations that are kept whole, each of another kind.
_KEPT_FAILURES: Final = 5


@attrs.frozen(kw_only=True)
class Refusal:
    """A call that the platform refused."""

    who: str
    call: str
    status: int
    error_type: str
    message: str


@attrs.frozen(kw_only=True)
class ReportedError:
    """What an extension told the platform by init/error or exit/error."""

    who: str
    call: str
    error_type: str
    message: str


@attrs.define(eq=False)
class Tally:
    """Counts entries as they happen.

    Attributes:
        telemetry_out: Where each event of telemetry goes as a line of JSON.
        init_ms: By participant, from its start to its first next.
        exit_codes: By participant, the last one.
        killed: Those whose last end was the platform's doing.
        delivered: Events by subscriber.
        refused: Events by subscriber that it answered with an error, or could not be reached for.
        inits: Inits that have ended.
        init_failures: Inits in a row that failed.
    """

    telemetry_out: IO[str] | None = None
    init_ms: dict[str, float] = attrs.field(factory=dict)
    exit_codes: dict[str, int] = attrs.field(factory=dict)
    killed: set[str] = attrs.field(factory=set)
    emitted: int = 0
    delivered: Counter[str] = attrs.field(factory=Counter)
    refused: Counter[str] = attrs.field(factory=Counter)
    dropped: int = 0
    refusals: Counter[Refusal] = attrs.field(factory=Counter)
    errors: Counter[ReportedError] = attrs.field(factory=Counter)
    inits: int = 0
    init_failures: int = 0
    _ending: bool = False
    _started: dict[str, float] = attrs.field(factory=dict)

    def add(self, entry: Entry) -> None:
        """Take in an entry."""
        match (entry.kind, entry.what):
            case ("phase", "init-start" | "shutdown-start" as phase):
                self._ending = phase == "shutdown-start"
            case ("process", "start"):
                self._started[entry.who] = entry.time
            case ("process", "exit"):
                self.exit_codes[entry.who] = entry.detail["code"]
                (self.killed.add if entry.detail["killed"] else self.killed.discard)(entry.who)
            case ("state", "Ready"):
                self._init_ends(entry, entry.who)
            case ("state", "InitError" | "ExitError" as call):
                self._add_error(entry, call)
            case ("phase", "init-end"):
                self.inits += 1
                self.init_failures = 0 if entry.detail["status"] == "success" else self.init_failures + 1
            case ("call", call):
                self._add_call(entry, call)
            case ("delivery", "delivered"):
                self.delivered[entry.who] += entry.detail["items"]
            case ("delivery", _):
                self.refused[entry.who] += entry.detail["items"]
            case ("event", type_):
                self._add_event(entry, type_)

    def _add_call(self, entry: Entry, call: str) -> None:
        status = entry.detail["status"]
        if status >= 400 and not self._ending:  # at the end, every poll that still waits is turned away
            kind, message = str(entry.detail["error_type"]), str(entry.detail["message"])
            refusal = Refusal(who=entry.who, call=call, status=status, error_type=kind, message=message)
            self.refusals[refusal] += 1

    def _add_error(self, entry: Entry, call: str) -> None:
        error = ReportedError(
            who=entry.who,
            call="init/error" if call == "InitError" else "exit/error",
            error_type=str(entry.detail["error_type"]),
            message=str(entry.detail["message"]),
        )
        self.errors[error] += 1

    def _add_event(self, entry: Entry, type_: str) -> None:
        record = entry.detail["record"]
        self.emitted += 1
        if type_ == "platform.initRuntimeDone":
            self._init_ends(entry, "runtime")
        if type_ == "platform.logsDropped":
            self.dropped += record["droppedRecords"]
        if self.telemetry_out is not None:
            self.telemetry_out.write(
                json.dumps({"time": Clock.format(entry.time), "type": type_, "record": record}) + "\n"
            )

    def _init_ends(self, entry: Entry, who: str) -> None:
        if who in self._started:
            self.init_ms.setdefault(who, (entry.time - self._started[who]) * 1000)


@attrs.define(eq=False)
class Made:
    """The invocations that were made.

    Attributes:
        failures: The first that failed of each kind, whole.
    """

    statuses: Counter[str] = attrs.field(factory=Counter)
    durations_ms: array[float] = attrs.field(factory=lambda: array("d"))
    overheads_ms: array[float] = attrs.field(factory=lambda: array("d"))
    failures: dict[tuple[str, str | None], InvocationResult] = attrs.field(factory=dict)

    @property
    def count(self) -> int:
        """How many."""
        return len(self.durations_ms)

    def add(self, result: InvocationResult) -> None:
        """Take in a result."""
        self.statuses[result.status] += 1
        self.durations_ms.append(result.duration_ms)
        self.overheads_ms.append(result.extension_overhead_ms)
        if result.status != "success" and len(self.failures) < _KEPT_FAILURES:
            self.failures.setdefault((result.status, result.error_type), result)

    def failed(self) -> list[dict[str, Any]]:
        """Give the failures that were kept in a form that JSON takes."""
        return [
            {
                "request_id": result.request_id,
                "status": status,
                "error_type": error_type,
                "error": result.payload if isinstance(result.payload, dict) else None,
                "output": list(result.logs[-20:]),
            }
            for (status, error_type), result in self.failures.items()
        ]


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Give least, median, 95th percentile and greatest; None of no values."""
    if not values:
        return None
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return {"min": ordered[0], "median": at(0.5), "p95": at(0.95), "max": ordered[-1]}
