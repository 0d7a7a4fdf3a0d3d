"""Sinks that do as told, and events that can be told apart."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from typing import Any, Self

import anyio
import anyio.lowlevel
import zstandard

from lambda_extension import Registration
from lambda_extension._budget import wall_clock
from lambda_extension.delivery import Delivery, Payload
from lambda_extension.telemetry import FunctionLog

REGISTRATION = Registration(extension_id="1", extension_name="test", function_name="f", function_version="1")


def logs(*numbers: int) -> list[FunctionLog]:
    return [FunctionLog(time="2026-03-01T10:00:00.000Z", record=str(number)) for number in numbers]


def numbers_of(payload: Payload) -> list[int]:
    body = payload.body
    if payload.content_encoding == "gzip":
        body = gzip.decompress(body)
    elif payload.content_encoding == "zstd":
        body = zstandard.ZstdDecompressor().decompress(body)
    if payload.content_type == "application/json":
        events = json.loads(body)
    else:
        events = [json.loads(line) for line in body.splitlines()]
    return [int(event["record"]) for event in events]


class ScriptedSink:
    """Takes payloads; `script` gives what happens to the next ones: an exception, a callable, or None for a success."""

    def __init__(self, script: Iterable[Any] = ()) -> None:
        self.script = list(script)
        self.always: Any = None
        self.payloads: list[Payload] = []
        self.attempts: list[Payload] = []
        self.each: Callable[[], None] = lambda: None

    @property
    def numbers(self) -> list[int]:
        return [number for payload in self.payloads for number in numbers_of(payload)]

    def attempted(self, count: int) -> bool:
        return len(self.attempts) >= count

    async def send(self, payload: Payload) -> None:
        self.attempts.append(payload)
        self.each()
        step = self.script.pop(0) if self.script else self.always
        await anyio.lowlevel.checkpoint()
        self.each()
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await step()
        self.payloads.append(payload)


class Clock:
    """The wall clock of what is made within its context."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def __enter__(self) -> Self:
        self._token = wall_clock.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        wall_clock.reset(self._token)


def assert_adds_up(delivery: Delivery) -> None:
    figures = delivery.statistics()
    parts = (figures.delivered, figures.buffered, figures.spilled, figures.dropped, figures.filtered)
    assert min(parts) >= 0, figures
    assert figures.received == sum(parts), figures
