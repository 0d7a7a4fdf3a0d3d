"""Init, invoke, reset and shutdown of environments, one after the other."""

from __future__ import annotations

import signal
from typing import Any, Final, final

import anyio
import anyio.abc

from lambda_extension.simulator._platform._ending import ShutdownReport, end
from lambda_extension.simulator._platform._events import ending, instance, invoke_event, report, runtime_done, start
from lambda_extension.simulator._platform._functions import Script
from lambda_extension.simulator._platform._injection import Injector
from lambda_extension.simulator._platform._participants import Invocation, max_memory_mb
from lambda_extension.simulator._platform._sandbox import Sandbox
from lambda_extension.simulator._platform._surroundings import Surroundings
from lambda_extension.simulator._platform._tracing import new_span_id, new_trace_header
from lambda_extension.simulator._settings import Settings
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._record import Record

_RESTORE_LIMIT: Final = 10.0
_OUT_OF_MEMORY: Final = "Runtime.OutOfMemory"


@final
class Platform:
    """Orchestrates environments: one at a time, a new one after a reset."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        record: Record,
        tasks: anyio.abc.TaskGroup,
        api: str,
        surroundings: Surroundings,
    ) -> None:
        self.settings, self.clock, self.record = settings, clock, record
        self._tasks, self._api, self._surroundings = tasks, api, surroundings
        # A script goes on whatever happens to the environment.
        self._script = Script(settings.function)
        self._injector = Injector(settings.faults, clock=clock, record=record, tasks=tasks)
        self.sandbox: Sandbox | None = None
        self.ending: Sandbox | None = None
        self.ready = anyio.Event()
        self.busy = anyio.Lock()
        self.frozen = False
        self.init_duration_ms: float | None = None
        self.init_error_type: str | None = None
        self._last_report: ShutdownReport | None = None
        self._inits = self._invocations = self._shutdowns = 0

    # -- init

    async def start(self) -> None:
        """Run the first init; a failed one is repeated within the first invocation."""
        async with self.busy:
            limit = self.settings.init_timeout
            succeeded = await self._init("init", limit)
            self.ready.set()
            if succeeded and self.settings.managed:
                assert self.sandbox is not None
                self._tasks.start_soon(self._end_when_failed, self.sandbox, name="end of a failed environment")
            await self._freeze()

    async def _end_when_failed(self, sandbox: Sandbox) -> None:
        """End an environment of Managed Instances at its first fatal error; there is no reset."""
        await sandbox.until(lambda: sandbox.closing)
        async with self.busy:
            # While others were busy, it may have been shut down, and another one taken its place.
            if sandbox.fatal is not None and self.sandbox is sandbox:
                await self._discard("failure")

    async def _init(self, phase: str, limit: float) -> bool:
        sandbox = Sandbox(
            self.settings,
            clock=self.clock,
            record=self.record,
            tasks=self._tasks,
            api=self._api,
            surroundings=self._surroundings,
            script=self._script,
        )
        sandbox.telemetry.tamper = self._injector.tamper
        sandbox.telemetry.intercept = self._injector.intercept
        self.sandbox = sandbox
        self._inits += 1
        self.record.add("phase", "platform", "init-start", phase=phase)
        started = self.clock.time()
        common = {"initializationType": self.settings.initialization_type, "phase": phase}
        sandbox.telemetry.emit("platform.initStart", {**common, **instance(self.settings)})
        status = "timeout"
        with anyio.move_on_after(limit):
            await self._init_steps(sandbox, common)
            status = "success" if sandbox.fatal is None else "error"
        took = (self.clock.time() - started) * 1000
        failure = {} if status == "success" else {"errorType": sandbox.fatal or "Runtime.Unknown"}
        self._init_end(sandbox, common, status, took, failure)
        if status == "success":
            self.init_duration_ms = took
            # Who leaves the simulation during init takes the environment from under it, and nothing is left to use.
            return not sandbox.closed
        if status == "timeout":
            sandbox.verdicts.init_timed_out(sandbox.table.extensions.values())
        self.init_error_type = sandbox.fatal
        await sandbox.wait_failed()
        await sandbox.kill()
        self.sandbox = None
        return False

    async def _init_steps(self, sandbox: Sandbox, common: dict[str, Any]) -> None:
        table = sandbox.table
        if len(self.settings.extensions) > 10:
            sandbox.fail("Extension.TooManyExtensions")
        else:
            sandbox.start_extensions()
        self._injector.kill("init", self._inits, sandbox)
        await sandbox.until(lambda: all(item.state != "Started" for item in table.extensions.values()))
        if sandbox.fatal is not None:
            return
        sandbox.start_runtime()
        self._injector.kill("init", self._inits, sandbox)  # now that there is one to be killed
        await sandbox.until(lambda: sandbox.runtime_ready)
        if sandbox.fatal is not None:
            return
        sandbox.telemetry.emit("platform.initRuntimeDone", {**common, "status": "success"})
        await sandbox.until(lambda: all(item.asked_next for item in table.extensions.values()))

    def _init_end(
        self, sandbox: Sandbox, common: dict[str, Any], status: str, took: float, failure: dict[str, str]
    ) -> None:
        emit = sandbox.telemetry.emit
        if status != "success" and not sandbox.runtime_ready:
            emit("platform.initRuntimeDone", {**common, "status": status, **failure})
        for item in sandbox.table.extensions.values():
            extra = {} if item.error_type is None else {"errorType": item.error_type}
            emit(
                "platform.extension",
                {"name": item.name, "state": item.state, "events": list(item.events), **extra},
            )
        metrics = {"durationMs": round(took, 3)}
        emit("platform.initReport", {**common, "status": status, "metrics": metrics, **failure})
        sandbox.telemetry.close()
        self.record.add("phase", "platform", "init-end", status=status, took_ms=took, **failure)

    # -- invoke

    async def invoke(self, invocation: Invocation) -> None:
        """Run one invocation to its report; never raises for what participants do."""
        if self.settings.managed:
            await self._invoke_managed(invocation)
            return
        async with self.busy:
            await self._thaw()
            await self._invoke(invocation)
            await self._freeze()

    def _begin(self, invocation: Invocation) -> None:
        self._invocations += 1
        self._injector.jump(self._invocations)
        invocation.started = self.clock.time()
        invocation.deadline_ms = int((invocation.started + invocation.timeout) * 1000)
        invocation.host_deadline_ms = int((self.clock.host_time() + invocation.timeout) * 1000)
        if invocation.trace_header is None and self.settings.tracing:
            invocation.trace_header = new_trace_header()
        if invocation.trace_header is not None and "Sampled=0" not in invocation.trace_header:
            invocation.span_id = new_span_id()
        self.record.add("phase", "platform", "invoke-start", request_id=invocation.request_id)

    async def _invoke(self, invocation: Invocation) -> None:
        self._begin(invocation)
        cold = self._invocations == 1
        ends = anyio.current_time() + invocation.timeout
        if self.sandbox is None or self.sandbox.fatal is not None:
            await self._discard("failure")
            cold = True
            if not await self._init("invoke", invocation.timeout):
                self._close(invocation, "error", self.init_error_type or "Runtime.Unknown")
                return
        sandbox = self.sandbox
        assert sandbox is not None
        await self._restore(sandbox)
        with anyio.CancelScope(deadline=ends):
            self._hand_out(sandbox, invocation)
            await self._await_end(sandbox, invocation)
        self._conclude(sandbox, invocation)
        self._report(sandbox, invocation, cold=cold)
        if invocation.status == "timeout" or sandbox.fatal is not None:
            reason = "timeout" if invocation.status == "timeout" else "failure"
            await self._discard(reason)

    def _hand_out(self, sandbox: Sandbox, invocation: Invocation) -> None:
        sandbox.active[invocation.request_id] = invocation
        sandbox.telemetry.emit("platform.start", start(self.settings, invocation))
        for item in sandbox.table.extensions.values():
            if "INVOKE" in item.events:
                event = invoke_event(self.settings, invocation, host=sandbox.has_host_clock(item.name))
                sandbox.boxes[item.name].put(event)
                # From here it must come back by itself: delivery is only a matter of scheduling.
                item.asked_next = False
        sandbox.runtime_box.put(invocation)
        self._injector.kill("invoke", self._invocations, sandbox)
        self._injector.starve(self._invocations, sandbox)
        self._injector.flood(self._invocations, sandbox)

    async def _await_end(self, sandbox: Sandbox, invocation: Invocation) -> None:
        # Who is killed during an invocation dies in it, however soon the function is done.
        await sandbox.until(lambda: invocation.runtime_done > 0 and not sandbox.dying())
        if sandbox.fatal is not None:
            return
        sandbox.telemetry.emit("platform.runtimeDone", runtime_done(invocation))
        await sandbox.until(
            lambda: all(item.asked_next for item in sandbox.table.extensions.values() if "INVOKE" in item.events)
        )

    def _conclude(self, sandbox: Sandbox, invocation: Invocation) -> None:
        """Find out how the invocation ended."""
        late = [
            item.name for item in sandbox.table.extensions.values() if "INVOKE" in item.events and not item.asked_next
        ]
        if sandbox.fatal is not None:
            invocation.error_type = sandbox.fatal
            invocation.out_of_memory = sandbox.fatal == _OUT_OF_MEMORY
            failure = sandbox.fatal.startswith("Runtime.") and not invocation.out_of_memory
            invocation.status = "failure" if failure else "error"
        elif not invocation.runtime_done or late:
            invocation.status, invocation.error_type = "timeout", "Sandbox.Timeout"
            for name in late if invocation.runtime_done else ():
                sandbox.verdicts.exceeds_deadline(name)
        if not invocation.runtime_done:
            sandbox.telemetry.emit("platform.runtimeDone", ending(invocation))

    def _report(self, sandbox: Sandbox, invocation: Invocation, *, cold: bool) -> None:
        sandbox.active.pop(invocation.request_id, None)
        invocation.finished = self.clock.time()
        first = cold and self.settings.mode == "on-demand"
        record = report(
            self.settings,
            invocation,
            memory_mb=max_memory_mb(sandbox.everyone()),
            init_duration_ms=self.init_duration_ms if first else None,
        )
        sandbox.telemetry.emit("platform.report", record)
        self._finish(invocation)

    def _close(self, invocation: Invocation, status: str, error_type: str) -> None:
        """End an invocation that reached no environment."""
        invocation.status, invocation.error_type = status, error_type
        invocation.finished = self.clock.time()
        self._finish(invocation)

    def _finish(self, invocation: Invocation) -> None:
        self.record.add(
            "phase",
            "platform",
            "invoke-end",
            request_id=invocation.request_id,
            status=invocation.status,
            error_type=invocation.error_type,
            took_ms=(invocation.finished - invocation.started) * 1000,
        )
        invocation.reported.set()

    async def _invoke_managed(self, invocation: Invocation) -> None:
        self._begin(invocation)
        sandbox = self.sandbox
        if sandbox is None or sandbox.fatal is not None:
            self._close(invocation, "failure", sandbox.fatal if sandbox and sandbox.fatal else "Sandbox.Failure")
            return
        with anyio.move_on_after(invocation.timeout):
            self._hand_out(sandbox, invocation)
            await sandbox.until(lambda: invocation.answered > 0 and not sandbox.dying())
        if not invocation.answered:
            fatal = sandbox.failure()
            invocation.out_of_memory = fatal == _OUT_OF_MEMORY
            invocation.status = "timeout" if fatal is None else "error" if invocation.out_of_memory else "failure"
            invocation.error_type = fatal or "Sandbox.Timedout"
        self._report(sandbox, invocation, cold=False)

    # -- snapshots, freeze and thaw

    async def _restore(self, sandbox: Sandbox) -> None:
        if self.settings.mode != "snap-start" or sandbox.restored.is_set():
            return
        started = self.clock.time()
        emit = sandbox.telemetry.emit
        emit("platform.restoreStart", instance(self.settings))
        sandbox.restored.set()
        with anyio.move_on_after(_RESTORE_LIMIT):
            await sandbox.until(lambda: sandbox.runtime_waiting > 0)
        status = "success" if sandbox.runtime_waiting else "timeout"
        emit("platform.restoreRuntimeDone", {"status": status})
        took = round((self.clock.time() - started) * 1000, 3)
        emit("platform.restoreReport", {"status": status, "metrics": {"durationMs": took}})

    async def _freeze(self, *, force: bool = False) -> None:
        sandbox = self.sandbox
        if sandbox is None or self.settings.managed or not (self.settings.freeze or force):
            return
        await anyio.sleep(self.settings.freeze_grace)
        # Telemetry first: a batch that is posted to a process that has been stopped would wait for its time-out.
        self.frozen = True
        self.record.add("freeze", "platform", "freeze")
        sandbox.telemetry.freeze()
        for participant in sandbox.everyone():
            if participant.process is not None:
                participant.process.signal(signal.SIGSTOP)

    async def _thaw(self) -> None:
        if not self.frozen:
            return
        self.frozen = False
        self.record.add("freeze", "platform", "thaw")
        assert self.sandbox is not None  # it was frozen
        for participant in self.sandbox.everyone():
            if participant.process is not None:
                participant.process.signal(signal.SIGCONT)
        self.sandbox.telemetry.thaw()

    async def freeze_for(self, seconds: float) -> None:
        """Freeze, let the clock jump by `seconds`; the next event thaws."""
        async with self.busy:
            if not self.frozen:
                await self._freeze(force=True)
            self.clock.jump(seconds)

    # -- the end

    async def _discard(self, reason: str) -> None:
        sandbox, self.sandbox = self.sandbox, None
        if sandbox is not None:
            await self._end(sandbox, reason)

    async def shut_down(self, reason: str) -> ShutdownReport:
        """End the environment within its budget; killing what is late.

        Returns:
            The report; that of the environment before if the last one has failed and none has followed.
        """
        async with self.busy:
            await self._thaw()
            sandbox, self.sandbox = self.sandbox, None
            if sandbox is None:
                return self._last_report or ShutdownReport(reason=reason, budget_ms=0.0, used_ms=0.0)
            return await self._end(sandbox, reason)

    async def _end(self, sandbox: Sandbox, reason: str) -> ShutdownReport:
        self.ending = sandbox
        self._shutdowns += 1
        number = self._shutdowns
        self._last_report = await end(sandbox, reason, lambda: self._injector.kill("shutdown", number, sandbox))
        return self._last_report

    async def kill(self) -> None:
        """End everything at once."""
        for sandbox in (self.sandbox, self.ending):
            if sandbox is not None:
                await sandbox.kill()
        self.sandbox = None
