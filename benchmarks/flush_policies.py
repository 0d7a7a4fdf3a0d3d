"""What each flush policy costs and keeps: a run in the simulator per policy, with freezes between invocations.

`python -m benchmarks.flush_policies [INVOCATIONS] [--write-docs]` prints the table of docs/howto/flush-policy.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import anyio
import attrs

from benchmarks.backend import Behaviour, backend
from benchmarks.contestants.delivering import POLICIES
from benchmarks.pages import DOCS, machine, measured, renew
from lambda_extension.simulator import ExtensionSpec, FunctionContext, Simulator

PROGRAM = Path(__file__).parent / "contestants" / "delivering.py"
LINES = 3


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one run.

    Attributes:
        overheads_ms: What the extension added after each response.
        in_time: Of the events of each invocation, how many had reached the backend when it ended.
        expected: How many events that were: log lines, platform.start and platform.runtimeDone.
        delivered: Log lines that arrived in the end.
        twice: Events that arrived more than once.
    """

    policy: str
    invocations: int
    succeeded: int
    overheads_ms: list[float]
    in_time: list[int]
    expected: int
    delivered: int
    twice: int
    requests: int
    exit_code: int | None
    said: str


async def measure(
    policy: str, invocations: int, *, behave: Behaviour = lambda _: (0.005, 200), runs_on: str = "asyncio"
) -> Outcome:
    """Run a policy: 20 ms of function with three lines, a freeze after each invocation."""
    with tempfile.TemporaryDirectory() as spill, backend(behave) as state:
        environment = {
            "DELIVERING_URL": state.url,
            "DELIVERING_POLICY": policy,
            "DELIVERING_SPILL": spill,
            "DELIVERING_BACKEND": runs_on,
        }
        extension = ExtensionSpec([sys.executable, str(PROGRAM)], name="delivering.py", environment=environment)

        async def function(_: int, context: FunctionContext) -> None:
            for number in range(LINES):
                context.log(f"{context.request_id} {number}")
            await anyio.sleep(0.02)

        succeeded, overheads, ends = 0, [], []
        async with Simulator([extension], function, freeze=True, timeout=20) as lambda_:
            for number in range(invocations):
                result = await lambda_.invoke(number)
                (end,) = lambda_.record.find("phase", "invoke-end")[-1:]
                ends.append((result.request_id, end.time))
                succeeded += result.status == "success"
                overheads.append(result.extension_overhead_ms)
            report = await lambda_.shutdown()
        said = [entry.detail["text"] for entry in lambda_.record.find("output", who="delivering.py")]
        wanted = {request_id: _keys(request_id) for request_id, _ in ends}
        lines = {f"{request_id} {number}" for request_id, _ in ends for number in range(LINES)}
        return Outcome(
            policy=policy,
            invocations=invocations,
            succeeded=succeeded,
            overheads_ms=overheads,
            in_time=[sum(state.arrivals.get(key, end + 1) <= end for key in wanted[name]) for name, end in ends],
            expected=LINES + 2,
            delivered=len(lines & state.arrivals.keys()),
            twice=sum(count > 1 for count in state.copies.values()),
            requests=state.requests,
            exit_code=report.exit_codes["delivering.py"],
            said=said[-1] if said else "",
        )


def _keys(request_id: str) -> list[str]:
    platform = [f"platform.start {request_id}", f"platform.runtimeDone {request_id}"]
    return [f"{request_id} {number}" for number in range(LINES)] + platform


def table(outcomes: list[Outcome]) -> str:
    """Render a Markdown table."""
    columns = [
        "Policy",
        "added after the response, median / p95",
        "events at the backend before the freeze",
        "requests",
        "lines lost",
        "events twice",
    ]
    rows = [
        f"| {' | '.join(columns)} |",
        "|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        ordered = sorted(outcome.overheads_ms)
        median, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
        share = sum(outcome.in_time) / (outcome.expected * outcome.invocations)
        lost = outcome.invocations * LINES - outcome.delivered
        rows.append(
            f"| `{outcome.policy}` | {median:.1f} / {p95:.1f} ms | {share:.1%} | {outcome.requests} | {lost} "
            f"| {outcome.twice} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure each policy, print the table, and put it into the page if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("invocations", type=int, nargs="?", default=500)
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/howto/flush-policy.md")
    options = parser.parse_args()
    where = measured(machine())
    outcomes = [anyio.run(measure, policy, options.invocations) for policy in POLICIES]
    title = f"{options.invocations} invocations of 20 ms each, a freeze after each, a backend that takes 5 ms."
    section = f"{title} {where}\n\n{table(outcomes)}"
    print(section)
    if options.write_docs:
        renew(DOCS / "howto" / "flush-policy.md", {"policies": section})


if __name__ == "__main__":
    main()
