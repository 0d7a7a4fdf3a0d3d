"""The command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from benchmarks import batch, dependencies, goals, measure, pages, report, server
from benchmarks.cold_start import cold_start
from benchmarks.contestants import NAMES, OURS, Contestant, UnavailableError, prepare, versions
from benchmarks.quota import NoQuotaError, quota

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("startup", "life", "quota", "cold-start", "throughput", "invoke", "memory", "growth", "imports", "limits")


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured."""

    startups: int
    rounds: int
    plan: dict[int, int]
    invocations: int
    growth: list[int]


FULL = Scale(
    startups=15,
    rounds=5,
    plan={20: 3000, 1000: 200, 4000: 60},
    invocations=300,
    growth=[10**4, 10**5, 10**6],
)
QUICK = Scale(startups=5, rounds=1, plan={20: 1000, 1000: 60, 4000: 15}, invocations=60, growth=[10**4, 10**5])
LONGEST = 10**7


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; return 1 if --check found growth, 0 otherwise."""
    options = _parse(arguments)
    scale = QUICK if options.quick else FULL
    if options.check or options.long:
        counts = [*FULL.growth, *([LONGEST] if options.long else [])]
        scale = attrs.evolve(scale, growth=counts)
    run = report.Run(
        machine=pages.machine(),
        versions={},
        titles={},
        results={},
        skipped={},
        imports={},
        settings={"quick": options.quick, "start-ups": scale.startups, "rounds": scale.rounds},
    )
    contestants = _prepare(options.contestants, run, options.go_module)
    # The driver must not be the one that pauses: its garbage is next to nothing.
    gc.disable()
    started = time.monotonic()
    for part in options.only:
        _say(f"measuring {part}")
        _PARTS[part](contestants, scale, run)
    run.machine["took"] = f"{(time.monotonic() - started) / 60:.0f} minutes"
    run.versions = versions()
    _print(run)
    if options.json:
        options.json.write_text(json.dumps(attrs.asdict(run), indent=2) + "\n")
    if options.write_docs:
        report.write_docs(run)
    if options.check and not goals.growth_holds(run.results):
        _say("CPU per event grows with the number of events")
        return 1
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: a look, not a measurement")
    parser.add_argument("--long", action="store_true", help="growth up to 10^7 events")
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit 1 if CPU per event grows from 10^5 to 10^6 events",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found")
    parser.add_argument("--write-docs", action="store_true", help="put the figures and plots into docs/ and README")
    parser.add_argument("--go-module", type=Path, metavar="DIR", help="a checkout of the Go module")
    parser.add_argument("--only", type=_choice(PARTS), default=list(PARTS), metavar=",".join(PARTS))
    parser.add_argument("--contestants", type=_choice(NAMES), default=list(NAMES), metavar=",".join(NAMES))
    return parser.parse_args(arguments)


def _choice(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in allowed]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} not among {', '.join(allowed)}")
        return chosen

    return parse


def _prepare(names: list[str], run: report.Run, go_module: Path | None) -> list[Contestant]:
    ready = []
    for name in names:
        try:
            contestant = prepare(name, go_module=go_module)
        except UnavailableError as reason:
            run.skipped[name] = str(reason)
            _say(f"skipping {name}: {reason}")
            continue
        ready.append(contestant)
        run.titles[name] = contestant.title
        run.results[name] = {}
    return ready


def _interleave(
    contestants: list[Contestant],
    rounds: int,
    run: report.Run,
    take: Callable[[Contestant], measure.Figures],
) -> None:
    """Run every contestant in turn, several times round, and keep the median of each figure."""
    found: dict[str, dict[str, list[float]]] = {contestant.name: defaultdict(list) for contestant in contestants}
    able = list(contestants)
    for _ in range(rounds):
        for contestant in list(able):
            try:
                figures = take(contestant)
            # One that breaks must not take the others' figures with it.
            except Exception as error:  # noqa: BLE001
                able.remove(contestant)
                run.skipped[f"{contestant.title}, in part"] = str(error)
                _say(f"{contestant.name} dropped out: {error!r} {getattr(error, '__notes__', '')}")
                continue
            for key, value in figures.items():
                found[contestant.name][key].append(value)
        # Nobody always follows the same one.
        able.append(able.pop(0)) if able else None
    for name, samples in found.items():
        run.results[name] |= {key: statistics.median(values) for key, values in samples.items()}


def _startup(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    _interleave(contestants, scale.startups, run, measure.startup)


def _life(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    _interleave(contestants, scale.startups, run, measure.life)


def _quota(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    try:
        with quota(0.1):
            pass
    except NoQuotaError as reason:
        run.skipped["start-up under a processor quota"] = str(reason)
        _say(f"skipping quota: {reason}")
        return
    _interleave(contestants, min(scale.rounds, 3), run, measure.small)


def _cold_start(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    chosen = [contestant for contestant in contestants if contestant.name in (*OURS, "floor")]
    _interleave(chosen, min(scale.rounds, 3), run, cold_start)


def _throughput(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    contestants = [contestant for contestant in contestants if contestant.counts]
    able = [contestant for contestant in contestants if contestant.json_records]
    _interleave(
        able,
        scale.rounds,
        run,
        lambda contestant: measure.throughput(contestant, "mixed", scale.plan),
    )
    _interleave(
        contestants,
        scale.rounds,
        run,
        lambda contestant: measure.throughput(contestant, "text", scale.plan),
    )


def _invoke(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    able = [contestant for contestant in contestants if "idle" in contestant.modes]
    _interleave(
        able,
        scale.rounds,
        run,
        lambda contestant: measure.invocations(contestant, scale.invocations),
    )


def _memory(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    contestants = [contestant for contestant in contestants if contestant.counts]
    _interleave(contestants, min(scale.rounds, 2), run, measure.flood)
    ours = [contestant for contestant in contestants if contestant.name in OURS]
    for buffered in (1, 4, 16):

        def take(contestant: Contestant, buffered: int = buffered) -> measure.Figures:
            found = measure.flood(contestant, buffered=buffered)
            return {f"buffered_{buffered}_over_idle_mib": found["flood_over_idle_mib"]}

        _interleave(ours, 1, run, take)


def _growth(contestants: list[Contestant], scale: Scale, run: report.Run) -> None:
    chosen = [contestant for contestant in contestants if contestant.name in (*OURS, "floor")]
    _interleave(
        chosen,
        min(scale.rounds, 2),
        run,
        lambda contestant: measure.growth(contestant, scale.growth),
    )


def _imports(contestants: list[Contestant], _: Scale, run: report.Run) -> None:
    if any(contestant.name in OURS for contestant in contestants):
        run.imports = measure.imports()


def _limits(_: list[Contestant], __: Scale, run: report.Run) -> None:
    """Measure what a limit of the goals is made of; `write_docs` puts it beside what the page says of it."""
    for name, module in (("dependencies", dependencies), ("server", server), ("batch", batch)):
        run.sections[name] = "\n".join(module.lines())


_PARTS: dict[str, Callable[[list[Contestant], Scale, report.Run], None]] = {
    "startup": _startup,
    "life": _life,
    "quota": _quota,
    "cold-start": _cold_start,
    "throughput": _throughput,
    "invoke": _invoke,
    "memory": _memory,
    "growth": _growth,
    "imports": _imports,
    "limits": _limits,
}


def _print(run: report.Run) -> None:
    try:
        from rich.console import Console  # late: plain text will do where rich is missing
        from rich.table import Table
    except ImportError:
        print(report.markdown(run))
        return
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "150"))
    console = Console(width=width)
    console.print(
        f"{run.machine['cpu']}, {run.machine['cores']} cores, load {run.machine['load']}, {run.machine['date']}"
    )
    for table in report.tables(run):
        shown = Table(title=table.title, title_justify="left")
        for index, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if index == 0 else "right")
        for row in table.rows:
            shown.add_row(*(cell.replace("**", "") for cell in row))
        console.print(shown)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
