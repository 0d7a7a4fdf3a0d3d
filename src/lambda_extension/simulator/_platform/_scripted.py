"""The runtime of a function that runs in this process: scripted, or an async callable."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import anyio

from lambda_extension.simulator._apis._extensions import ApiError
from lambda_extension.simulator._platform._functions import FunctionContext, ScriptedFunction
from lambda_extension.simulator._platform._participants import Invocation, SandboxClosedError
from lambda_extension.simulator._platform._runtime_calls import answer, runtime_next, runtime_trace_header

if TYPE_CHECKING:
    from lambda_extension.simulator._platform._sandbox import Sandbox


@final
class InProcessRuntime:
    """Takes invocations from the sandbox itself, without a socket, and answers them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._function: Any = sandbox.settings.function
        self._script = sandbox.script
        self._exit_code: int | None = None

    async def __call__(self, _: Mapping[str, str]) -> None:
        function, settings = self._function, self._sandbox.settings
        if isinstance(function, ScriptedFunction):
            coming = self._script.coming()
            await anyio.sleep(coming.init_latency)
            if coming.init_error_type is not None:
                self._script.take()
                self._sandbox.fail(coming.init_error_type)
                return
        async with anyio.create_task_group() as workers:
            for _number in range(settings.concurrency if settings.managed else 1):
                workers.start_soon(self._work, workers.cancel_scope)
        raise SystemExit(self._exit_code)  # workers end for no other reason

    async def _work(self, scope: anyio.CancelScope) -> None:
        while True:
            try:
                invocation = await runtime_next(self._sandbox)
            except SandboxClosedError:  # pragma: no cover - being killed usually comes before it
                return
            if isinstance(self._function, ScriptedFunction):
                turn = self._script.take()
                await self._behave(turn, invocation)
                if turn.exit_code is not None:
                    self._exit_code = turn.exit_code
                    scope.cancel()
                    return
            else:
                await self._handle(invocation)

    async def _behave(self, turn: ScriptedFunction, invocation: Invocation) -> None:
        for line in turn.log_lines:
            self._sandbox.output("runtime", line)
        await anyio.sleep(turn.latency)
        if turn.never_answers:
            await anyio.sleep_forever()
        if turn.exit_code is not None:
            return
        body = invocation.payload
        if turn.response_size is not None:
            body = b'"' + b"x" * max(0, turn.response_size - 2) + b'"'
        elif turn.response is not None:
            body = json.dumps(turn.response).encode()
        try:
            answer(self._sandbox, invocation.request_id, body, error_type=turn.error_type)
        except ApiError as error:
            refused = {"error_type": error.error_type, "message": error.message}
            self._sandbox.record.add("call", "runtime", "response", status=error.status, **refused)

    async def _handle(self, invocation: Invocation) -> None:
        context = FunctionContext(
            request_id=invocation.request_id,
            deadline_ms=invocation.deadline_ms,
            invoked_function_arn=self._sandbox.settings.about.arn,
            trace_header=runtime_trace_header(invocation),
            log=functools.partial(self._sandbox.output, "runtime"),
        )
        try:
            value = await self._function(json.loads(invocation.payload), context)
            answer(self._sandbox, invocation.request_id, json.dumps(value).encode())
        except Exception as error:  # noqa: BLE001 - the function's own failure is its answer
            body = {"errorMessage": str(error), "errorType": type(error).__name__}
            answer(self._sandbox, invocation.request_id, json.dumps(body).encode(), error_type=type(error).__name__)
