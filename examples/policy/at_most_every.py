#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""A flush policy of one's own: at the end of an invocation, but not more often than every so many seconds."""

import math
import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery, HTTPSink
from lambda_extension.processing import Action, Decision, FlushSchedule


class AtMostEvery:
    """The settings; any number of runs may share them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def begin(self, now: float) -> FlushSchedule:
        return Schedule(self.seconds, now)


class Schedule:
    """The state of one run. All times are those of the wall clock, which goes on through a freeze."""

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self.began = now
        self.last = -math.inf  # the first invocation is flushed

    def invocation_started(self, now: float, deadline: float) -> Decision:
        if 0 <= now - self.last < self.seconds:
            return Decision(action=Action.LET_GO)
        # Wait for the function's end for at most 80 % of its time, then hold it for a second at most.
        return Decision(action=Action.FLUSH_AT_END, wait=(deadline - now) * 0.8, limit=1.0)

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        return items >= 10_000  # in the background; it holds nobody

    def next_tick(self, now: float) -> float | None:
        return max(self.began, self.last) + self.seconds  # in a long invocation, and on Managed Instances

    def flush_started(self, now: float) -> None:
        self.last = now


async def main() -> None:
    await run_telemetry(lambda: Delivery(HTTPSink(os.environ["LOGS_URL"])), flush=AtMostEvery(60))


if __name__ == "__main__":
    anyio.run(main)
