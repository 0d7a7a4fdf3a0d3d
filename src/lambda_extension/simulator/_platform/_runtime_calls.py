"""What the Runtime API does to an environment, whether it is called over HTTP or by a function of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lambda_extension.simulator._apis._extensions import ApiError
from lambda_extension.simulator._platform._participants import Invocation
from lambda_extension.simulator._platform._tracing import as_parent

if TYPE_CHECKING:
    from lambda_extension.simulator._platform._sandbox import Sandbox

_RESPONSE_LIMIT: Final = 6 * 1024 * 1024


async def runtime_next(sandbox: Sandbox) -> Invocation:
    """Long poll: block until an invocation.

    Raises:
        ApiError: The one before has not been answered.
        SandboxClosedError: The environment ended.
    """
    if not sandbox.settings.managed:
        for invocation in sandbox.active.values():
            if not invocation.answered:
                message = "Transition from InvocationInProgress to Ready is not allowed"
                raise ApiError(403, "InvalidStateTransition", message)
            invocation.runtime_done = invocation.runtime_done or sandbox.clock.time()
    sandbox.runtime_ready, sandbox.table.closed = True, True
    sandbox.runtime_waiting += 1
    sandbox.notify()
    try:
        received: Invocation = await sandbox.runtime_box.get()
    finally:
        sandbox.runtime_waiting -= 1
    return received


def runtime_trace_header(invocation: Invocation) -> str | None:
    """Return the trace header that the runtime gets: the function's own span is the parent of what it does."""
    header = invocation.trace_header
    return None if header is None else as_parent(header, invocation.span_id)


async def restore_next(sandbox: Sandbox) -> None:
    """Long poll: block until the snapshot is restored."""
    sandbox.runtime_ready, sandbox.table.closed = True, True
    sandbox.notify()
    await sandbox.restored.wait()


def answer(sandbox: Sandbox, request_id: str, body: bytes, *, error_type: str | None = None) -> None:
    """Take the runtime's response or error.

    Raises:
        ApiError: There is no such invocation, it is answered, or the answer is too long.
    """
    invocation = sandbox.active.get(request_id)
    if invocation is None:
        raise ApiError(400, "InvalidRequestID", "Invalid request ID")
    if invocation.answered:
        message = "Transition from ResponseSent to ResponseSent is not allowed"
        raise ApiError(403, "InvalidStateTransition", message)
    invocation.answered = sandbox.clock.time()
    if len(body) > _RESPONSE_LIMIT:
        invocation.status, invocation.error_type = "error", "Function.ResponseSizeTooLarge"
        sandbox.notify()
        raise ApiError(413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size")
    invocation.response = body
    if error_type is not None:
        invocation.status, invocation.error_type = "error", error_type
        sandbox.verdicts.function_failed(invocation)
    sandbox.notify()
