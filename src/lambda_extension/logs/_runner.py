"""`run_logs`: what `run_telemetry` is to the Telemetry API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from lambda_extension._api._logs import LogsSubscription
from lambda_extension.processing._processor import run_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambda_extension.processing._processor import RunSettings


async def run_logs(
    processor: object | Sequence[object] | Callable[[], object],
    *,
    logs: LogsSubscription | None = None,
    **settings: Unpack[RunSettings],
) -> None:
    """Run a logs extension until SHUTDOWN, SIGTERM or SIGINT: `run_telemetry` on the Logs API. Warns of deprecation.

    The end of an invocation is seen from schema 2021-03-18 on, the default; with an older one no flush waits for it.

    Args:
        processor: As of `run_telemetry`; `process` takes values of `LogsEvent`.
        logs: What to subscribe to; by default platform and function.
        **settings: The other keywords of `run_telemetry`.

    Raises:
        Exception: What `run_telemetry` raises.
    """
    await run_telemetry(processor, telemetry=logs or LogsSubscription(), **settings)
