"""SIGTERM and SIGINT, where this process may take them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import anyio
import anyio.abc


async def watch_signals(
    on_signal: Callable[[signal.Signals], None], *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Call a function for each SIGTERM and SIGINT until cancelled; return at once in another thread than the main one.

    Python gives signals to the main thread alone, so an internal extension, which has a thread of its own, sees none.

    Args:
        on_signal: Called with each signal.
        task_status: Started once signals no longer have their usual effect.
    """
    if threading.current_thread() is not threading.main_thread():
        task_status.started()
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            on_signal(signal.Signals(number))
