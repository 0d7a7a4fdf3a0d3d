"""AWS's emulator as a platform of the conformance suite."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

import anyio
import anyio.abc
import httpx

from conformance.platforms import Environment, Mode, Outcome
from conformance.puppets import Stage, open_stage, python_script
from emulator.harness import Emulator


@final
class _Emulated(Environment):
    def __init__(self, emulator: Emulator, stage: Stage, tasks: anyio.abc.TaskGroup) -> None:
        super().__init__(stage, tasks, managed=emulator.managed)
        self._emulator = emulator

    async def invoke(self, payload: Any = None, *, trace: str | None = None) -> Outcome:
        headers = None if trace is None else {"X-Amzn-Trace-Id": trace}
        try:
            answer = await self._emulator.invoke(payload, headers=headers)
        except (httpx.TransportError, TimeoutError) as error:
            return Outcome(error=repr(error))
        try:
            body = answer.json()
        except ValueError:
            return Outcome(error=answer.text or f"status {answer.status_code}")
        if answer.status_code >= 400 or (isinstance(body, dict) and "errorType" in body):
            return Outcome(error=json.dumps(body))
        return Outcome(payload=body)

    async def shut_down(self) -> None:
        self._emulator.terminate()
        await self._emulator.wait()

    async def init_failure(self) -> str:
        if self.first is None:
            await self._emulator.wait()
        else:
            error = (await self.first.value()).error
            assert error
            if not error.startswith("status "):
                return str(error)
        # The standard mode answers an empty 502 then: only the log has the reason.
        found = [line for line in self._emulator.log.splitlines() if "fatal" in line or "failed" in line]
        return "\n".join(found)


@final
class EmulatedPlatform:
    """aws-lambda-rie in one mode."""

    def __init__(self, binary: Path, root: Path, mode: Mode) -> None:
        self.name, self.mode = "emulator", mode
        self._binary, self._root = binary, root

    @asynccontextmanager
    async def open(
        self,
        *extensions: str,
        first: Any = None,
        timeout: int = 5,
        concurrency: int = 4,
        telemetry: bool = True,
        tracing: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Environment]:
        """Start it; see `conformance.platforms.Platform`."""
        async with open_stage() as stage, anyio.create_task_group() as tasks:
            program = python_script(stage.source)
            emulator = Emulator(
                self._binary,
                self._root,
                managed=self.mode == "managed",
                extensions=dict.fromkeys(extensions or ("one.py",), program),
                bootstrap=program,
                timeout=timeout,
                concurrency=concurrency,
                environment=environment,
            )
            try:
                async with emulator:
                    lambda_ = _Emulated(emulator, stage, tasks)
                    if self.mode == "on-demand":
                        lambda_.first = lambda_.begin(first)
                    yield lambda_
            except Exception as error:
                error.add_note(f"the emulator's log:\n{emulator.log[-20000:]}")
                raise
            tasks.cancel_scope.cancel()
