"""Participants from their start to their end: processes, and async callables of this process."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, final

import anyio
import anyio.abc

from lambda_extension._budget import wall_clock
from lambda_extension.simulator._platform._executables import Obstacle, obstacle
from lambda_extension.simulator._platform._functions import ExtensionSpec
from lambda_extension.simulator._platform._participants import Participant
from lambda_extension.simulator._platform._processes import GroupProcess
from lambda_extension.simulator._platform._surroundings import Surroundings
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._record import Record


class _Owner(Protocol):
    def output(self, who: str, line: str) -> None: ...

    def launch_failed(self, participant: Participant, problem: Obstacle) -> None: ...

    def ended(self, participant: Participant) -> None: ...


@final
class Launcher:
    """Starts participants, each in a task of its own, and tells their owner how they end."""

    def __init__(
        self,
        owner: _Owner,
        *,
        surroundings: Surroundings,
        tasks: anyio.abc.TaskGroup,
        clock: Clock,
        record: Record,
    ) -> None:
        self._owner, self._surroundings = owner, surroundings
        self._tasks, self._clock, self._record = tasks, clock, record

    def start(self, name: str, spec: ExtensionSpec, environment: Mapping[str, str]) -> Participant:
        """Begin a participant; never blocks."""
        participant = Participant(name=name, real=spec.argv is not None)
        self._tasks.start_soon(self._run, participant, spec, environment, name=name)
        return participant

    async def _run(self, participant: Participant, spec: ExtensionSpec, environment: Mapping[str, str]) -> None:
        code: int | None = None
        try:
            with participant.scope:
                if spec.argv is None:
                    self._record.add("process", participant.name, "start", argv=None, pid=None)
                    code = await self._call(participant, spec.command, environment)
                else:
                    code = await self._execute(participant, spec.argv, environment)
        finally:
            if code is None and participant.process is not None:
                code = participant.process.exit_code
            participant.done = True
            if not participant.unstarted:  # who never ran has no exit code either
                code = participant.exit_code = -signal.SIGKILL if code is None else code
                self._record.add("process", participant.name, "exit", code=code, killed=participant.killed)
            self._owner.ended(participant)

    async def _call(
        self,
        participant: Participant,
        command: Callable[[Mapping[str, str]], Awaitable[object]],
        environment: Mapping[str, str],
    ) -> int:
        # For this task and all that it starts: deadlines are on this clock, which jumps over a virtual freeze.
        wall_clock.set(self._clock.time)
        try:
            await command(environment)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else 1
        except Exception:  # noqa: BLE001 - the boundary to other people's code; the traceback goes to their log
            for line in traceback.format_exc().splitlines():
                self._owner.output(participant.name, line)
            return 1
        return 0

    async def _execute(self, participant: Participant, argv: list[str], environment: Mapping[str, str]) -> int | None:
        problem = obstacle(argv, environment, opt=self._surroundings.hidden_opt)
        if problem is not None and problem.certain:
            self._failed(participant, argv, problem)
            return None
        try:
            # What may not run is started as it is: only the kernel's own answer says, and nsenter would hide it.
            command = argv if problem is not None else self._surroundings.command(argv)
            participant.process = await GroupProcess.start(command, environment)
        except OSError as error:
            self._failed(participant, argv, problem or _obstacle_of(argv, error))
            return None
        self._record.add("process", participant.name, "start", argv=argv, pid=participant.process.pid)
        code = await participant.process.run(lambda line: self._owner.output(participant.name, line))
        if problem is not None and code:
            # uvloop starts what the kernel refuses as a shell script.
            self._failed(participant, argv, problem)
        return code

    def _failed(self, participant: Participant, argv: list[str], problem: Obstacle) -> None:
        participant.unstarted = True
        self._record.add("process", participant.name, "launch-error", argv=argv, error=problem.message)
        self._owner.launch_failed(participant, problem)


def _obstacle_of(argv: list[str], error: OSError) -> Obstacle:
    return Obstacle(
        message=f"{argv[0]}: {error.strerror}.",
        fix="Mend the file, or its rights.",
        permission=isinstance(error, PermissionError),
    )
