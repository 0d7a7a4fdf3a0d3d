"""One processor of a run: what it takes in, when it is flushed, and what it costs the others, which is nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, final

import anyio

from lambda_extension._budget import CROWDED_LIMIT, INVOCATION_MARGIN, ShutdownPhases, wall_clock
from lambda_extension._session._invocation import Invocation, ended_request
from lambda_extension.processing._degrading import Guard
from lambda_extension.processing._flushing import FlushLoop
from lambda_extension.processing._policies import Action
from lambda_extension.processing._waiting import Bell, Done, Ends

if TYPE_CHECKING:
    from lambda_extension.processing._lifecycle import Workers
    from lambda_extension.processing._policies import FlushPolicy
    from lambda_extension.telemetry import Batch

logger = logging.getLogger("lambda_extension")

# Batches that may wait for one of several processors.
_WAITING_BATCHES = 8


@final
class Lane:
    """Telemetry on its way into one processor.

    Args:
        name: The processor's, for the log.
        hooks: Its methods.
        policy: When to flush; every lane has a state of its own of it.
        degrade: Whether its errors cost telemetry only.
        alone: Whether there is no other. The platform is then pushed back for as long as the processor is slow; if
            there are others, for a moment, and from then on it is this processor that loses telemetry.
    """

    def __init__(self, name: str, hooks: dict[str, Any], policy: FlushPolicy, *, degrade: bool, alone: bool) -> None:
        self.name = name
        self._process = hooks.get("process")
        self._process_event = hooks.get("process_event")
        self._background = hooks.get("background")
        self._record_invocation = hooks.get("record_invocation")
        self._record_overhead = hooks.get("record_overhead")
        self._store = hooks.get("store_what_is_left")
        self._guard = Guard(name, degrade=degrade)
        self._wall_clock = wall_clock.get()
        self._schedule = policy.begin(self._wall_clock())
        flush = hooks.get("flush")
        # Without something to flush, nothing waits, not even for the end of an invocation.
        self._loop = None if flush is None else FlushLoop(self._flushing(flush), self._schedule)
        waiting = 0 if alone else _WAITING_BATCHES
        self._send, self._receive = anyio.create_memory_object_stream[tuple["Batch", Done]](waiting)
        self._alone = alone
        self._crowded = False
        self._ends = Ends()
        # Events that were given to the lane and of which `process` has not returned.
        self._owed = 0
        # Whether what is acknowledged must have been taken in.
        self._durable = "durable" in hooks
        self._took = Bell()
        self._taking = anyio.CancelScope()
        self._drained = anyio.Event()

    def start(self, workers: Workers, *, freezes: bool) -> None:
        """Start the tasks of the lane."""
        workers.start(self._take_in, name=f"telemetry into {self.name}")
        if self._background is not None:
            workers.start(self._run_background, self._background, name=f"background of {self.name}")
        if self._loop is not None:
            workers.start(self._loop.run, name=f"flushes of {self.name}")
            workers.start(self._loop.watch, name=f"limit of the flushes of {self.name}")
            if not freezes:
                workers.start(self._loop.tick, name=f"flush timer of {self.name}")

    def announce(self, batch: Batch) -> None:
        """Count a batch that has left the session's stream; `put` follows, unless a shutdown comes first."""
        self._owed += len(batch.events)

    async def put(self, batch: Batch, done: Done) -> None:
        """Give a batch to the processor; blocks while that is busy, but not for long if there are others."""
        until = math.inf if self._alone else -math.inf if self._crowded else anyio.current_time() + CROWDED_LIMIT
        with anyio.CancelScope(deadline=until):
            try:
                self._send.send_nowait((batch, done))
            except anyio.WouldBlock:
                await self._send.send((batch, done))
            self._crowded = False
            return
        # The time was over before it took the batch. Until it takes one again, nobody waits for it at all.
        if not self._crowded:
            self._crowded = True
            logger.warning("%s takes in nothing: what comes for it is dropped until it does", self.name)
        self._owed -= len(batch.events)
        self._guard.dropped += len(batch.events)

    async def wait_taken(self) -> None:
        """Wait until a processor that stores what it gets has taken in all that was put; no other is waited for."""
        while self._durable and self._owed:
            await self._took.wait()

    def end(self) -> None:
        """Note that no more batches come."""
        self._send.close()

    def close(self) -> None:
        """Close what is open, whichever of the tasks were run."""
        self._send.close()
        self._receive.close()

    async def begin(self, invocation: Invocation) -> None:
        """Tell the processor of an invocation."""
        if self._record_invocation is not None:
            await self._guard.call(self._tell, self._record_invocation, invocation.event, what="record_invocation")

    async def hold(self, invocation: Invocation, ends: Ends, *, sees_ends: bool) -> None:
        """Hold an invocation for as long as the policy wants it: wait for its end, take in what came, flush.

        Args:
            invocation: The invocation.
            ends: The ends that have been seen; this lane may have yet to take some of them in.
            sees_ends: Whether the end of an invocation can be seen at all.
        """
        if self._loop is None:
            return
        decision = self._schedule.invocation_started(self._wall_clock(), invocation.event.deadline_ms / 1000)
        if decision.action is Action.LET_GO or self._guard.is_leaving_alone:
            return
        latest = invocation.deadline - INVOCATION_MARGIN
        limit, seen = decision.limit, False
        if decision.action is Action.FLUSH_AT_END:
            if sees_ends:
                seen = await self._wait_end(invocation.request_id, ends, anyio.current_time() + decision.wait, latest)
            else:
                limit = 0.0
        # The limit counts from here: taking in what came before the end, if that is still to be done, is a part of it.
        until = min(anyio.current_time() + limit, latest)
        if seen:
            await self._ends.wait(invocation.request_id, until)
        if limit > 0:
            await self._loop.hold(until)
        else:
            self._loop.want()

    async def _wait_end(self, request_id: str, ends: Ends, until: float, latest: float) -> bool:
        """Wait for the function's end, while flushing by time: it runs, so that nothing freezes."""
        assert self._loop is not None
        seen = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._loop.tick, name="lambda_extension flush timer")
            seen = await ends.wait(request_id, min(until, latest))
            # The timer alone: a flush that it has begun goes on in the loop, and is counted there.
            tasks.cancel_scope.cancel()
        return seen

    async def release(self, request_id: str, seconds: float) -> None:
        """Note that an invocation is let go, and tell the processor for how long it was held."""
        self._ends.take(request_id)
        if self._record_overhead is not None:
            await self._guard.call(self._tell, self._record_overhead, seconds, what="record_overhead")

    async def _tell(self, record: Callable[[Any], object], what: Any) -> None:
        record(what)

    def flush_early(self) -> None:
        """Flush at once at a shutdown, while the platform still sends; what comes meanwhile is for the last flush."""
        if self._loop is not None:
            self._loop.want()

    async def finish(self, phases: ShutdownPhases) -> None:
        """Take in what has come, flush for the last time, and say what was lost; each within its share."""
        with anyio.CancelScope(deadline=phases.drain):
            await self._drained.wait()
        # First nothing more is taken in, and then the last flush begins: it takes all that will ever be there.
        self._taking.cancel()
        if self._owed:
            logger.warning("%s was too slow: %d events were left over at the shutdown", self.name, self._owed)
        try:
            # However often it has failed, and not until the next failure: the flush that is cut off below, for the last
            # one, may be one.
            self._guard.leave_alone_no_more()
            if self._store is not None:
                with anyio.CancelScope(deadline=phases.flush):
                    await self._guard.call(self._store, what="store_what_is_left")
            if self._loop is not None:
                await self._loop.last(cut_at=phases.drain, until=phases.flush)
        finally:
            if self._guard.errors or self._guard.dropped:
                logger.warning(
                    "%s: %d errors, %d events dropped by them", self.name, self._guard.errors, self._guard.dropped
                )

    async def _take_in(self) -> None:
        # Cut off, it leaves the stream open: who puts a batch into it then is cut off at the same moment.
        with self._taking:
            async for batch, done in self._receive:
                await self._give(batch)
                self._owed -= len(batch.events)
                self._took.ring()
                # Only now: who waits for an end flushes next, and what came before the end is to be in it.
                for request_id, moment in done:
                    self._ends.note(request_id, moment)
                if self._loop is not None:
                    self._loop.arrived(len(batch.events), batch.size)
        self._drained.set()

    async def _give(self, batch: Batch) -> None:
        if self._process is not None:
            # A list of its own, where there are others: it may be the processor's buffer from now on.
            events = batch.events if self._alone else list(batch.events)
            await self._guard.call(self._process, events, what="process", events=len(events))
        elif self._process_event is not None:
            for event in batch.events:
                await self._guard.call(self._process_event, event, what="process_event", events=1)

    def _flushing(self, flush: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        async def guarded() -> None:
            await self._guard.call(flush, what="flush")

        return guarded

    async def _run_background(self, background: Callable[[], Awaitable[object]]) -> None:
        await self._guard.call(background, what="background")


def done_in(batch: Batch, now: float) -> Done:
    """Give the requests that a batch says are done, and when they were.

    Args:
        batch: The batch.
        now: Epoch seconds, for an event without a time, and for one from the future.
    """
    found = []
    for event in batch.events:
        request_id = ended_request(event)
        if request_id is not None:
            moment = event.timestamp
            found.append((request_id, now if moment is None else min(now, moment.timestamp())))
    return found
