"""The simulator as a platform of the conformance suite."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

import anyio
import anyio.abc

from conformance.platforms import Environment, Mode, Outcome
from conformance.puppets import Stage, open_stage, python_script
from lambda_extension.simulator import DeliverySettings, Record, Simulator


class _Leave(Exception):  # noqa: N818 - no error: it leaves the simulator without its orderly shutdown
    pass


@final
class _Simulated(Environment):
    def __init__(self, simulator: Simulator, stage: Stage, tasks: anyio.abc.TaskGroup) -> None:
        super().__init__(stage, tasks, managed=simulator.settings.managed)
        self._simulator = simulator

    async def invoke(self, payload: Any = None, *, trace: str | None = None) -> Outcome:
        result = await self._simulator.invoke(payload, trace_header=trace)
        if result.status == "success":
            return Outcome(payload=result.payload)
        timed_out = " timed out" if result.status == "timeout" else ""
        return Outcome(error=f"{result.status} {result.error_type}{timed_out}")

    async def jump(self, seconds: float) -> None:
        await self._simulator.freeze_for(seconds)

    async def shut_down(self) -> None:
        await self._simulator.shutdown()

    async def init_failure(self) -> str:
        def ended(record: Record) -> bool:
            return bool(record.find("phase", "init-end"))

        await self._simulator.wait_for(ended, within=20)
        end = self._simulator.record.find("phase", "init-end")[0].detail
        assert end["status"] != "success"
        return f"{end['status']} {end['errorType']}"


@final
class SimulatedPlatform:
    """The simulator in one mode."""

    def __init__(self, root: Path, mode: Mode) -> None:
        self.name, self.mode = "simulator", mode
        self._root = root

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
            for name in (*(extensions or ("one.py",)), "bootstrap"):
                (self._root / name).write_text(program)
                (self._root / name).chmod(0o755)
            simulator = Simulator(
                [self._root / name for name in extensions or ("one.py",)],
                self._root / "bootstrap",
                mode="managed-instances" if self.mode == "managed" else "on-demand",
                timeout=timeout,
                init_timeout=timeout,
                concurrency=concurrency,
                telemetry_supported=telemetry,
                tracing=tracing,
                delivery=DeliverySettings(retries=0),
                environment=environment,
            )
            try:
                with contextlib.suppress(_Leave):
                    async with simulator:
                        lambda_ = _Simulated(simulator, stage, tasks)
                        if self.mode == "on-demand":
                            lambda_.first = lambda_.begin(first)
                        yield lambda_
                        raise _Leave
            except Exception as error:
                error.add_note(simulator.record.story())
                raise
            tasks.cancel_scope.cancel()
