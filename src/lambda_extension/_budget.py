"""Epoch milliseconds, as the platform sends them, to deadlines of the event loop's clock."""

from __future__ import annotations

from collections.abc import Callable

import anyio


def to_deadline(deadline_ms: float, wall_clock: Callable[[], float]) -> float:
    """Convert a moment of the wall clock, once, on receipt.

    A frozen sandbox jumps the wall clock, so what was computed before a freeze means nothing after it.

    Args:
        deadline_ms: Epoch milliseconds.
        wall_clock: Gives the epoch seconds of now.

    Returns:
        Seconds on the clock of `anyio.current_time()`.
    """
    return anyio.current_time() + deadline_ms / 1000 - wall_clock()


def shielded(seconds: float) -> anyio.CancelScope:
    """Make a scope for a last word to the outside world: no outer cancellation, but never longer than `seconds`."""
    return anyio.CancelScope(shield=True, deadline=anyio.current_time() + max(seconds, 0.0))
