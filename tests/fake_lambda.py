"""A scripted Lambda: the APIs behind an httpx transport, and a poster of telemetry over real sockets."""

from __future__ import annotations

import json
import time
from typing import Any, Self

import anyio
import httpx

from lambda_extension import Environment
from lambda_extension._api._httpx_body import send_whole

EXTENSION_ID = "11111111-2222-4333-8444-555555555555"


class FakeLambda:
    """Answers like the Extensions API; `send` queues an event for /next; `fail` makes a route answer something else."""

    def __init__(self, **environment: Any) -> None:
        self.environment = Environment(**{"runtime_api": "lambda.test:9001", **environment})
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, list[httpx.Response | Exception]] = {}
        self.registration = {"functionName": "orders", "functionVersion": "7", "handler": "app.handler"}
        self.port = 0
        self.waiting = anyio.Event()
        self.subscribed = anyio.Event()
        self._called = anyio.Event()
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Any]](100)
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._handle), trust_env=False)
        self.poster = httpx.AsyncClient(trust_env=False, timeout=5)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._send.close()
        self._receive.close()
        await self.http.aclose()
        await self.poster.aclose()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def wait_called(self, route: str, times: int) -> None:
        """Wait until a route has been called so many times in all."""
        while self.names.count(route) < times:
            await self._called.wait()

    def fail(self, route: str, *answers: httpx.Response | Exception) -> None:
        self.answers[route] = list(answers)

    def invoke(self, request_id: str = "r-1", seconds: float = 3.0) -> None:
        self._send.send_nowait(
            {
                "eventType": "INVOKE",
                "deadlineMs": int((time.time() + seconds) * 1000),
                "requestId": request_id,
                "invokedFunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:orders",
            }
        )

    def shut_down(self, reason: str = "spindown", seconds: float = 2.0) -> None:
        deadline = int((time.time() + seconds) * 1000)
        self._send.send_nowait({"eventType": "SHUTDOWN", "deadlineMs": deadline, "shutdownReason": reason})

    async def post(self, body: bytes | list[Any], *, sequence_id: str | None = None, method: str = "POST") -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if sequence_id is None else {"Sequence-Id": sequence_id}
        url = f"http://127.0.0.1:{self.port}/any/path"
        return (await send_whole(self.poster, method, url, content=content, headers=headers)).status_code

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        route = request.url.path.removeprefix("/2020-01-01/extension/").removeprefix("/2022-07-01/")
        body = json.loads(request.content) if request.content else {}
        self.requests.append(request)
        self.calls.append((route, body))
        called, self._called = self._called, anyio.Event()
        called.set()
        planned = self.answers.get(route)
        if planned:
            answer = planned.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if route == "register":
            return httpx.Response(200, json=self.registration, headers={"Lambda-Extension-Identifier": EXTENSION_ID})
        if route == "event/next":
            self.waiting.set()
            event = await self._receive.receive()
            self.waiting = anyio.Event()
            return httpx.Response(200, json=event)
        if route in ("init/error", "exit/error"):
            return httpx.Response(202, json={"status": "OK"})
        self.port = int(body["destination"]["URI"].rsplit(":", 1)[1].partition("/")[0])
        self.subscribed.set()
        return httpx.Response(200, content=b'"OK"')


def error(status: int, kind: str = "", message: str = "") -> httpx.Response:
    return httpx.Response(status, json={"errorType": kind, "errorMessage": message})


TIME = "2026-03-01T10:00:00.000Z"


def log(text: Any) -> dict[str, Any]:
    return {"time": TIME, "type": "function", "record": text}


def start(request_id: str) -> dict[str, Any]:
    return {"time": TIME, "type": "platform.start", "record": {"requestId": request_id}}


def runtime_done(request_id: str) -> dict[str, Any]:
    return {"time": TIME, "type": "platform.runtimeDone", "record": {"requestId": request_id, "status": "success"}}


def report(request_id: str) -> dict[str, Any]:
    record = {"requestId": request_id, "status": "success", "metrics": {"durationMs": 1.5, "billedDurationMs": 2}}
    return {"time": TIME, "type": "platform.report", "record": record}


def dropped(records: int, size: int) -> dict[str, Any]:
    record = {"reason": "slow", "droppedRecords": records, "droppedBytes": size}
    return {"time": TIME, "type": "platform.logsDropped", "record": record}
