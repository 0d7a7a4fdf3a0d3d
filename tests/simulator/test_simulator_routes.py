from __future__ import annotations

from typing import Any

import anyio
import pytest

from lambda_extension.simulator import Simulator

API = "/2020-01-01/extension"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
ID = "Lambda-Extension-Identifier"


async def idle(_: object) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "error_type"),
    [
        ("POST", "/register", {}, b"{}", 403, "Extension.InvalidExtensionName"),
        ("POST", "/register", {"Lambda-Extension-Name": "idle"}, b"", 403, "InvalidRequestFormat"),
        (
            "POST",
            "/register",
            {"Lambda-Extension-Name": "idle"},
            b'{"events":["NONE"]}',
            403,
            "Extension.InvalidEventType",
        ),
        (
            "POST",
            "/register",
            {"Lambda-Extension-Name": "inner"},
            b'{"events":["SHUTDOWN"]}',
            403,
            "Extension.InvalidEventType",
        ),
        ("GET", "/event/next", {}, b"", 403, "Extension.MissingExtensionIdentifier"),
        ("GET", "/event/next", {ID: "x"}, b"", 403, "Extension.InvalidExtensionIdentifier"),
        ("GET", "/event/next", {ID: UNKNOWN}, b"", 403, "Extension.UnknownExtensionIdentifier"),
        ("GET", "/event/next/", {}, b"", 404, None),
        ("GET", "/register", {}, b"", 405, None),
    ],
)
async def test_mistake_is_refused_as_lambda_does(
    method: str, path: str, headers: dict[str, str], body: bytes, status: int, error_type: Any
) -> None:
    async with Simulator([idle], init_timeout=0.5) as lambda_, lambda_.http_client() as client:
        await lambda_.wait_for(lambda record: bool(record.find("process", "start")))
        answer = await client.request(method, API + path, headers=headers, content=body)
    assert answer.status_code == status
    assert error_type is None or answer.json()["errorType"] == error_type
