"""Trying again: exponential with jitter, as the other end asks, and never past a deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

import anyio
import attrs

from lambda_extension._validators import number, whole
from lambda_extension.delivery._sinks import SinkError

if TYPE_CHECKING:
    import tenacity


@final
@attrs.frozen(kw_only=True)
class Retry:
    """How often, and when, a payload is sent again within one flush.

    The first retry after a connection broke is made at once: after a freeze, kept connections are stale.

    Attributes:
        attempts: Sends in all; 1 never repeats.
        initial: Seconds before the first retry, at most: the waits are random between 0 and a limit that doubles.
        maximum: The longest limit, in seconds. A `Retry-After` beyond it ends the flush: the sink is left alone for so
            long.
    """

    attempts: int = attrs.field(default=4, validator=whole(1))
    initial: float = attrs.field(default=0.1, validator=number(above=0))
    maximum: float = attrs.field(default=5.0, validator=number(above=0))


def retry_after(error: BaseException | None) -> float | None:
    """Give the seconds that the other end asked for."""
    return error.retry_after if isinstance(error, SinkError) else None


def retrying(
    settings: Retry, *, give_up: Callable[[], bool], before_retry: Callable[[], None]
) -> tenacity.AsyncRetrying:
    """Make a retrying caller, for one call.

    Args:
        settings: How often and when.
        give_up: Asked after each failure; True ends it.
        before_retry: Called before each repetition.
    """
    import tenacity  # it can wait until after register

    backoff = tenacity.wait_random_exponential(multiplier=settings.initial, max=settings.maximum)

    def wait(state: tenacity.RetryCallState) -> float:
        error = _error(state)
        asked = retry_after(error)
        if asked is not None:
            return asked
        if state.attempt_number == 1 and isinstance(error, (ConnectionResetError, BrokenPipeError)):
            return 0.0
        return backoff(state)

    def stop(state: tenacity.RetryCallState) -> bool:
        if state.attempt_number >= settings.attempts or give_up() or state.upcoming_sleep > settings.maximum:
            return True
        return anyio.current_time() + state.upcoming_sleep >= anyio.current_effective_deadline()

    return tenacity.AsyncRetrying(
        sleep=anyio.sleep,
        wait=wait,
        stop=stop,
        retry=tenacity.retry_if_exception(_retryable),
        before_sleep=lambda _: before_retry(),
        reraise=True,
    )


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _retryable(error: BaseException) -> bool:
    return error.retryable if isinstance(error, SinkError) else isinstance(error, Exception)
