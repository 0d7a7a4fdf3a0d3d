"""The conformance suite on AWS's own emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.lifecycle import *  # noqa: F403
from conformance.platforms import Mode, parametrize
from conformance.registration import *  # noqa: F403
from conformance.telemetry import *  # noqa: F403
from conformance.traits import *  # noqa: F403
from emulator.platform import EmulatedPlatform

pytestmark = pytest.mark.emulator

DIFFERENCES: dict[tuple[str, Mode], str] = {
    ("test_register_answers_the_account_when_asked", "on-demand"): "the standard mode knows no account",
    ("test_environment_has_what_real_lambda_adds", "on-demand"): "the standard mode does not set these variables",
    ("test_environment_lacks_log_names_and_concurrency", "on-demand"): "the standard mode leaks the log names",
    ("test_environment_lacks_log_names_and_concurrency", "managed"): "its own switch to this mode leaks",
    (
        "test_the_runtime_is_told_the_handler_that_extensions_are_told",
        "on-demand",
    ): "the standard mode tells extensions no handler",
    ("test_destination_without_a_port_is_refused", "managed"): "a URI without a port is accepted, and never served",
}
"""Where the emulator is not as real Lambda is documented; docs/explanation/conformance.md says why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "platform" in metafunc.fixturenames:
        parametrize(metafunc, "emulator", DIFFERENCES)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the emulator cannot tell what its test runs on


@pytest.fixture
def platform(emulator_binary: Path, tmp_path: Path, mode: Mode) -> EmulatedPlatform:
    return EmulatedPlatform(emulator_binary, tmp_path, mode)
