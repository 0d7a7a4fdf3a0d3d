"""An extension that fails where FAILS says: in its init, or later."""

from __future__ import annotations

import os

import anyio

from lambda_extension import open_extension


class BrokenConfigError(Exception):
    pass


async def main() -> None:
    async with open_extension() as extension:
        if os.environ["FAILS"] == "init":
            raise BrokenConfigError("no configuration")
        async for _ in extension:
            break
        raise BrokenConfigError("broken while it ran")


anyio.run(main, backend=os.environ["BACKEND"])
