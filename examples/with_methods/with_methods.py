#!/usr/bin/env python3
"""An extension as an object with methods."""

import anyio

from lambda_extension import ExtensionClient, InvokeEvent, ShutdownReason, run


class Counter:
    def __init__(self) -> None:
        self.invocations = 0

    async def init(self, client: ExtensionClient) -> None:
        print("watching", client.registration.function_name, flush=True)

    async def handle_invoke(self, event: InvokeEvent) -> None:
        self.invocations += 1

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        print(f"{self.invocations} invocations until {reason}", flush=True)


if __name__ == "__main__":
    anyio.run(run, Counter())
