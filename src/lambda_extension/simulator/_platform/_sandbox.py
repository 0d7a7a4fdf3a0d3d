"""One execution environment: its participants, their states, its telemetry."""

from __future__ import annotations

import json
import signal
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, final

import anyio
import anyio.abc

from lambda_extension.simulator._apis._extensions import ApiError, ExtensionState, ExtensionTable
from lambda_extension.simulator._apis._telemetry import parse_subscription
from lambda_extension.simulator._platform._delivery import Telemetry
from lambda_extension.simulator._platform._functions import ExtensionSpec, ScriptedFunction, function_argv
from lambda_extension.simulator._platform._participants import Invocation, Mailbox, Participant
from lambda_extension.simulator._platform._processes import GroupProcess
from lambda_extension.simulator._platform._scripted import InProcessRuntime
from lambda_extension.simulator._settings import Settings
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._record import Record

__all__ = ["Sandbox"]

_REAP_LIMIT = 5.0
_FAREWELL = 1.0
_RESPONSE_LIMIT = 6 * 1024 * 1024


@final
class Sandbox:
    """One environment from its init to its end."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        record: Record,
        tasks: anyio.abc.TaskGroup,
        api: str,
    ) -> None:
        self.settings, self.clock, self.record = settings, clock, record
        self._tasks, self._api = tasks, api
        names = [spec.resolved_name for spec in settings.extensions]
        self.table = ExtensionTable(settings.about, names, managed=settings.managed)
        self.telemetry = Telemetry(record, clock)
        self.participants: dict[str, Participant] = {}
        self.boxes: dict[str, Mailbox] = {}
        self.runtime_box = Mailbox()
        self.runtime: Participant | None = None
        self.runtime_ready = False
        self.restore_waiting = False
        self.restored = anyio.Event()
        self.runtime_waiting = 0
        self.active: dict[str, Invocation] = {}
        self.fatal: str | None = None
        self.closing = False
        self._changed = anyio.Event()
        self._loop_lines = 0

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
        for spec in self.settings.extensions:
            participant = Participant(name=spec.resolved_name)
            self.participants[participant.name] = participant
            self.boxes[participant.name] = Mailbox()
            environment = {**self.settings.extension_environment(self._api), **spec.environment}
            self._tasks.start_soon(self._run, participant, spec, environment, name=participant.name)

    def start_runtime(self) -> None:
        """Start the function."""
        function = self.settings.function
        participant = Participant(name="runtime")
        self.runtime = participant
        if callable(function) or isinstance(function, ScriptedFunction):
            environment: dict[str, str] = {}
            spec = ExtensionSpec(InProcessRuntime(self))
        else:
            argv, handler = function_argv(function)
            if argv[-1] != handler:  # a bootstrap is told what is configured
                handler = self.settings.about.handler
            root = str(Path.cwd())
            environment = self.settings.runtime_environment(self._api, handler, root)
            spec = ExtensionSpec(argv)
        self._tasks.start_soon(self._run, participant, spec, environment, name="runtime")

    async def _run(self, participant: Participant, spec: ExtensionSpec, environment: Mapping[str, str]) -> None:
        code: int | None = None
        try:
            with participant.scope:
                if spec.argv is None:
                    self.record.add("process", participant.name, "start", argv=None, pid=None)
                    code = await self._call(participant, spec.command, environment)
                else:
                    code = await self._execute(participant, spec.argv, environment)
        finally:
            if code is None and participant.process is not None:
                code = participant.process.exit_code
            participant.exit_code = -signal.SIGKILL if code is None else code
            participant.done = True
            self.record.add("process", participant.name, "exit", code=participant.exit_code)
            self._ended(participant)

    async def _call(
        self,
        participant: Participant,
        command: Callable[[Mapping[str, str]], Awaitable[object]],
        environment: Mapping[str, str],
    ) -> int:
        try:
            await command(environment)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else 1
        except Exception:  # noqa: BLE001 - the boundary to other people's code; the traceback goes to their log
            for line in traceback.format_exc().splitlines():
                self.output(participant.name, line)
            return 1
        return 0

    async def _execute(self, participant: Participant, argv: list[str], environment: Mapping[str, str]) -> int | None:
        try:
            participant.process = await GroupProcess.start(argv, environment)
        except OSError as error:
            self._launch_failed(participant, argv, error)
            return None
        pid = participant.process.pid
        self.record.add("process", participant.name, "start", argv=argv, pid=pid)
        return await participant.process.run(lambda line: self.output(participant.name, line))

    def _launch_failed(self, participant: Participant, argv: list[str], error: OSError) -> None:
        kind = "PermissionDenied" if isinstance(error, PermissionError) else "UnknownError"
        self.record.add("process", participant.name, "launch-error", argv=argv, error=str(error))
        if participant is self.runtime:
            self.fail("Runtime.InvalidEntrypoint")
            return
        state = self.table.extensions[participant.name]
        state.state, state.error_type = "LaunchError", kind
        self.record.finding(
            participant.name,
            "launch",
            f"{argv[0]} cannot be started: {error.strerror}.",
            fix="Make it executable (chmod 755) with a #! line that names an existing interpreter.",
        )
        self.fail("Extension.LaunchError")

    def _ended(self, participant: Participant) -> None:
        if participant is self.runtime:
            self.fail("Runtime.ExitError")
            return
        state = self.table.extensions[participant.name]
        if not self.closing and self.fatal is None:
            self.record.finding(
                participant.name,
                "exits-early",
                f"It exited with code {participant.exit_code} although it was not shut down.",
                fix="Keep asking for the next event until SHUTDOWN arrives, and only then exit.",
            )
        if state.state not in {"LaunchError", "InitError", "ExitError"}:
            state.state = "Exited"
        self.fail("Extension.Crash")

    def output(self, who: str, line: str) -> None:
        """Take a line that a participant wrote."""
        self.record.add("output", who, "line", text=line)
        record: Any = line
        if self.settings.log_format == "JSON":
            record = _json_record(line, Clock.format(self.clock.time()))
        if who == "runtime":
            for invocation in self.active.values():
                if len(invocation.logs) < 1000 and not self.settings.managed:
                    invocation.logs.append(line)
            self.telemetry.emit("function", record, line=line, who=who)
            return
        subscriber = self.telemetry.subscribers.get(who)
        if subscriber is not None and "extension" in subscriber.subscription.types:
            self._loop_lines += 1
            if self._loop_lines == 20:
                self.record.finding(
                    who,
                    "feedback-loop",
                    "It subscribes to `extension` telemetry and prints, so it is sent its own output.",
                    fix="Leave `extension` out of the types, or do not print per received event.",
                )
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
        self.notify()

    # -- Extensions API

    def register(self, headers: Mapping[str, str], body: bytes) -> tuple[ExtensionState, bytes]:
        """Register an extension."""
        state, answer = self.table.register(headers, body)
        self.boxes.setdefault(state.name, Mailbox())
        self.record.add("state", state.name, "Registered", events=state.events)
        if not state.external and any(
            item.external and item.state == "Started" for item in self.table.extensions.values()
        ):
            self.record.finding(
                state.name,
                "wrong-name",
                f"It registered as {state.name!r}, which is no file name of an extension.",
                fix="Register under the complete file name of the launcher, suffix included.",
            )
        self.notify()
        return state, answer

    async def next_event(self, state: ExtensionState) -> dict[str, Any]:
        """Long poll: block until an event for this extension."""
        self.table.next(state)
        self.record.add("state", state.name, "Ready")
        self.notify()
        event: dict[str, Any] = await self.boxes[state.name].get()
        self.table.delivered(state)
        self.record.add("state", state.name, "Running", event=event["eventType"])
        return event

    def error(self, headers: Mapping[str, str], target: str) -> None:
        """Take init/error or exit/error."""
        state, first = self.table.fail(headers, target)
        if first:
            self.record.add("state", state.name, target, error_type=state.error_type)
            self.fail(f"Extension.{target}")

    def subscribe(self, headers: Mapping[str, str], body: bytes, *, api: str) -> None:
        """Subscribe to telemetry or logs."""
        state = self.table.identify(headers)
        title = api.capitalize()
        if not self.telemetry.open:
            self.record.finding(
                state.name,
                "subscribes-late",
                f"It subscribed to {api} after init, when subscriptions are closed.",
                fix="Subscribe between register and the first next.",
            )
            message = f"{title} API subscription is closed already"
            raise ApiError(403, f"{title}.SubscriptionClosed", message)
        try:
            subscription = parse_subscription(body, api=api, managed=self.settings.managed)
        except ApiError as error:
            if "sandbox.localdomain" in error.message:
                self.record.finding(
                    state.name,
                    "wrong-host",
                    f"It asked for {api} at a host other than sandbox.localdomain.",
                    fix="Listen on all interfaces and subscribe with http://sandbox.localdomain:PORT.",
                )
            raise
        known = self.telemetry.subscribers.get(state.name)
        if known is not None and known.subscription.api != api:
            raise ApiError(400, "ValidationError", f"subscribed to {known.subscription.api} already")
        if known is not None:
            raise ApiError(500, "InternalServerError", "Internal Server Error")
        subscriber = self.telemetry.subscribe(state.name, subscription, self.settings.delivery)
        self._tasks.start_soon(self._deliver, subscriber.run, name=f"delivery to {state.name}")

    async def _deliver(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            while not self.closing or self.everyone():
                await self._changed.wait()
            tasks.cancel_scope.cancel()

    # -- Runtime API

    async def runtime_next(self) -> Invocation:
        """Long poll: block until an invocation."""
        if not self.settings.managed:
            for invocation in self.active.values():
                if not invocation.answered:
                    message = "Transition from InvocationInProgress to Ready is not allowed"
                    raise ApiError(403, "InvalidStateTransition", message)
                invocation.runtime_done = invocation.runtime_done or self.clock.time()
        self.runtime_ready, self.table.closed = True, True
        self.runtime_waiting += 1
        self.notify()
        try:
            received: Invocation = await self.runtime_box.get()
        finally:
            self.runtime_waiting -= 1
        return received

    async def restore_next(self) -> None:
        """Long poll: block until the snapshot is restored."""
        self.runtime_ready, self.restore_waiting, self.table.closed = True, True, True
        self.notify()
        await self.restored.wait()
        self.restore_waiting = False

    def answer(self, request_id: str, body: bytes, *, error_type: str | None = None) -> None:
        """Take the runtime's response or error."""
        invocation = self.active.get(request_id)
        if invocation is None:
            raise ApiError(400, "InvalidRequestID", "Invalid request ID")
        if invocation.answered:
            message = "Transition from ResponseSent to ResponseSent is not allowed"
            raise ApiError(403, "InvalidStateTransition", message)
        invocation.answered = self.clock.time()
        if len(body) > _RESPONSE_LIMIT:
            invocation.status, invocation.error_type = "error", "Function.ResponseSizeTooLarge"
            invocation.responded.set()
            self.notify()
            raise ApiError(413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size")
        invocation.response = body
        if error_type is not None:
            invocation.status, invocation.error_type = "error", error_type
        invocation.responded.set()
        self.notify()


def _json_record(line: str, now: str) -> Any:
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return parsed
    return {"timestamp": now, "level": "INFO", "message": line}
