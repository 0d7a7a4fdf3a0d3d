#!/usr/bin/env python3
"""Say every ten seconds how many invocations ran at once: on Managed Instances several do, and nothing freezes."""

from collections.abc import Sequence

import anyio

from lambda_extension import TelemetryProcessor, TelemetrySubscription, run_telemetry
from lambda_extension.processing import Every
from lambda_extension.telemetry import PlatformReport, PlatformStart, TelemetryEvent


class Concurrency(TelemetryProcessor):
    def __init__(self) -> None:
        self.running: set[str] = set()
        self.ended = self.most = 0

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        for event in events:
            match event:
                case PlatformStart(record=start):
                    self.running.add(start.request_id)
                    self.most = max(self.most, len(self.running))
                case PlatformReport(record=report):
                    self.running.discard(report.request_id)
                    self.ended += 1

    async def flush(self) -> None:
        print(f"{self.ended} invocations ended, {self.most} at once at most", flush=True)
        self.ended, self.most = 0, len(self.running)


async def main() -> None:
    platform = TelemetrySubscription(types=["platform"])
    await run_telemetry(Concurrency(), flush=Every(10), telemetry=platform)


if __name__ == "__main__":
    anyio.run(main)
