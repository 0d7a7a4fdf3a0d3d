"""One suite of what the platform does, for the simulator and for AWS's own emulator.

The tests are in modules without the `test_` prefix; `test_simulator_conformance.py` here and
`tests/emulator/test_emulator_conformance.py` each import them all and say what `platform` is.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "conformance.lifecycle", "conformance.registration", "conformance.telemetry", "conformance.traits"
)
