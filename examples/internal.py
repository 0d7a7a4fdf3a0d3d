"""An internal extension: it lives in the function's own process, in a thread with an event loop of its own.

Import this module from the function's code, outside the handler: an internal extension registers while the function
initialises. It may ask for INVOKE only, it gets no SHUTDOWN, and it ends with the runtime.
"""

import threading

import anyio

from lambda_extension import EventType, open_extension

invocations: list[str] = []


async def main() -> None:
    async with open_extension(name="internal-counter", events=[EventType.INVOKE]) as extension:
        async for invocation in extension:
            invocations.append(invocation.request_id)


# Daemonic: the process must not wait for it at exit.
threading.Thread(target=anyio.run, args=(main,), name="internal extension", daemon=True).start()
