#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension", "starlette"]
# ///
"""A Starlette app inside the extension: a cache for all invocations. CACHE_PORT is its port (8765)."""

import functools
import os

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lambda_extension import open_extension
from lambda_extension.serving import serve

entries: dict[str, bytes] = {}
invocations: list[str] = []


async def entry(request: Request) -> Response:
    key = request.path_params["key"]
    if request.method == "PUT":
        entries[key] = await request.body()
        return Response(status_code=204)
    found = entries.get(key)
    return Response(status_code=404) if found is None else Response(found, media_type="application/octet-stream")


async def statistics(request: Request) -> Response:
    return JSONResponse({"entries": len(entries), "invocations": len(invocations)})


app = Starlette(
    routes=[
        Route("/cache/{key}", entry, methods=["GET", "PUT"]),
        Route("/statistics", statistics),
    ]
)


async def main() -> None:
    async with anyio.create_task_group() as tasks:
        await tasks.start(functools.partial(serve, app, port=int(os.environ.get("CACHE_PORT", "8765"))))
        async with open_extension() as extension:
            async for invocation in extension:
                invocations.append(invocation.request_id)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
