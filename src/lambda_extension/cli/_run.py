"""One run of the simulator for the terminal: what to run, and what came of it."""

from __future__ import annotations

import json
import math
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import attrs
from anyio import create_task_group

from lambda_extension.simulator import (
    Clock,
    Entry,
    ExtensionSpec,
    Fault,
    Finding,
    InvocationResult,
    KillFault,
    ScriptedFunction,
    ShutdownReport,
    Simulator,
)

__all__ = ["Outcome", "Plan", "Tally", "command_of", "run"]

# What the function does where none is given.
_DEFAULT_FUNCTION = ScriptedFunction(
    latency=0.01, log_lines=["order accepted", '{"level": "INFO", "message": "order shipped"}']
)
# Inits that may fail, one after the other, before the run is given up.
_MOST_FAILED_INITS = 2


def command_of(path: Path) -> list[str]:
    """Give the command line of an extension; a `.py` file runs on this Python, so that it finds what this one has."""
    return [sys.executable, str(path)] if path.suffix == ".py" else [str(path)]


@attrs.frozen(kw_only=True)
class Plan:
    """What to run."""

    extension: Path
    handler: str | None = None
    invocations: int = 3
    concurrency: int = 1
    mode: Literal["on-demand", "snap-start", "managed-instances"] = "on-demand"
    payload: Any = None
    freeze: bool = False
    timeout: float = 3.0
    faults: Sequence[Fault] = ()

    @property
    def name(self) -> str:
        """The extension's name: that of its file."""
        return self.extension.name


@attrs.define(eq=False)
class Tally:
    """Counts entries as they happen."""

    telemetry_out: IO[str] | None = None
    init_ms: dict[str, float] = attrs.field(factory=dict)
    exit_codes: dict[str, int] = attrs.field(factory=dict)
    emitted: int = 0
    delivered: int = 0
    dropped: int = 0
    init_failures: int = 0
    _started: dict[str, float] = attrs.field(factory=dict)

    def add(self, entry: Entry) -> None:
        """Take in an entry."""
        match (entry.kind, entry.what):
            case ("process", "start"):
                self._started[entry.who] = entry.time
            case ("process", "exit"):
                self.exit_codes[entry.who] = entry.detail["code"]
            case ("state", "Ready"):
                self._init_ends(entry, entry.who)
            case ("phase", "init-end"):
                self.init_failures = 0 if entry.detail["status"] == "success" else self.init_failures + 1
            case ("delivery", "delivered"):
                self.delivered += entry.detail["items"]
            case ("event", type_):
                self._add_event(entry, type_)

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
    """The invocations that were made: figures only, since there may be many."""

    statuses: Counter[str] = attrs.field(factory=Counter)
    durations_ms: array[float] = attrs.field(factory=lambda: array("d"))
    overheads_ms: array[float] = attrs.field(factory=lambda: array("d"))

    @property
    def count(self) -> int:
        """How many."""
        return len(self.durations_ms)

    def add(self, result: InvocationResult) -> None:
        """Take in a result."""
        self.statuses[result.status] += 1
        self.durations_ms.append(result.duration_ms)
        self.overheads_ms.append(result.extension_overhead_ms)


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a run; milliseconds."""

    plan: Plan
    made: Made
    shutdown: ShutdownReport
    tally: Tally
    findings: Sequence[Finding]

    @property
    def gave_up(self) -> bool:
        """Whether init failed so often that the remaining invocations were not made."""
        return self.made.count < self.plan.invocations

    @property
    def exit_code(self) -> int | None:
        """The extension's last exit code; None when it never ran."""
        return self.tally.exit_codes.get(self.plan.name)

    @property
    def ok(self) -> bool:
        """Whether the extension did nothing wrong; its death by a fault that was asked for is not held against it."""
        killed = {fault.participant for fault in self.plan.faults if isinstance(fault, KillFault)}
        blamed = [finding for finding in self.findings if finding.who not in killed]
        return not blamed and not self.gave_up and (self.plan.name in killed or self.exit_code == 0)

    def as_dict(self) -> dict[str, Any]:
        """Give everything in a form that JSON takes."""
        return {
            "ok": self.ok,
            "extension": self.plan.name,
            "mode": self.plan.mode,
            "invocations": {
                "planned": self.plan.invocations,
                "made": self.made.count,
                "by_status": dict(self.made.statuses),
            },
            "init_ms": self.tally.init_ms,
            "duration_ms": spread(self.made.durations_ms),
            "overhead_ms": spread(self.made.overheads_ms),
            "events": {
                "emitted": self.tally.emitted,
                "delivered": self.tally.delivered,
                "dropped": self.tally.dropped,
            },
            "shutdown": {
                "reason": self.shutdown.reason,
                "used_ms": self.shutdown.used_ms,
                "budget_ms": self.shutdown.budget_ms,
                "late": list(self.shutdown.late),
            },
            "exit_code": self.exit_code,
            "findings": [attrs.asdict(finding) for finding in self.findings],
        }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Give least, median, 95th percentile and greatest; None of no values."""
    if not values:
        return None
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return {"min": ordered[0], "median": at(0.5), "p95": at(0.95), "max": ordered[-1]}


async def run(
    plan: Plan, tally: Tally, watch: Callable[[Entry], object], *, advance: Callable[[], object] = lambda: None
) -> Outcome:
    """Simulate.

    Args:
        plan: What.
        tally: What counts.
        watch: Called with each entry besides.
        advance: Called after each invocation.

    Raises:
        ModuleNotFoundError: A handler is given, and awslambdaric is not installed.
    """

    def see(entry: Entry) -> None:
        tally.add(entry)
        watch(entry)

    simulator = Simulator(
        [ExtensionSpec(command_of(plan.extension), name=plan.name)],
        plan.handler or _DEFAULT_FUNCTION,
        mode=plan.mode,
        timeout=plan.timeout,
        concurrency=plan.concurrency,
        freeze=plan.freeze,
        faults=plan.faults,
        watch=see,
    )
    made = Made()
    left = iter(range(plan.invocations))

    async def work() -> None:
        for _ in left:
            made.add(await simulator.invoke(plan.payload))
            advance()
            if tally.init_failures >= _MOST_FAILED_INITS:
                return

    async with simulator:
        async with create_task_group() as workers:
            for _ in range(min(plan.concurrency, plan.invocations)):
                workers.start_soon(work)
        shutdown = await simulator.shutdown()
    return Outcome(plan=plan, made=made, shutdown=shutdown, tally=tally, findings=simulator.record.findings)
