"""A function that imports nothing heavy, with an internal extension that counts its invocations."""

from __future__ import annotations

import os
from typing import Any

from lambda_extension import ExtensionSession, start_internal

invocations: list[str] = []


async def count(extension: ExtensionSession) -> None:
    async for invocation in extension:
        invocations.append(invocation.request_id)


start_internal(count, name="internal-counter", backend=os.environ["BACKEND"])


def handler(_: Any, context: Any) -> dict[str, Any]:
    return {"requestId": context.aws_request_id, "counted": invocations}
