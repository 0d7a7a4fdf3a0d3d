"""The flush loop: when a flush begins, how long it may take, and that there are never two at once."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, final

import anyio

from lambda_extension._budget import (
    BACKGROUND_FLUSH_LIMIT,
    FASTEST_TICK,
    FLUSH_END,
    FLUSH_SLICE,
    SLOWEST_TICK,
    wall_clock,
)
from lambda_extension.processing._waiting import Bell

if TYPE_CHECKING:
    from lambda_extension.processing._policies import FlushSchedule


@final
class FlushLoop:
    """Flushes one at a time, each within a limit, and once more if more is wanted meanwhile.

    Three coroutines run beside each other for as long as the loop is used: `run` flushes, `watch` cuts off a flush that
    hangs, and `tick`, only while nothing can freeze, flushes by time. Every flush but the last is begun by `run`, so
    that there are never two; whoever wants one counts the flushes, and waits until the right one has ended.

    Args:
        flush: What to call. An error of it leaves `run`, or `last`.
        schedule: Says when, and is told when a flush really begins.
    """

    def __init__(self, flush: Callable[[], Awaitable[object]], schedule: FlushSchedule) -> None:
        self._flush = flush
        self._schedule = schedule
        self._wall_clock = wall_clock.get()
        self._items = self._size = 0
        # Flushes that have begun and have ended so far; one is running while they differ.
        self._begun = self._ended = 0
        self._scope = anyio.CancelScope()
        self._wanted = self._closing = False
        self._asked = Bell()  # a flush is wanted, or the loop closes
        self._turned = Bell()  # a flush has begun, or has ended
        self._moved = Bell()  # the policy may tick at another time

    def arrived(self, items: int, size: int) -> None:
        """Note that telemetry has been taken in, and flush in the background if the policy says so."""
        self._items += items
        self._size += size
        if self._schedule.buffered(self._wall_clock(), items=self._items, size=self._size):
            self.want()
        self._moved.ring()

    def want(self) -> int:
        """Have a flush begin as soon as none is running.

        Returns:
            Its number. The one that is running now does not count: it began before the latest telemetry came.
        """
        self._wanted = True
        self._asked.ring()
        return self._begun + 1

    async def hold(self, until: float) -> None:
        """Flush what has been taken in so far, and wait for it; cut off at a moment, or a little later.

        A flush that was running before is waited for, but goes on if it takes too long, and the wanted one follows it.
        A cancelled call leaves the flush running.
        """
        number = self.want()
        if not await self._ends(number, until) and self._begun == number:
            # Given the time to end, too: the invocation is not let go with half of a flush in it.
            self._scope.cancel()
            await self._ends(number, until + FLUSH_END)

    async def last(self, *, cut_at: float, until: float) -> None:
        """Flush for the last time; `run` returns.

        Args:
            cut_at: When a flush that is running still is cut off, so that the last one can begin.
            until: When the last one is cut off.
        """
        self._closing = True  # from here on `run` begins none, so the one that is running is the last but one
        self._asked.ring()
        if not await self._ends(self._begun, cut_at):
            self._scope.cancel()
            await self._ends(self._begun, max(until, anyio.current_time() + FLUSH_END))
        if self._ended == self._begun:
            await self._flush_once(until)

    async def run(self) -> None:
        """Flush whenever a flush is wanted, until the loop closes."""
        while not self._closing:
            if self._wanted:
                await self._flush_once(math.inf)
            else:
                await self._asked.wait()

    async def watch(self) -> None:
        """Cut off each flush that has run for too long; never returns.

        The limit is counted in short waits. A freeze jumps over any timer, and of one timer for the whole limit nothing
        would be left after the thaw; of many short ones, a freeze can use up one.
        """
        while True:
            number, waits = self._begun, 0
            while self._ended < number:
                if waits * FLUSH_SLICE >= BACKGROUND_FLUSH_LIMIT:
                    self._scope.cancel()
                with anyio.move_on_after(FLUSH_SLICE):
                    await self._turned.wait()
                waits += 1
            # Another may have begun in the same turn of the event loop as that one ended.
            if number == self._begun:
                await self._turned.wait()

    async def tick(self) -> None:
        """Flush by time; never returns. Only for while nothing freezes: a timer across a freeze means nothing."""
        while True:
            now = self._wall_clock()
            # What is wanted already needs no second request; the tick moves once that flush begins.
            due = None if self._wanted else self._schedule.next_tick(now)
            if due is not None and due <= now:
                self.want()
                # A policy whose ticks are always due must not take the event loop for itself.
                await anyio.sleep(FASTEST_TICK)
                continue
            # Asked again now and then besides, since the wall clock may be set.
            with anyio.move_on_after(SLOWEST_TICK if due is None else min(due - now, SLOWEST_TICK)):
                await self._moved.wait()

    async def _flush_once(self, until: float) -> None:
        items, size, self._items, self._size = self._items, self._size, 0, 0
        self._wanted = False
        self._begun += 1
        self._schedule.flush_started(self._wall_clock())
        self._turned.ring()
        self._moved.ring()
        done = False
        try:
            with anyio.CancelScope(deadline=until) as self._scope:
                await self._flush()
                done = True
        finally:
            self._ended += 1
            self._turned.ring()
        if not (done or self._closing):
            # What was cut off has not left: to the policy it is as if it had come again.
            self.arrived(items, size)

    async def _ends(self, number: int, until: float) -> bool:
        """Wait until a flush has ended; False when it has not at the given moment."""
        with anyio.CancelScope(deadline=until):
            while self._ended < number:
                await self._turned.wait()
        return self._ended >= number
