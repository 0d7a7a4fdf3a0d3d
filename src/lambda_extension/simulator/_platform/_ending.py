"""The end of an environment, within its budget."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

import anyio
import anyio.abc
import attrs

from lambda_extension.simulator._platform._sandbox import Sandbox

_EXTERNAL_BUDGET: Final = 2.0
_INTERNAL_BUDGET: Final = 0.5
_RUNTIME_SLICE: Final = 0.3
_FLUSH_LIMIT: Final = 1.0
_REAP_LIMIT: Final = 1.0


@attrs.frozen(kw_only=True)
class ShutdownReport:
    """How an environment ended; milliseconds.

    Attributes:
        late: Participants that lived past the deadline and were killed.
        exit_codes: By participant; negative is the signal's number, None is who could not be started.
        killed: Participants that were killed through no fault of theirs: the platform does so with extensions that are
            not subscribed to SHUTDOWN, and with the runtime once its time is over; a fault does so with whom it names.
    """

    reason: str
    budget_ms: float
    used_ms: float
    exit_codes: dict[str, int | None] = attrs.field(factory=dict)
    late: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()


async def end(sandbox: Sandbox, reason: str, disturb: Callable[[], object]) -> ShutdownReport:
    """End an environment: the runtime first, then telemetry, then extensions; kill what is late.

    Args:
        sandbox: The environment.
        reason: What extensions are told.
        disturb: Called once the end has begun, for faults.
    """
    extensions = sandbox.table.extensions.values()
    external = any(item.external for item in extensions)
    budget = _EXTERNAL_BUDGET if external else _INTERNAL_BUDGET if extensions else 0.0
    started = anyio.current_time()
    deadlines = {host: int((now + budget) * 1000) for host, now in _clocks(sandbox)}
    sandbox.closing = True
    sandbox.record.add("phase", "platform", "shutdown-start", reason=reason, budget_ms=budget * 1000)
    disturb()
    await sandbox.wait_failed()
    await _end_runtime(sandbox, _RUNTIME_SLICE if external else budget)
    await _flush(sandbox, started + budget)
    for item in extensions:
        participant = sandbox.participants.get(item.name)
        if participant is None:
            continue
        if "SHUTDOWN" in item.events and item.state in {"Registered", "Ready", "Running"}:
            deadline_ms = deadlines[sandbox.has_host_clock(item.name)]
            event = {"eventType": "SHUTDOWN", "deadlineMs": deadline_ms, "shutdownReason": reason}
            sandbox.boxes[item.name].put(event)
        else:
            participant.kill(excused=True)
    with anyio.CancelScope(deadline=started + budget):
        while any(not item.done for item in sandbox.participants.values()):
            await sandbox.changed()
    alive = [item for item in sandbox.participants.values() if not item.done and not item.killed]
    # Who asks for next again is done with its work, and only waits for its end.
    idle = [item for item in alive if sandbox.table.extensions[item.name].state == "Ready"]
    for participant in idle:
        sandbox.verdicts.asks_after_shutdown(participant.name, budget * 1000)
        participant.kill(excused=True)
    late = tuple(item.name for item in alive if item not in idle)
    used = (anyio.current_time() - started) * 1000
    await sandbox.kill()
    _judge(sandbox, late, budget * 1000)
    everyone = [*sandbox.participants.values(), *([sandbox.runtime] if sandbox.runtime else [])]
    sandbox.record.add("phase", "platform", "shutdown-end", reason=reason, used_ms=used, late=late)
    return ShutdownReport(
        reason=reason,
        budget_ms=budget * 1000,
        used_ms=used,
        exit_codes={item.name: item.exit_code for item in everyone},
        late=late,
        killed=tuple(item.name for item in everyone if item.excused),
    )


def _clocks(sandbox: Sandbox) -> list[tuple[bool, float]]:
    """Return what the host's clock and the simulation's say."""
    return [(True, sandbox.clock.host_time()), (False, sandbox.clock.time())]


async def _end_runtime(sandbox: Sandbox, slice_: float) -> None:
    runtime = sandbox.runtime
    assert runtime is not None  # init has succeeded
    if slice_:
        runtime.signal(signal.SIGTERM)
        with anyio.move_on_after(slice_):
            while not runtime.done:
                await sandbox.changed()
    runtime.kill(excused=True)
    with anyio.move_on_after(_REAP_LIMIT):
        while not runtime.done:
            await sandbox.changed()


async def _flush(sandbox: Sandbox, deadline: float) -> None:
    limit = min(_FLUSH_LIMIT, max(0.0, deadline - anyio.current_time()))
    async with anyio.create_task_group() as tasks:
        for subscriber in sandbox.telemetry.subscribers:
            tasks.start_soon(subscriber.flush, limit)


def _judge(sandbox: Sandbox, late: tuple[str, ...], budget_ms: float) -> None:
    for name in late:
        sandbox.verdicts.late_at_shutdown(name, budget_ms)
    for participant in sandbox.participants.values():
        # Who was killed, and who ended before, has its own finding or none.
        state = sandbox.table.extensions[participant.name]
        if participant.exit_code and not participant.killed and state.state == "Exited" and sandbox.fatal is None:
            sandbox.verdicts.fails_at_shutdown(participant)
    for subscriber in sandbox.telemetry.subscribers:
        if subscriber.problem and not subscriber.delivered:
            port = subscriber.subscription.port
            sandbox.verdicts.undelivered(subscriber.name, port, subscriber.undelivered, subscriber.problem)
