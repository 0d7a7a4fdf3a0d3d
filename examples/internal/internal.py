"""An internal extension: it lives in the function's own process, in a thread with an event loop of its own.

It is started by the function's module, outside of the handler: an internal extension registers while the function
initialises, and `start_internal` returns once it has. It is told of INVOKE only, and it ends with the runtime.
"""

from typing import Any

from lambda_extension import ExtensionSession, start_internal

invocations: list[str] = []


async def count(extension: ExtensionSession) -> None:
    async for invocation in extension:
        invocations.append(invocation.request_id)


start_internal(count, name="internal-counter")


def handler(event: Any, context: Any) -> dict[str, int]:
    return {"invocations": len(invocations)}
