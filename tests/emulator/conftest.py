"""The emulator's binary, or the reason for its absence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emulator.harness import find_binary, missing_requirement


@pytest.fixture(scope="session")
def emulator_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AWS's emulator; skips where it cannot run, fails if LAMBDA_RIE_REQUIRED=1 says that it must."""
    problem = missing_requirement()
    if problem is not None:
        if os.environ.get("LAMBDA_RIE_REQUIRED") == "1":
            pytest.fail(problem)
        pytest.skip(problem)
    binary = find_binary(tmp_path_factory.mktemp("rie"))
    assert binary is not None
    return binary
