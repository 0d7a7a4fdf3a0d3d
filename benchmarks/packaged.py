"""What packaging does to a start: an extension as `lambda-extension package` makes it, and as it is; and the floor so.

`python -m benchmarks.packaged [ROUNDS] [--write-docs]` prints a table, medians of rounds in which all take turns, and
whether the goal is met; the option puts both into docs/benchmarks.md. It takes two seconds a round, 21 of them unless
said, after half a minute in which the layers are made.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import pages
from benchmarks.contestants import HERE, Contestant, base_environment, prepare
from benchmarks.measure import Figures, startup
from benchmarks.process import spawn
from lambda_extension.packaging._layer import Plan, build
from lambda_extension.packaging._target import Target

_BARE = "the bare interpreter, until its first statement"
_PACKAGED = "lambda-extension, packaged"
# Milliseconds from exec until the call that registers is on the wire.
_GOAL_MS = 25.0
_TITLES = {
    "register_ms": "registered",
    "next_ms": "asked for the first event",
    "startup_cpu_ms": "processor time of that",
}
_OURS = {"BENCH_BACKEND": "asyncio", "BENCH_SERVER": "direct"}


@contextmanager
def packaged(script: str, *, environment: Mapping[str, str] | None = None, early: bool) -> Iterator[Contestant]:
    """Make a layer of a contestant's script, and yield it as a contestant.

    Args:
        script: The name of a file among the contestants.
        environment: Variables that it needs.
        early: Whether the launcher registers; the stdlib's extension does so by itself.
    """
    target = Target(
        f"{sys.version_info.major}.{sys.version_info.minor}",
        "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64",
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "opt")
        root.mkdir()
        plan = Plan(
            script=HERE / script,
            name="bench",
            target=target,
            environment=environment or {},
            events=("SHUTDOWN",),
            early=early,
            lean=True,
        )
        build(plan, root, Path(folder, "meanwhile"))
        yield Contestant(
            name=f"packaged {script}",
            title=f"packaged {script}",
            # The interpreter itself, as in Lambda's image, and not that of a virtual environment.
            command=(str(Path(sys.executable).resolve()), "-IuS", str(root / "extensions" / "bench")),
            modes=frozenset({"telemetry"}),
        )


def bare() -> Figures:
    """Return the milliseconds until this interpreter runs the first statement of a script that imports nothing."""
    command = (str(Path(sys.executable).resolve()), "-IuS", "-c", "import posix; posix.write(1, b'.')")
    with tempfile.TemporaryFile("w+") as complaints:
        started, process = spawn(command, base_environment(), complaints)
        with process:
            assert process.stdout is not None
            process.stdout.read(1)
            return {"register_ms": (time.perf_counter() - started) * 1e3}


def report(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Return the medians as a table, with each time to register over that of the bare interpreter."""
    basis = statistics.median(found[_BARE]["register_ms"])
    head = ["", *(f"{title}, ms" for title in _TITLES.values()), "registered, by the bare interpreter's start"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for title, figures in found.items():
        cells = [f"{statistics.median(figures[key]):.1f}" if key in figures else "" for key in _TITLES]
        ratio = statistics.median(figures["register_ms"]) / basis
        lines.append(f"| {title} | {' | '.join(cells)} | {ratio:.2f} |")
    return "\n".join(lines)


def verdict(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Return the goal, what was measured, and whether it is met."""
    took = statistics.median(found[_PACKAGED]["register_ms"])
    ratio = took / statistics.median(found[_BARE]["register_ms"])
    measured = f"{took:.1f} ms, {ratio:.2f} x the bare interpreter's start"
    met = "met" if took <= _GOAL_MS else "**not met**"
    goal = f"the packaged extension has registered within {_GOAL_MS:.0f} ms of exec, in the median"
    return f"| goal | measured |  |\n| --- | --- | --- |\n| {goal} | {measured} | {met} |"


def measured(rounds: int) -> Mapping[str, Mapping[str, list[float]]]:
    """Run all contestants in turn, and return what was found of each."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with packaged("library.py", environment=_OURS, early=True) as ours, packaged("floor.py", early=False) as floor:
        contestants = {
            _PACKAGED: ours,
            "lambda-extension, as it is": prepare("asyncio-direct"),
            "stdlib only, packaged": floor,
            "stdlib only, as it is": prepare("floor"),
        }
        for _ in range(rounds):
            for key, value in bare().items():
                found[_BARE][key].append(value)
            for title, contestant in contestants.items():
                for key, value in startup(contestant).items():
                    found[title][key].append(value)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packaged", description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=21)
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    machine = pages.machine()
    found = measured(options.rounds)
    head = f"{pages.measured(machine)} Python {platform.python_version()}, {options.rounds} rounds."
    section = f"{head}\n\n{report(found)}\n\n{verdict(found)}"
    print(section)
    if options.write_docs:
        pages.renew(pages.DOCS / "benchmarks.md", {"packaged": section})


if __name__ == "__main__":
    main()
