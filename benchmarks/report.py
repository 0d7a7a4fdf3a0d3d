"""What is shown: tables for the terminal, JSON, and the page docs/benchmarks.md with its plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from benchmarks import pages, readme, svg
from benchmarks.cold_start import FUNCTION_INITS_MS
from benchmarks.goals import judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Results = dict[str, dict[str, float]]
SIZES = (20, 1000, 4000)


@attrs.define(kw_only=True)
class Run:
    """Everything that one run of the benchmarks found.

    Attributes:
        machine: What it ran on, and when.
        versions: What was compared, and by what it was built.
        titles: The contestants' names in tables.
        results: Their figures.
        skipped: What was not measured, and why.
        imports: Milliseconds by package.
        settings: How much was measured.
        sections: The tables of docs/benchmarks.md that stand in its text, by the name of their place.
    """

    machine: dict[str, str]
    versions: dict[str, str]
    titles: dict[str, str]
    results: Results
    skipped: dict[str, str]
    imports: dict[str, dict[str, float]]
    settings: dict[str, object]
    sections: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Table:
    """A table of figures: a row per contestant."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


_STARTUP = (
    ("register", "register_ms", "{:.0f} ms"),
    ("first next", "next_ms", "{:.0f} ms"),
    ("CPU", "startup_cpu_ms", "{:.0f} ms"),
    ("idle", "idle_mib", "{:.1f} MiB"),
)
_LIFE = (
    ("first ack", "life_first_ack_ms", "{:.1f} ms"),
    ("start to ack", "life_start_to_ack_ms", "{:.0f} ms"),
    ("CPU of the life", "life_cpu_ms", "{:.0f} ms"),
    ("peak", "life_peak_mib", "{:.1f} MiB"),
)
_QUOTA = (
    ("register", "quota_register_ms", "{:.0f} ms"),
    ("first next", "quota_next_ms", "{:.0f} ms"),
)
_COLD_START = tuple((f"function's init {init} ms", f"cold_start_{init}_ms", "{:.0f} ms") for init in FUNCTION_INITS_MS)
_INVOKE = (
    ("idle p50", "invoke_idle_p50_us", "{:.0f} µs"),
    ("p99", "invoke_idle_p99_us", "{:.0f} µs"),
    ("waits for runtimeDone p50", "invoke_flush_p50_us", "{:.0f} µs"),
    ("p99", "invoke_flush_p99_us", "{:.0f} µs"),
)
_FLOOD = (
    ("idle", "flood_idle_mib", "{:.1f} MiB"),
    ("peak over idle", "flood_over_idle_mib", "{:.1f} MiB"),
    ("batches taken", "flood_accepted", "{:.0f}"),
)


def tables(run: Run) -> list[Table]:
    """Return the tables of a run, those with figures in them."""
    made = [_table(run, "Start-up and idle memory (telemetry subscribed)", _STARTUP)]
    made.append(_table(run, "A whole life with one batch of 20 events", _LIFE, ratios=4))
    made.append(_table(run, "Start-up with a tenth of a processor", _QUOTA))
    made.append(_table(run, "Added to a cold start (simulator, a function that sleeps)", _COLD_START, ratios=0))
    for kind, note in (
        ("mixed", "JSON log records as objects"),
        ("text", "JSON log records as strings"),
    ):
        for size in SIZES:
            prefix = f"{kind}_{size}_"
            columns = (
                ("events/s", prefix + "events_per_s", "{:,.0f}"),
                ("MB/s", prefix + "mb_per_s", "{:.0f}"),
                ("ack p50", prefix + "ack_p50_us", "{:,.0f} µs"),
                ("ack p99", prefix + "ack_p99_us", "{:,.0f} µs"),
                ("CPU s per 10⁶", prefix + "cpu_s_per_million", "{:.2f}"),
                ("resident", prefix + "rss_mib", "{:.0f} MiB"),
            )
            made.append(_table(run, f"Batches of {size:,} events, {note}", columns))
    made.append(_table(run, "Time from INVOKE to the next call of next", _INVOKE))
    made.append(_table(run, "Flood of 4,000-event batches while user code stalls", _FLOOD))
    made.append(_buffered(run))
    made.append(_growth(run))
    made.append(_imports(run))
    verdicts = judge(run.results)
    word = {True: "met", False: "**not met**", None: "-"}
    if any(verdict.met is not None for verdict in verdicts):
        made.append(
            Table(
                "Goals",
                ("goal", "measured", ""),
                [(v.goal, v.measured, word[v.met]) for v in verdicts],
            )
        )
    return [table for table in made if table.rows]


