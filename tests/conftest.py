"""Every test runs on each backend that users run (asyncio, uvloop, trio), and what is served by each server."""

from __future__ import annotations

import pytest

BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(params=["hypercorn", "direct"])
def server(request: pytest.FixtureRequest) -> object:
    return request.param
