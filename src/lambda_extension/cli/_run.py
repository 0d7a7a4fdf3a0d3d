"""One run of the simulator: a number of invocations, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import attrs

from lambda_extension.cli._outcome import Outcome
from lambda_extension.cli._setup import Setup, tell_unresolved
from lambda_extension.cli._tally import Made, Tally
from lambda_extension.simulator import Entry

# Inits that may fail, one after the other, before the run is given up.
_MOST_FAILED_INITS = 2


@attrs.frozen(kw_only=True)
class Plan:
    """How often to invoke what, and with what; `interval` seconds pass between two invocations."""

    setup: Setup
    invocations: int = 3
    interval: float = 0.0
    payload: Any = None
    trace_header: str | None = None
    strict: bool = False


async def run(
    plan: Plan,
    tally: Tally,
    watch: Callable[[Entry], object],
    *,
    tell: Callable[[str], object],
    advance: Callable[[], object],
) -> Outcome:
    """Simulate.

    Args:
        plan: What.
        tally: What counts.
        watch: Called with each entry besides.
        tell: Called with what is worth knowing beforehand.
        advance: Called after each invocation.

    Raises:
        ValueError: Two extensions have one name.
        ModuleNotFoundError: A handler is given, and awslambdaric is not installed.
    """

    def see(entry: Entry) -> None:
        tally.add(entry)
        watch(entry)

    setup = plan.setup
    simulator = setup.simulator(see)
    made = Made()
    left = iter(range(plan.invocations))

    async def work() -> None:
        for number in left:
            if number:
                await anyio.sleep(plan.interval)
            made.add(await simulator.invoke(plan.payload, trace_header=plan.trace_header))
            advance()
            if tally.init_failures >= _MOST_FAILED_INITS:
                return

    async with simulator:
        tell_unresolved(simulator, tell)
        async with anyio.create_task_group() as workers:
            for _ in range(min(setup.concurrency, plan.invocations)):
                workers.start_soon(work)
        shutdown = await simulator.shutdown()
    return Outcome(
        setup=setup,
        planned=plan.invocations,
        made=made,
        shutdown=shutdown,
        tally=tally,
        strict=plan.strict,
        findings=simulator.record.findings,
    )