def _table(run: Run, title: str, columns: Sequence[tuple[str, str, str]], *, ratios: int = 2) -> Table:
    baseline = run.results.get("floor", {})
    rows = []
    for name, figures in run.results.items():
        if not any(key in figures for _, key, _ in columns):
            continue
        cells = []
        for index, (_, key, form) in enumerate(columns):
            cell = form.format(figures[key]) if key in figures else "-"
            # The ratio to the floor where it reads well: the first figures of a row.
            if index < ratios and key in figures and baseline.get(key):
                cell += f" ({figures[key] / baseline[key]:.2f})"
            cells.append(cell)
        rows.append((run.titles[name], *cells))
    return Table(
        title + ("; in brackets the ratio to the stdlib floor" if ratios else ""),
        ("", *(title for title, _, _ in columns)),
        rows,
    )


def _buffered(run: Run) -> Table:
    limits = sorted(
        {int(key.split("_")[1]) for figures in run.results.values() for key in figures if key.startswith("buffered_")}
    )
    rows = [
        (
            run.titles[name],
            *(f"{figures[f'buffered_{limit}_over_idle_mib']:.1f} MiB" for limit in limits),
        )
        for name, figures in run.results.items()
        if limits and f"buffered_{limits[0]}_over_idle_mib" in figures
    ]
    return Table("Peak over idle in that flood, by max_buffered_batches", ("", *map(str, limits)), rows)


def _growth(run: Run) -> Table:
    counts = sorted(
        {int(key.split("_")[1]) for figures in run.results.values() for key in figures if key.startswith("growth_")}
    )
    rows = []
    for name, figures in run.results.items():
        if any(key.startswith("growth_") for key in figures):
            cells = [
                f"{figures[f'growth_{count}_cpu_us_per_event']:.2f} µs, {figures[f'growth_{count}_rss_mib']:.0f} MiB"
                for count in counts
            ]
            rows.append((run.titles[name], *cells))
    return Table(
        "CPU per event and resident memory by number of events",
        ("", *(f"{count:,}" for count in counts)),
        rows,
    )


def _imports(run: Run) -> Table:
    names = list(dict.fromkeys(name for found in run.imports.values() for name in list(found)[:12]))
    rows = [(name, *(f"{found.get(name, 0.0):.1f}" for found in run.imports.values())) for name in names]
    if rows:
        rows.append(("all", *(f"{sum(found.values()):.1f}" for found in run.imports.values())))
    return Table(
        "Import time by package, ms (-X importtime, itself a burden of a quarter)",
        ("", *run.imports),
        rows,
    )


def markdown(run: Run) -> str:
    """Return the figures of docs/benchmarks.md."""
    out = [
        f"{pages.measured(run.machine)} It took {run.machine['took']}. {_sentence(run.settings)}.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in run.versions.items()) + ".",
        "",
    ]
    out += [f"Skipped: {name} ({reason})." for name, reason in run.skipped.items()] + [""]
    for table in tables(run):
        out += [f"### {table.title}", "", _line(table.columns), _line(["---"] * len(table.columns))]
        out += [_line(row) for row in table.rows] + [""]
    return "\n".join(out)


def _sentence(settings: Mapping[str, object]) -> str:
    return "Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_docs(run: Run) -> None:
    """Replace the figures in docs/benchmarks.md, those in its text too, the plots beside it, and README's figures."""
    pages.renew(pages.DOCS / "benchmarks.md", {"figures": markdown(run), **run.sections})
    for name, plot in plots(run).items():
        (pages.DOCS / name).write_text(plot)
    readme.write()


def plots(run: Run) -> dict[str, str]:
    """Return the plots by file name, as far as the run has their figures."""
    made = {}
    keys = [f"mixed_{size}_events_per_s" for size in SIZES]
    series = {
        run.titles[name]: [figures[key] for key in keys]
        for name, figures in run.results.items()
        if all(key in figures for key in keys)
    }
    if series:
        title = "Events a second to user code, against batch size"
        made["benchmarks-throughput.svg"] = svg.lines(title, "events in a batch", SIZES, series)
    bars = {run.titles[name]: _startup_parts(figures) for name, figures in run.results.items() if "next_ms" in figures}
    if bars:
        made["benchmarks-startup.svg"] = svg.stacked_bars("From process start to the first call of next", "ms", bars)
    return made


def _startup_parts(figures: Mapping[str, float]) -> dict[str, float]:
    up = figures.get("up_ms", 0.0)
    return {
        "interpreter": up,
        "imports and register": figures["register_ms"] - up,
        "listen and subscribe": figures["subscribe_ms"] - figures["register_ms"],
        "until next": figures["next_ms"] - figures["subscribe_ms"],
    }
