"""The test's end of the puppets: extension processes that make any raw call when told to."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, final

import anyio
import anyio.abc
import attrs
import httpx
from anyio.streams.buffered import BufferedByteReceiveStream

__all__ = ["Answer", "Call", "Puppet", "Stage", "open_stage", "python_script"]

EXTENSION: Final = "/2020-01-01/extension"
_LINE_LIMIT: Final = 8 * 1024 * 1024
_SOURCE: Final = Path(__file__).with_name("puppet.py")


def puppet_source(port: int) -> str:
    """Return the program of a participant whose test listens on `port`."""
    return _SOURCE.read_text().replace("CONTROL_PORT = 0", f"CONTROL_PORT = {port}")


def python_script(source: str) -> str:
    """Return `source` as the text of an executable file that runs on this very Python."""
    return f"#!{sys.executable}\n{source}"


@attrs.frozen(kw_only=True)
class Answer:
    """A raw answer of the platform."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def error_type(self) -> str:
        """The errorType, even out of a body that is no valid JSON."""
        try:
            return str(self.json["errorType"])
        except ValueError:
            return self.body.decode()


@final
class Call:
    """A call that a puppet is making."""

    def __init__(self) -> None:
        self.sent = anyio.Event()
        self.done = anyio.Event()
        self.message: dict[str, Any] = {}

    async def answer(self, *, within: float = 10.0) -> Answer:
        """Wait for the platform's answer.

        Raises:
            ConnectionError: The call ended without one.
        """
        with anyio.fail_after(within):
            await self.done.wait()
        if "status" not in self.message:
            raise ConnectionError(self.message.get("error", "the puppet ended"))
        headers = httpx.Headers([(key, text) for key, text in self.message["headers"]])
        return Answer(status=self.message["status"], headers=headers, body=base64.b64decode(self.message["body"]))


@attrs.define(eq=False, kw_only=True)
class Puppet:
    """One process of a participant; a new one after each reset.

    Attributes:
        environment: Its environment variables.
        tmp: What it found in /tmp.
        identifier: What register answered.
        gone: Set when the process has ended.
        gone_at: When, on the clock of `anyio.current_time()`.
        terminated: Whether it was sent SIGTERM (the runtime only).
    """

    name: str
    pid: int
    environment: Mapping[str, str]
    tmp: list[str]
    stream: anyio.abc.ByteSendStream
    started_at: float = attrs.field(factory=anyio.current_time)
    identifier: str = ""
    gone: anyio.Event = attrs.field(factory=anyio.Event)
    gone_at: float = math.inf
    terminated: bool = False
    _calls: dict[int, Call] = attrs.field(factory=dict)

    async def begin(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        identified: bool = True,
    ) -> Call:
        """Send a request, `body` being bytes or what becomes JSON; its answer is awaited by the result."""
        sent = {"Lambda-Extension-Identifier": self.identifier} if identified and self.identifier else {}
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        call = await self._order(
            do="call",
            method=method,
            path=path,
            headers={**sent, **(headers or {})},
            body=base64.b64encode(content).decode(),
        )
        with anyio.fail_after(5):
            await call.sent.wait()
        return call

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Make a call and wait for its answer."""
        return await (await self.begin(method, path, **options)).answer()

    async def register(self, *events: str, name: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Register; the identifier is kept for later calls."""
        answer = await self.call(
            "POST",
            f"{EXTENSION}/register",
            headers={"Lambda-Extension-Name": name or self.name, **(headers or {})},
            body={"events": list(events)},
            identified=False,
        )
        if answer.status == 200:
            self.identifier = answer.headers["Lambda-Extension-Identifier"]
        return answer

    async def next(self) -> Call:
        """Ask for the next event."""
        return await self.begin("GET", f"{EXTENSION}/event/next")

    async def report(self, when: str, error_type: str = "Extension.TestFailure") -> Answer:
        """Report an error of `init` or `exit`."""
        return await self.call(
            "POST",
            f"{EXTENSION}/{when}/error",
            headers={"Lambda-Extension-Function-Error-Type": error_type},
            body={"errorMessage": "as told", "errorType": error_type, "stackTrace": []},
        )

    async def subscribe(self, body: Mapping[str, Any]) -> Answer:
        """Ask for telemetry."""
        return await self.call("PUT", "/2022-07-01/telemetry", body=body)

    async def print(self, *lines: str) -> None:
        """Let it print lines."""
        call = await self._order(do="print", lines=list(lines))
        with anyio.fail_after(5):
            await call.done.wait()

    async def leave(self, name: str) -> None:
        """Let it leave a file in /tmp."""
        call = await self._order(do="leave", name=name)
        with anyio.fail_after(5):
            await call.done.wait()

    async def exit(self, code: int = 0) -> None:
        """Let it end, and wait until it has."""
        await self._order(do="exit", code=code)
        with anyio.fail_after(5):
            await self.gone.wait()

    async def _order(self, **order: Any) -> Call:
        number, call = len(self._calls), Call()
        self._calls[number] = call
        if self.gone.is_set():
            call.sent.set()
            call.done.set()
        else:
            await self.stream.send(json.dumps({"id": number, **order}).encode() + b"\n")
        return call

    def take(self, message: dict[str, Any]) -> None:
        """Take what the process says."""
        if message.get("event") == "SIGTERM":
            self.terminated = True
            return
        call = self._calls[message["id"]]
        call.sent.set()
        if "sent" in message:
            return
        call.message = message
        call.done.set()

    def end(self) -> None:
        """Note that the process has ended."""
        self.gone_at = anyio.current_time()
        self.gone.set()
        for call in self._calls.values():
            call.sent.set()
            call.done.set()


@final
class Stage:
    """Where puppets report when they start."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.source = puppet_source(port)
        self._started: dict[str, list[Puppet]] = {}
        self._changed = anyio.Event()

    def started(self, name: str) -> int:
        """Return how many processes of that name there were."""
        return len(self._started.get(name, ()))

    async def puppet(self, name: str, *, number: int = 0, within: float = 10.0) -> Puppet:
        """Wait for the process `number`, counted from 0, of that name."""
        with anyio.fail_after(within):
            while self.started(name) <= number:
                await self._changed.wait()
        return self._started[name][number]

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        puppet: Puppet | None = None
        lines = BufferedByteReceiveStream(stream)
        try:
            hello = json.loads(await lines.receive_until(b"\n", _LINE_LIMIT))
            hello.pop("event")
            puppet = Puppet(**hello, stream=stream)
            self._started.setdefault(puppet.name, []).append(puppet)
            self._changed.set()
            self._changed = anyio.Event()
            while True:
                puppet.take(json.loads(await lines.receive_until(b"\n", _LINE_LIMIT)))
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        finally:
            if puppet is not None:
                puppet.end()
            await anyio.aclose_forcefully(stream)


@asynccontextmanager
async def open_stage() -> AsyncGenerator[Stage]:
    """Listen for puppets; all of them end with the block."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        stage = Stage(listener.extra(anyio.abc.SocketAttribute.local_port))
        tasks.start_soon(listener.serve, stage._serve)
        yield stage
        tasks.cancel_scope.cancel()
