"""ASGI's lifespan: an app is told of the server's start and of its end, and may refuse the start."""

from __future__ import annotations

import logging
from typing import Any, final

import anyio

from lambda_extension._exceptions import LambdaExtensionError
from lambda_extension.serving._asgi import ASGIApp, Message

logger = logging.getLogger("lambda_extension.server")


@final
class LifespanError(LambdaExtensionError):
    """The app answered `lifespan.startup.failed`."""

    def __init__(self, message: str) -> None:
        super().__init__(f"the app could not start: {message or 'no reason given'}")


@final
class Lifespan:
    """One run of an app's lifespan.

    Attributes:
        state: What the app leaves here, each of its requests finds a copy of.
        failure: Set when the app refuses to start.
        settled: Set once the app has started, has refused to, or has shown that it knows no lifespan.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self.failure: LifespanError | None = None
        self.settled = anyio.Event()
        self._app = app
        self._scope = anyio.CancelScope(shield=True)
        self._messages: list[Message] = [{"type": "lifespan.startup"}]
        self._sent = anyio.Event()
        self._started = False

    async def run(self) -> None:
        """Run the app's lifespan until it ends; a cancellation from outside leaves that to `end`. Never raises."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        with self._scope:
            try:
                await self._app(scope, self._receive, self._send)
            except Exception:  # the protocol lets an app say so that it knows no lifespan
                if self.failure is None:
                    level = logging.WARNING if self._started else logging.INFO
                    logger.log(level, "the app failed in its lifespan: going on without", exc_info=True)
        if self._scope.cancelled_caught and self._started:
            logger.warning("the app did not end its lifespan in time and was cut off")
        self.settled.set()

    def end(self, limit: float) -> None:
        """Tell an app that has started of the end, and cut it off `limit` seconds later; any other at once."""
        self._scope.deadline = anyio.current_time() + (limit if self._started else 0.0)
        self._messages.append({"type": "lifespan.shutdown"})
        self._sent.set()

    async def _receive(self) -> Message:
        while not self._messages:
            await self._sent.wait()
            if not self._messages:  # asked for more than there is
                await anyio.sleep_forever()
        return self._messages.pop(0)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._started = True
            self.settled.set()
        elif kind == "lifespan.startup.failed":
            self.failure = LifespanError(message.get("message", ""))
            self.settled.set()
        elif kind == "lifespan.shutdown.failed":
            logger.warning("the app failed in its shutdown: %s", message.get("message") or "no reason given")
