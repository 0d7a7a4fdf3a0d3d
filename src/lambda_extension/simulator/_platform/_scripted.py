"""The runtime of a function that runs in this process: scripted, or an async callable."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import anyio

from lambda_extension.simulator._apis._extensions import ApiError
from lambda_extension.simulator._platform._functions import FunctionContext, ScriptedFunction
from lambda_extension.simulator._platform._participants import Invocation

if TYPE_CHECKING:
    from lambda_extension.simulator._platform._sandbox import Sandbox

__all__ = ["InProcessRuntime"]


@final
class InProcessRuntime:
    """Takes invocations from the sandbox itself, without a socket, and answers them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._function: Any = sandbox.settings.function
        self._exit_code: int | None = None

    async def __call__(self, _: Mapping[str, str]) -> None:
        function, settings = self._function, self._sandbox.settings
        if isinstance(function, ScriptedFunction):
            await anyio.sleep(function.init_latency)
            if function.init_error_type is not None:
                self._sandbox.fail(function.init_error_type)
                return
        async with anyio.create_task_group() as workers:
            for _number in range(settings.concurrency if settings.managed else 1):
                workers.start_soon(self._work, workers.cancel_scope)
        raise SystemExit(self._exit_code)  # workers end for no other reason

    async def _work(self, scope: anyio.CancelScope) -> None:
        number = 0
        while True:
            invocation = await self._sandbox.runtime_next()
            if isinstance(self._function, ScriptedFunction):
                turn = self._function.turn(number)
                await self._behave(turn, invocation)
                if turn.exit_code is not None:
                    self._exit_code = turn.exit_code
                    scope.cancel()
                    return
            else:
                await self._handle(invocation)
            number += 1

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
            self._sandbox.answer(invocation.request_id, body, error_type=turn.error_type)
        except ApiError as error:
            self._sandbox.record.add("call", "runtime", "response", status=error.status)

    async def _handle(self, invocation: Invocation) -> None:
        context = FunctionContext(
            request_id=invocation.request_id,
            deadline_ms=invocation.deadline_ms,
            invoked_function_arn=self._sandbox.settings.about.arn,
            trace_header=invocation.trace_header,
            log=functools.partial(self._sandbox.output, "runtime"),
        )
        try:
            answer = await self._function(json.loads(invocation.payload), context)
            self._sandbox.answer(invocation.request_id, json.dumps(answer).encode())
        except Exception as error:  # noqa: BLE001 - the function's own failure is its answer
            body = {"errorMessage": str(error), "errorType": type(error).__name__}
            self._sandbox.answer(invocation.request_id, json.dumps(body).encode(), error_type=type(error).__name__)
