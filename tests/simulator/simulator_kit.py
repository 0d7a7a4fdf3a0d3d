"""What tests of the simulator are written with: an extension's calls, listeners, small scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.abc
import httpx

from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on
from lambda_extension.simulator import Finding, Simulator

API = "/2020-01-01/extension"
ID = "Lambda-Extension-Identifier"
TELEMETRY = "/2022-07-01/telemetry"
LOGS = "/2020-08-15/logs"


class Calls:
    """An extension's calls, one by one, as it makes them itself."""

    def __init__(self, environment: Mapping[str, str], name: str) -> None:
        base = f"http://{environment['AWS_LAMBDA_RUNTIME_API']}"
        self.http = httpx.AsyncClient(base_url=base, timeout=None, trust_env=False, verify=False)
        self.name = name
        self.me: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def register(self, *events: str, name: str | None = None) -> httpx.Response:
        headers = {"Lambda-Extension-Name": name or self.name}
        answer = await self.http.post(f"{API}/register", headers=headers, json={"events": events})
        self.me = {ID: answer.headers.get(ID, "")}
        return answer

    async def subscribe(self, port: int, *types: str, api: str = "telemetry", **changes: Any) -> httpx.Response:
        path, version = (TELEMETRY, "2022-12-13") if api == "telemetry" else (LOGS, "2021-03-18")
        body = {
            "schemaVersion": version,
            "types": types or ("platform", "function"),
            "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}"},
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
            **changes,
        }
        return await self.http.put(path, headers=self.me, json=body)

    async def next(self) -> Any:
        return (await self.http.get(f"{API}/event/next", headers=self.me)).json()

    async def until_shutdown(self) -> None:
        while (await self.next())["eventType"] == "INVOKE":
            pass

    async def report(self, when: str, error_type: str, message: str) -> httpx.Response:
        headers = {**self.me, "Lambda-Extension-Function-Error-Type": error_type}
        body = {"errorMessage": message, "errorType": error_type, "stackTrace": []}
        return await self.http.post(f"{API}/{when}/error", headers=headers, json=body)


@asynccontextmanager
async def listening(
    take: Callable[[list[Any]], Awaitable[object]], *, host: str = "127.0.0.1", status: int = 200
) -> AsyncGenerator[int]:
    """Listen for batches, hand each on, and give the port."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await take(json.loads(body))
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    sock, stop = listen_on(host), anyio.Event()
    port = sock.getsockname()[1]
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            await serve_app(app, sock, shutdown_trigger=stop.wait, graceful_timeout=0.2)

        tasks.start_soon(serve)
        yield port
        stop.set()


def collecting(seen: list[Any]) -> Callable[[list[Any]], Awaitable[None]]:
    """Return a taker of batches that keeps all events in one list."""

    async def take(batch: list[Any]) -> None:
        seen.extend(batch)

    return take


def subscriber(
    name: str, seen: list[Any], *types: str, events: tuple[str, ...] = ("SHUTDOWN",), api: str = "telemetry"
) -> Callable[[Mapping[str, str]], Awaitable[None]]:
    """Make an extension of raw calls that keeps what it is sent."""

    async def extension(environment: Mapping[str, str]) -> None:
        async with Calls(environment, name) as calls, listening(collecting(seen)) as port:
            await calls.register(*events)
            assert (await calls.subscribe(port, *types, api=api)).status_code == 200
            await calls.until_shutdown()

    extension.__name__ = name
    return extension


def script(path: Path, source: str) -> Path:
    """Write an executable that runs on this very Python."""
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
    return path


def kinds(seen: list[Any]) -> list[str]:
    """Return the types of events."""
    return [event["type"] for event in seen]


def rules(lambda_: Simulator) -> list[tuple[str, str]]:
    """Return who broke which rule."""
    return [(finding.who, finding.rule) for finding in lambda_.record.findings]


def finding(lambda_: Simulator, rule: str) -> Finding:
    """Return the one finding of a rule."""
    (found,) = [item for item in lambda_.record.findings if item.rule == rule]
    return found
