"""An internal extension: it lives in the function's own process, in a thread with an event loop of its own.

Import this module from the function's code, outside the handler: an internal extension registers while the function
initialises, and `start_internal` returns once it has. It is told of INVOKE only, and it ends with the runtime.
"""

from lambda_extension import ExtensionSession, start_internal

invocations: list[str] = []


async def count(extension: ExtensionSession) -> None:
    async for invocation in extension:
        invocations.append(invocation.request_id)


start_internal(count, name="internal-counter")
