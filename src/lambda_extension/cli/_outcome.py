"""What came of a run, and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, final

import attrs

from lambda_extension.cli._setup import Setup
from lambda_extension.cli._tally import Made, Tally, spread
from lambda_extension.simulator import Finding, ShutdownReport


@final
class Exit(IntEnum):
    """Exit codes of the command; click's own for wrong usage is 2, and a signal gives 128 and its number."""

    OK = 0
    EXTENSION_FAILED = 1
    FUNCTION_FAILED = 3


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a run; milliseconds.

    Attributes:
        planned: Invocations that were to be made; None where their number was open, and how they end is the caller's.
        strict: Whether warnings count as errors do.
    """

    setup: Setup
    planned: int | None
    made: Made
    shutdown: ShutdownReport
    tally: Tally
    strict: bool = False
    findings: Sequence[Finding]

    @property
    def gave_up(self) -> bool:
        """Whether init failed so often that the remaining invocations were not made."""
        return self.planned is not None and self.made.count < self.planned

    @property
    def exit_codes(self) -> dict[str, int]:
        """The last exit code of each extension that ran."""
        return {name: code for name, code in self.tally.exit_codes.items() if name in self.setup.names}

    @property
    def exit(self) -> Exit:
        """The verdict: an extension failed, or else the function did where no fault made it."""
        levels = {"error", "warning"} if self.strict else {"error"}
        blamed = {finding.who for finding in self.findings if finding.level in levels}
        if blamed - {"runtime"}:
            return Exit.EXTENSION_FAILED
        failed = self.made.count > self.made.statuses["success"] and self.planned is not None
        if blamed or self.gave_up or (failed and not self.setup.faults):
            return Exit.FUNCTION_FAILED
        return Exit.OK

    def as_dict(self) -> dict[str, Any]:
        """Give everything in a form that JSON takes."""
        tally, made = self.tally, self.made
        return {
            "ok": self.exit is Exit.OK,
            "exit": int(self.exit),
            "extensions": self.setup.names,
            "mode": self.setup.mode,
            "invocations": {"planned": self.planned, "made": made.count, "by_status": dict(made.statuses)},
            "failures": made.failed(),
            "init_ms": tally.init_ms,
            "duration_ms": spread(made.durations_ms),
            "overhead_ms": spread(made.overheads_ms),
            "events": {
                "emitted": tally.emitted,
                "delivered": dict(tally.delivered),
                "refused": dict(tally.refused),
                "dropped": tally.dropped,
            },
            "refused_calls": [{**attrs.asdict(call), "times": times} for call, times in tally.refusals.items()],
            "reported_errors": [{**attrs.asdict(error), "times": times} for error, times in tally.errors.items()],
            "shutdown": {
                "reason": self.shutdown.reason,
                "used_ms": self.shutdown.used_ms,
                "budget_ms": self.shutdown.budget_ms,
                "late": list(self.shutdown.late),
            },
            "exit_codes": self.exit_codes,
            "findings": [attrs.asdict(finding) for finding in self.findings],
        }
