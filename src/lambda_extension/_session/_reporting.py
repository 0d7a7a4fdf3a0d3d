"""What Lambda is told of an extension's end: once, within its time, and never in the way of the error itself."""

from __future__ import annotations

import logging
from typing import final

import anyio

from lambda_extension._api._client import ExtensionClient, leaf_of
from lambda_extension._budget import report_until, shielded

logger = logging.getLogger("lambda_extension")


@final
class Reporter:
    """Tells Lambda why the extension ends, by init/error or exit/error."""

    def __init__(self, client: ExtensionClient) -> None:
        self._client = client

    async def report_leaving(self, error: BaseException, *, past_init: bool, deadline: float | None) -> None:
        """Report what leaves the user's block, unless it is an end that Lambda expects.

        Args:
            error: What leaves.
            past_init: Whether init is over.
            deadline: When Lambda kills the process, where a shutdown has begun.
        """
        failed = _without_cancellation(error)
        if failed is None:
            if deadline is None:
                await self._report_end("was cancelled", "Extension.Cancelled", past_init=past_init)
            return
        leaf = leaf_of(failed)  # an exit from within a task group is one too
        if isinstance(leaf, SystemExit):
            if deadline is not None and not leaf.code:
                return
            logger.error("the extension exits: %s", leaf.code)
        await self.report(failed, past_init=past_init, deadline=deadline)

    async def report_early_end(self, failure: Exception | None, *, past_init: bool) -> None:
        """Report that the user's block ended before SHUTDOWN, or the failure that made it end."""
        if failure is not None:
            await self.report(failure, past_init=past_init, deadline=None)
            return
        await self._report_end("ended", "Extension.EndedBeforeShutdown", past_init=past_init)

    async def _report_end(self, what: str, error_type: str, *, past_init: bool) -> None:
        error = RuntimeError(f"the extension's block {what} before SHUTDOWN")
        logger.error("%s: Lambda is told", error)
        await self.report(error, past_init=past_init, deadline=None, error_type=error_type)

    async def report(
        self, error: BaseException, *, past_init: bool, deadline: float | None, error_type: str | None = None
    ) -> None:
        """Report an error: shielded, since it may be a cancellation that ends the extension."""
        # Counted from now and not from the error: the user's hook came first, and has taken its share.
        until = report_until(deadline)
        limit = until - anyio.current_time()
        with shielded(until) as scope:
            try:
                if past_init:
                    await self._client.exit_error(error, error_type=error_type)
                else:
                    await self._client.init_error(error, error_type=error_type)
            except Exception:
                logger.warning("the error could not be reported to Lambda", exc_info=True)
        if scope.cancelled_caught:
            logger.warning("Lambda did not take the report of the error within %.1f s", limit)


def _without_cancellation(error: BaseException) -> BaseException | None:
    """Return what failed, or None where nothing did; on trio both may come in one group."""
    cancelled = anyio.get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        return error.split(cancelled)[1]
    return None if isinstance(error, cancelled) else error
