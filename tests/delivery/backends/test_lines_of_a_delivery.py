"""What a delivery makes of lines, as it was asked to."""

from __future__ import annotations

import json

from records_for_backends import time_of

from lambda_extension import Registration, ShutdownReason
from lambda_extension.delivery import NDJSON, Delivery, Payload
from lambda_extension.records import JoinLines, LineSettings, only
from lambda_extension.telemetry import FunctionLog

REGISTRATION = Registration(extension_id="1", extension_name="x", function_name="orders", function_version="12")


class Taking:
    def __init__(self) -> None:
        self.encoder = NDJSON()
        self.bodies: list[object] = []

    async def send(self, payload: Payload) -> None:
        self.bodies += [json.loads(line)["body"] for line in payload.body.splitlines()]


async def delivered(lines: LineSettings | None) -> list[object]:
    sink = Taking()
    delivery = Delivery(sink, transforms=[only(source="function")], lines=lines, spill=None)
    await delivery.init(REGISTRATION)
    told = ['{"level":"info","msg":"m"}', "java.lang.X: y", "\tat a.b.C"]
    await delivery.process([FunctionLog(time=time_of(n), record=text) for n, text in enumerate(told)])
    await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    return sink.bodies


async def test_lines_are_joined_and_json_is_read_where_asked_for() -> None:
    assert await delivered(None) == ['{"level":"info","msg":"m"}', "java.lang.X: y", "\tat a.b.C"]
    assert await delivered(LineSettings(parse_json=True, join=JoinLines())) == ["m", "java.lang.X: y\n\tat a.b.C"]
