"""What packaging does to a start: an extension as `lambda-extension package` makes it, and as it is; and the floor so.

`python -m benchmarks.packaged [ROUNDS]` prints a table: medians, all interleaved. It takes two seconds a round, after
half a minute in which the layers are made.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contestants import HERE, Contestant, base_environment, prepare
from benchmarks.measure import Figures, startup
from lambda_extension.packaging._layer import Plan, build
from lambda_extension.packaging._target import Target

_BARE = "bare"
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
    """Return the milliseconds in which this interpreter starts and ends, and does nothing in between."""
    started = time.perf_counter()
    subprocess.run([Path(sys.executable).resolve(), "-IS", "-c", ""], env=base_environment(), check=True)
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


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with packaged("library.py", environment=_OURS, early=True) as ours, packaged("floor.py", early=False) as floor:
        contestants = {
            "lambda-extension, packaged": ours,
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
    print(report(found))


if __name__ == "__main__":
    main()
