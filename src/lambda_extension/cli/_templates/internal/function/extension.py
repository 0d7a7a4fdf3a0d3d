"""Count the function's invocations, from within its own process."""

from lambda_extension import ExtensionSession, start_internal

invocations: list[str] = []


async def count(session: ExtensionSession) -> None:
    async for invocation in session:
        invocations.append(invocation.request_id)
        print(f"invocation {len(invocations)}", flush=True)


def start() -> None:
    """Register, while the function initialises: to be called in the function's module, outside of the handler."""
    start_internal(count, name="my-extension")
