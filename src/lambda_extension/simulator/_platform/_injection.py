"""Faults at work: who is killed when, what is flooded, which batches are tampered with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import final

import anyio
import anyio.abc

from lambda_extension.simulator._platform._delivery import Subscriber
from lambda_extension.simulator._platform._faults import (
    ClockJump,
    DeliveryFault,
    EventFault,
    Fault,
    Flood,
    KillFault,
    OutOfMemory,
)
from lambda_extension.simulator._platform._sandbox import Sandbox
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._record import Record


@final
class Injector:
    """Makes the faults of the lifecycle and of delivery happen; those of routes are the routes' own."""

    def __init__(self, faults: Sequence[Fault], *, clock: Clock, record: Record, tasks: anyio.abc.TaskGroup) -> None:
        self._faults, self._clock, self._record, self._tasks = faults, clock, record, tasks
        self._batches = 0
        self._events: Counter[str] = Counter()

    def jump(self, invocation: int) -> None:
        """Move the clock where the invocation of that number is to begin with a jump."""
        for fault in self._faults:
            if isinstance(fault, ClockJump) and fault.nth == invocation:
                self._record.add("fault", "platform", "clock-jump", seconds=fault.seconds)
                self._clock.jump(fault.seconds)

    def kill(self, phase: str, number: int, sandbox: Sandbox) -> None:
        """Kill whoever is to die in that phase."""
        for fault in self._faults:
            if not isinstance(fault, KillFault) or fault.phase != phase or fault.nth not in (None, number):
                continue
            runtime = fault.participant == "runtime"
            target = sandbox.runtime if runtime else sandbox.participants.get(fault.participant)
            if target is not None:
                self._record.add("fault", fault.participant, "kill", phase=phase)
                target.kill(excused=True)

    def starve(self, invocation: int, sandbox: Sandbox) -> None:
        """Let the runtime die for want of memory in the invocation of that number."""
        for fault in self._faults:
            if isinstance(fault, OutOfMemory) and fault.nth in (None, invocation) and sandbox.runtime is not None:
                self._record.add("fault", "runtime", "out-of-memory")
                sandbox.runtime.starved = True
                sandbox.runtime.kill(excused=True)

    def intercept(self, type_: str, hand_on: Callable[[], None]) -> bool:
        """Suppress or delay an event; return whether that was done."""
        self._events[type_] += 1
        for fault in self._faults:
            if not isinstance(fault, EventFault) or fault.type != type_:
                continue
            if fault.nth not in (None, self._events[type_]):
                continue
            self._record.add("fault", "platform", fault.action, event=type_)
            if fault.action == "delay":
                self._tasks.start_soon(self._delay, fault.seconds, hand_on, name=f"delay of {type_}")
            return True
        return False

    async def _delay(self, seconds: float, hand_on: Callable[[], None]) -> None:
        await anyio.sleep(seconds)
        hand_on()

    def flood(self, invocation: int, sandbox: Sandbox) -> None:
        """Let the function log much during the invocation of that number."""
        for fault in self._faults:
            if isinstance(fault, Flood) and fault.nth in (None, invocation):
                self._tasks.start_soon(self._flood, sandbox, fault, name="flood")

    async def _flood(self, sandbox: Sandbox, fault: Flood) -> None:
        self._record.add("fault", "runtime", "flood", per_second=fault.per_second)
        started, sent = anyio.current_time(), 0
        while (elapsed := anyio.current_time() - started) < fault.seconds and not sandbox.closing:
            while sent < elapsed * fault.per_second:
                sandbox.output("runtime", f"flood line {sent}")
                sent += 1
            await anyio.sleep(0.01)
        while sent < fault.per_second * fault.seconds and not sandbox.closing:  # what a late look has left
            sandbox.output("runtime", f"flood line {sent}")
            sent += 1

    def tamper(self, subscriber: Subscriber, body: bytes) -> tuple[bytes, ...]:
        """Return what to send in place of a batch."""
        self._batches += 1
        bodies: tuple[bytes, ...] = (body,)
        for fault in self._faults:
            if not isinstance(fault, DeliveryFault) or fault.nth not in (None, self._batches):
                continue
            self._record.add("fault", subscriber.name, fault.action)
            if fault.action == "duplicate":
                bodies = (*bodies, body)
            elif fault.action == "malformed":
                bodies = (body[:-1], *bodies[1:])
            else:
                unknown = b'{"time":"2026-01-01T00:00:00.000Z","type":"platform.future","record":{}}'
                bodies = (body[:-1] + b"," + unknown + b"]", *bodies[1:])
        return bodies
