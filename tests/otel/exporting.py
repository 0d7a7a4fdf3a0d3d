"""An extension that exports by OpenTelemetry, and says at its end what became of everything, as JSON."""

from __future__ import annotations

import json
import os
import sys

import anyio
import attrs

from lambda_extension import run_telemetry
from lambda_extension.otel import OpenTelemetryProcessor
from lambda_extension.processing import Adaptive, EndOfInvocation
from lambda_extension.telemetry import ReceiverSettings

POLICIES = {"end-of-invocation": EndOfInvocation, "adaptive": Adaptive}


async def main() -> None:
    port = os.environ.get("EXPORTING_RECEIVE")
    processor = OpenTelemetryProcessor(
        receive=int(port) if port else None,
        span_end="runtime_done" if os.environ.get("EXPORTING_END") == "runtime_done" else "report",
    )
    # Far beyond what is needed: on a busy machine a flush that is cut off is sent again, and there is more to count.
    policy = POLICIES[os.environ.get("EXPORTING_POLICY", "end-of-invocation")](limit=8.0)
    await run_telemetry(processor, flush=policy, receiver=ReceiverSettings(server="direct"))
    figures = {name: attrs.asdict(each) for name, each in processor.statistics().items()}
    sys.stdout.write(f"figures {json.dumps(figures)}\n")


if __name__ == "__main__":
    uvloop = os.environ["EXPORTING_LOOP"] == "uvloop"
    backend = "trio" if os.environ["EXPORTING_LOOP"] == "trio" else "asyncio"
    anyio.run(main, backend=backend, backend_options={"use_uvloop": True} if uvloop else {})
