"""One execution environment: its participants, their states, its telemetry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, final

import anyio
import anyio.abc

from lambda_extension.simulator._apis._extensions import ExtensionTable
from lambda_extension.simulator._platform._executables import Obstacle
from lambda_extension.simulator._platform._functions import (
    ExtensionSpec,
    Script,
    ScriptedFunction,
    function_argv,
)
from lambda_extension.simulator._platform._launching import Launcher
from lambda_extension.simulator._platform._participants import Invocation, Mailbox, Participant
from lambda_extension.simulator._platform._scripted import InProcessRuntime
from lambda_extension.simulator._platform._surroundings import Surroundings
from lambda_extension.simulator._platform._telemetry import Telemetry
from lambda_extension.simulator._platform._verdicts import Verdicts
from lambda_extension.simulator._settings import Settings
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._record import Record

_REAP_LIMIT: Final = 5.0
_FAREWELL: Final = 1.0
_LOG_LIMIT: Final = 1000


@final
class Sandbox:
    """One environment from its init to its end.

    Attributes:
        table: The extensions' states.
        telemetry: All events, and who gets them.
        verdicts: Takes what is to be said of participants.
        participants: Extensions that were started, by name.
        boxes: What extensions wait for, by name.
        active: Invocations under way, by request id.
        fatal: The first fatal error.
        closing: Whether the environment is ending.
        closed: Whether it has ended, but for processes that take their time to die.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        record: Record,
        tasks: anyio.abc.TaskGroup,
        api: str,
        surroundings: Surroundings,
        script: Script,
    ) -> None:
        self.settings, self.clock, self.record = settings, clock, record
        self.surroundings, self.script = surroundings, script
        self.tasks, self._api = tasks, api
        names = [spec.resolved_name for spec in settings.extensions]
        self.table = ExtensionTable(settings.about, names, managed=settings.managed)
        self.telemetry = Telemetry(record, clock, settings.delivery)
        self.verdicts = Verdicts(record)
        self.participants: dict[str, Participant] = {}
        self.boxes: dict[str, Mailbox] = {}
        self.runtime_box = Mailbox()
        self.runtime: Participant | None = None
        self.runtime_ready = False
        self.restored = anyio.Event()
        self.runtime_waiting = 0
        self.active: dict[str, Invocation] = {}
        self.fatal: str | None = None
        self.closing = self.closed = False
        self._changed = anyio.Event()
        self._launcher = Launcher(self, surroundings=surroundings, tasks=tasks, clock=clock, record=record)

    # -- waiting

    def notify(self) -> None:
        """Let every `until` look again."""
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Block until the condition holds or the environment has failed."""
        while not condition() and self.fatal is None:
            await self._changed.wait()

    def failure(self) -> str | None:
        """Return the fatal error so far."""
        return self.fatal

    async def changed(self) -> None:
        """Block until anything changes."""
        await self._changed.wait()

    def fail(self, error_type: str) -> None:
        """Note a fatal error; the first one wins."""
        if not self.closing and self.fatal is None:
            self.fatal = error_type
            self.record.add("state", "platform", "fatal", error_type=error_type)
        self.notify()

    # -- participants

    def start_extensions(self) -> None:
        """Start all extensions, in parallel."""
        common = self.settings.extension_environment(self._api, self.surroundings)
        for spec in self.settings.extensions:
            name = spec.resolved_name
            self.boxes[name] = Mailbox()
            self.participants[name] = self._launcher.start(name, spec, {**common, **spec.environment})

    def start_runtime(self) -> None:
        """Start the function."""
        function = self.settings.function
        environment: dict[str, str] = {}
        if callable(function) or isinstance(function, ScriptedFunction):
            spec = ExtensionSpec(InProcessRuntime(self))
        else:
            root = str(Path.cwd())
            environment = self.settings.runtime_environment(self._api, root, self.surroundings)
            spec = ExtensionSpec(function_argv(function)[0])
        self.runtime = self._launcher.start("runtime", spec, environment)

    def has_host_clock(self, name: str) -> bool:
        """Return whether an extension is part of a real process, be it the runtime's."""
        participant = self.participants.get(name) or self.runtime
        return participant is not None and participant.real

    def launch_failed(self, participant: Participant, problem: Obstacle) -> None:
        """Note that the file of a participant could not be started."""
        self.verdicts.not_started(participant.name, problem)
        if participant is self.runtime:
            self.fail("Runtime.InvalidEntrypoint")
            return
        state = self.table.extensions[participant.name]
        state.state = "LaunchError"
        state.error_type = "PermissionDenied" if problem.permission else "UnknownError"
        self.fail("Extension.LaunchError")

    def ended(self, participant: Participant) -> None:
        """Note that a participant has ended."""
        if participant is self.runtime:
            self.fail(self.verdicts.runtime_ended(participant, ready=self.runtime_ready))
            return
        state = self.table.extensions[participant.name]
        if not self.closing and self.fatal is None and not participant.excused:
            self.verdicts.exits_early(participant, state)
        if state.state not in {"LaunchError", "InitError", "ExitError"}:
            state.state = "Exited"
        self.fail("Extension.Crash")

    def output(self, who: str, line: str) -> None:
        """Take a line that a participant wrote."""
        self.record.add("output", who, "line", text=line)
        record: Any = line
        if self.settings.log_format == "JSON":
            record = _json_record(line)
        if who == "runtime":
            for invocation in self.active.values():
                if len(invocation.logs) < _LOG_LIMIT and not self.settings.managed:
                    invocation.logs.append(line)
            self.telemetry.emit("function", record, line=line, who=who)
            return
        if self.telemetry.feedback.wrote(who):
            self.verdicts.feedback(who)
        self.telemetry.emit("extension", record, line=line, who=who)

    def everyone(self) -> list[Participant]:
        """Return all participants that live."""
        known = [*self.participants.values(), *([self.runtime] if self.runtime else [])]
        return [participant for participant in known if not participant.done]

    def dying(self) -> bool:
        """Return whether somebody has been killed whose end has not been seen yet."""
        return any(participant.killed for participant in self.everyone())

    async def wait_failed(self) -> None:
        """Let who reported an error exit by itself, within a bound: its answer, last output and exit code count."""
        failed = [item.name for item in self.table.extensions.values() if item.state in {"InitError", "ExitError"}]
        with anyio.move_on_after(_FAREWELL):
            while any(not self.participants[name].done for name in failed if name in self.participants):
                await self._changed.wait()

    async def kill(self) -> None:
        """End everything at once and wait, within a bound, until it has gone."""
        self.closing = True
        for participant in self.everyone():
            participant.kill()
        self.close()
        with anyio.move_on_after(_REAP_LIMIT, shield=True):
            while self.everyone():
                await self._changed.wait()

    def close(self) -> None:
        """Release every long poll."""
        self.telemetry.thaw()
        for box in (*self.boxes.values(), self.runtime_box):
            box.close()
        self.restored.set()
        self.closed = True
        self.notify()


def _json_record(line: str) -> Any:
    try:
        parsed = json.loads(line)
    except ValueError:
        return line
    return parsed if isinstance(parsed, dict) else line
