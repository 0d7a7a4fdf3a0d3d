"""`Simulator`: Lambda on a laptop, as an async context manager."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import anyio
import attrs
import httpx

from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on
from lambda_extension.simulator._apis._extensions import Function
from lambda_extension.simulator._apis._local import LocalOnly
from lambda_extension.simulator._apis._routes import Routes
from lambda_extension.simulator._platform._delivery import DeliverySettings
from lambda_extension.simulator._platform._ending import ShutdownReport
from lambda_extension.simulator._platform._faults import Fault, check_faults
from lambda_extension.simulator._platform._functions import ExtensionSpec, ScriptedFunction, function_argv
from lambda_extension.simulator._platform._lifecycle import Platform
from lambda_extension.simulator._platform._participants import Invocation
from lambda_extension.simulator._platform._surroundings import LOOPBACK, Surroundings, open_surroundings
from lambda_extension.simulator._settings import Mode, Settings, init_limit
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._record import Entry, Record

Phase: TypeAlias = Literal["init-start", "init-end", "invoke-start", "invoke-end", "shutdown-start", "shutdown-end"]


@attrs.frozen(kw_only=True)
class InvocationResult:
    """What the caller of an invocation learns; milliseconds.

    Attributes:
        payload: The decoded answer; raw bytes if it is not JSON; `None` without answer.
        status: `success`, `error`, `failure` or `timeout`.
        error_type: Why it did not succeed.
        duration_ms: Until the runtime and all extensions were done.
        extension_overhead_ms: What extensions added after the runtime was done.
        logs: The first 1,000 lines that the function wrote meanwhile.
        response: The answer as it came.
    """

    request_id: str
    payload: Any
    status: str
    error_type: str | None
    duration_ms: float
    billed_duration_ms: int
    extension_overhead_ms: float
    logs: tuple[str, ...]
    response: bytes = b""


@final
class Simulator:
    """An execution environment of Lambda: `async with Simulator(extensions=[...]) as lambda_`.

    Entering starts the APIs on a loopback port that the kernel chooses and begins init; `ready` waits for it. Leaving
    shuts down within Lambda's budget, or, on an error or cancellation, kills; no process survives either way. An error
    in the block leaves bare unless a background task failed as well.

    Args:
        extensions: Paths, command lines, values of `ExtensionSpec`, or async callables that take their environment.
        function: `"module:handler"` (run by awslambdaric), the path or command line of a bootstrap, a
            `ScriptedFunction`, or an async callable of event and `FunctionContext`.
        mode: `on-demand`, `provisioned-concurrency`, `snap-start` or `managed-instances`.
        timeout: Function time-out in seconds.
        init_timeout: Limit of init in seconds; by default Lambda's: 10 on-demand, else `timeout`, but at least 130.
        memory_mb: Memory size that participants are told.
        concurrency: Invocations at once, in managed-instances mode.
        log_format: `Text` or `JSON`; as on Lambda, `JSON` alone in managed-instances mode, and `Text` else by default.
        tracing: Whether an invocation without a trace header gets a new, sampled one.
        freeze: Whether processes are stopped between invocations.
        telemetry_supported: `False` answers subscriptions as a local emulator does.
        delivery: Retries of telemetry batches.
        faults: What goes wrong on purpose.
        about: Name, version, ARN parts of the function.
        environment: The function's configured variables.
        opt: A directory laid out as layers are, for processes to see as `/opt`, or by PATH where that cannot be.
        api_port: Port of the APIs on the loopback interface; 0 lets the kernel choose.
        record_limit: Entries that the record keeps.
        watch: Called with each entry of the record as it happens; must not block.

    Raises:
        ValueError: Two extensions have the same name, a fault names a participant that nobody has, or the log format is
            none of this mode.
        ModuleNotFoundError: A Python handler is given and awslambdaric is not installed.
        OSError: On entering: the port is taken.
    """

    def __init__(
        self,
        extensions: Sequence[Any] = (),
        function: Any = None,
        *,
        mode: Mode = "on-demand",
        timeout: float = 3.0,
        init_timeout: float | None = None,
        memory_mb: int = 128,
        concurrency: int = 1,
        log_format: Literal["Text", "JSON"] | None = None,
        freeze: bool = False,
        tracing: bool = False,
        telemetry_supported: bool = True,
        delivery: DeliverySettings | None = None,
        faults: Sequence[Fault] = (),
        about: Function | None = None,
        environment: Mapping[str, str] | None = None,
        opt: Path | None = None,
        api_port: int = 0,
        record_limit: int = 20_000,
        watch: Callable[[Entry], object] | None = None,
    ) -> None:
        specs = tuple(item if isinstance(item, ExtensionSpec) else ExtensionSpec(item) for item in extensions)
        names = [spec.resolved_name for spec in specs]
        if len(set(names)) != len(names):
            message = f"extension names must differ, got {names}; use ExtensionSpec(..., name=...)"
            raise ValueError(message)
        check_faults(faults, names)
        handler = None
        if isinstance(function, str) and ":" in function:
            _, handler = function_argv(function)  # what a handler needs is missed here, not in a background task
        if log_format == "Text" and mode == "managed-instances":
            message = "functions of Lambda Managed Instances log in JSON"
            raise ValueError(message)
        about = about or Function()
        self.settings: Settings = Settings(
            extensions=specs,
            function=ScriptedFunction() if function is None else function,
            mode=mode,
            timeout=timeout,
            init_timeout=init_limit(mode, timeout) if init_timeout is None else init_timeout,
            memory_mb=memory_mb,
            concurrency=concurrency if mode == "managed-instances" else 1,
            log_format=log_format or ("JSON" if mode == "managed-instances" else "Text"),
            freeze=freeze,
            tracing=tracing,
            telemetry_supported=telemetry_supported,
            delivery=delivery or DeliverySettings(),
            faults=tuple(faults),
            about=about if handler is None else attrs.evolve(about, handler=handler),
            environment=dict(environment or {}),
            opt=None if opt is None else opt.absolute(),
            api_port=api_port,
            record_limit=record_limit,
        )
        self._watch = watch
        self._context: Any = None
        self._report: ShutdownReport | None = None

    async def __aenter__(self) -> Simulator:
        if self._context is not None:
            message = "a Simulator cannot be entered twice"
            raise RuntimeError(message)
        self._context = self._run()
        await self._context.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        left: bool | None = await self._context.__aexit__(*error)
        return left

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None, None]:
        self.clock: Clock = Clock()
        self.record: Record = Record(self.clock, limit=self.settings.record_limit, watch=self._watch)
        self._end = anyio.Event()
        failure: Exception | None = None
        async with (
            open_surroundings(self.settings.commands(), opt=self.settings.opt) as surroundings,
            anyio.create_task_group() as tasks,
        ):
            self.surroundings: Surroundings = surroundings
            # Nothing is awaited from here until the server takes the socket over.
            sock = listen_on(LOOPBACK, self.settings.api_port)
            self.api: str = f"{LOOPBACK}:{sock.getsockname()[1]}"
            self._tasks = tasks
            self._platform = Platform(
                self.settings,
                clock=self.clock,
                record=self.record,
                tasks=tasks,
                api=self.api,
                surroundings=surroundings,
            )
            self._routes = Routes(self._platform)
            try:
                await tasks.start(self._serve, sock)
                tasks.start_soon(self._platform.start, name="init")
                try:
                    yield
                    await self.shutdown()
                except Exception as error:  # noqa: BLE001 - raised again below, out of the group
                    failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self._platform.kill()
                self._end.set()
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _serve(self, sock: Any, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        await serve_app(
            LocalOnly(self._routes),
            sock,
            shutdown_trigger=self._end.wait,
            graceful_timeout=0.2,
            task_status=task_status,
        )

    def http_client(self) -> httpx.AsyncClient:
        """Return a client of the APIs that needs no socket; the caller closes it."""
        transport = httpx.ASGITransport(app=self._routes)
        return httpx.AsyncClient(transport=transport, base_url=f"http://{self.api}", timeout=None)  # noqa: S113 - a long poll has none

    async def ready(self, *, within: float | None = None) -> None:
        """Block until the first init has ended, well or not.

        Args:
            within: Seconds; by default 30 more than the limit of init.

        Raises:
            TimeoutError: It did not end in that time.
        """
        with anyio.fail_after(self.settings.init_timeout + 30 if within is None else within):
            await self._platform.ready.wait()

    async def invoke(
        self,
        payload: Any = None,
        *,
        timeout: float | None = None,
        trace_header: str | None = None,
        client_context: Mapping[str, Any] | None = None,
        cognito_identity: Mapping[str, Any] | None = None,
    ) -> InvocationResult:
        """Invoke the function and block until its report.

        On-demand invocations queue for the one environment. A cancelled call lets the invocation run to its end.

        Args:
            payload: JSON value, or bytes that are sent as they are.
            timeout: Seconds, in place of the function's.
            trace_header: Value of X-Amzn-Trace-Id.
            client_context: What a mobile SDK would send; the runtime gets it as JSON.
            cognito_identity: Who called through it, likewise.
        """
        await self.ready()
        invocation = Invocation(
            payload=payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
            timeout=self.settings.timeout if timeout is None else timeout,
            trace_header=trace_header,
            client_context=None if client_context is None else json.dumps(client_context),
            cognito_identity=None if cognito_identity is None else json.dumps(cognito_identity),
        )
        # In a task of the simulation: a cancelled caller ends neither the invocation nor waits for it.
        self._tasks.start_soon(self._platform.invoke, invocation, name="invocation")
        await invocation.reported.wait()
        return _result(invocation)

    async def invoke_many(
        self, count: int, *, concurrency: int | None = None, payload: Any = None
    ) -> list[InvocationResult]:
        """Invoke `count` times, `concurrency` at once, and return the results in order of completion."""
        results: list[InvocationResult] = []
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                results.append(await self.invoke(payload))  # noqa: PERF401 - shared by the workers

        async with anyio.create_task_group() as workers:
            for _ in range(min(count, concurrency or self.settings.concurrency)):
                workers.start_soon(work)
        return results

    async def wait_for(self, predicate: Callable[[Record], bool], *, within: float = 5.0) -> None:
        """Block until `predicate(record)` holds.

        Raises:
            TimeoutError: It did not within `within` seconds.
        """
        await self.record.wait_for(predicate, within=within)

    async def wait_for_frozen(self, *, within: float = 5.0) -> None:
        """Block until everybody is frozen; at once if that is so.

        Raises:
            TimeoutError: It did not come to that within `within` seconds.
        """
        await self.record.wait_for(lambda _: self._platform.frozen, within=within)

    async def wait_for_phase(self, phase: Phase, *, nth: int = 1, within: float = 5.0) -> None:
        """Block until an edge of a phase has been passed `nth` times: `init-end`, `invoke-start`, `shutdown-end`.

        Raises:
            TimeoutError: It was not within `within` seconds.
        """
        await self.record.wait_for(lambda record: record.counts["phase", phase] >= nth, within=within)

    def inject(self, event: Any) -> None:
        """Send a telemetry event of your own to its subscribers, as it is; the time is put in if there is none.

        Args:
            event: What the platform might send: `{"type": "platform.future", "record": {}}`. A type of no known
                category, and anything that is no object, goes to all subscribers.

        Raises:
            RuntimeError: No environment lives.
        """
        if self._platform.sandbox is None:
            message = "no environment lives: await ready() first, and inject before the shutdown"
            raise RuntimeError(message)
        self._platform.sandbox.telemetry.inject(event)

    async def freeze_for(self, seconds: float) -> None:
        """Freeze everybody and let the clock of who runs in this process jump by `seconds`; the next event thaws."""
        await self._platform.freeze_for(seconds)

    async def shutdown(self, reason: str = "spindown") -> ShutdownReport:
        """End the environment within Lambda's budget; a second call returns the first one's report."""
        if self._report is None:
            await self.ready()
            self._report = await self._platform.shut_down(reason)
        return self._report


def _result(invocation: Invocation) -> InvocationResult:
    took = (invocation.finished - invocation.started) * 1000
    done = invocation.runtime_done or invocation.finished
    payload: Any = None
    if invocation.response:
        try:
            payload = json.loads(invocation.response)
        except ValueError:
            payload = invocation.response
    return InvocationResult(
        request_id=invocation.request_id,
        payload=payload,
        status=invocation.status,
        error_type=invocation.error_type,
        duration_ms=took,
        billed_duration_ms=-(-int(took * 1000) // 1000),
        extension_overhead_ms=(invocation.finished - done) * 1000,
        logs=tuple(invocation.logs),
        response=invocation.response,
    )
