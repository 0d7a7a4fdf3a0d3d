"""Figures in pages are those that commands of the repository printed, and sentences say what the figures say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pages import ROOT

pytest.importorskip("benchmarks", reason="benchmarks are not part of the distribution")

from benchmarks import fleet
from benchmarks.pages import DOCS, renew, section
from benchmarks.readme import COLUMNS, ROWS, Row, figures, number, tables

BENCHMARKS = DOCS / "benchmarks.md"
# The pages whose figures a command renews, with the names of their places, and the command.
RENEWED = {
    "README.md": ({"figures"}, "benchmarks.readme"),
    "docs/benchmarks.md": ({"figures", "packaged", "dependencies", "server", "batch"}, "benchmarks"),
    "docs/explanation/guarantees.md": ({"hostile", "kills", "soak"}, "benchmarks.guarantees"),
    "docs/explanation/scale.md": ({"fleet", "arithmetic"}, "benchmarks.fleet"),
    "docs/howto/cold-start.md": ({"before register"}, "benchmarks.before_register"),
    "docs/howto/flush-policy.md": ({"policies"}, "benchmarks.flush_policies"),
}


def measured() -> dict[str, dict[str, Row]]:
    return tables("\n" + section(BENCHMARKS, "figures"))


def rows_of(beginning: str) -> dict[str, Row]:
    return next(rows for title, rows in measured().items() if title.startswith(beginning))


def table_of(page: Path, name: str) -> dict[str, list[str]]:
    """Return the cells of a table that stands in a page's text, by the first of each row."""
    lines = [line for line in section(page, name).splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def of(table: str, column: str, who: str) -> float:
    return number(rows_of(table)[who][column])


def test_the_figures_of_readme_are_those_of_the_benchmarks() -> None:
    assert section(ROOT / "README.md", "figures") == figures("\n" + section(BENCHMARKS, "figures"))


def test_the_figures_of_readme_have_each_row_and_follow_the_page() -> None:
    page = "\n" + section(BENCHMARKS, "figures")
    shown = figures(page)
    assert all(f"| {name} |" in shown for name, *_ in ROWS)
    register = rows_of("Start-up")["lambda-extension, asyncio"]["register"]
    assert figures(page.replace(register, "7654 ms (9.99)")) == shown.replace(register.partition(" (")[0], "7654 ms")
    assert len(shown.splitlines()[0].split(" | ")) == 1 + sum(title in rows_of("Start-up") for title in COLUMNS)


def test_readme_says_nothing_of_speed_but_in_the_figures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace(section(ROOT / "README.md", "figures"), "")
    ratio = (
        r"\b(?:twice|thrice|times the|(?:a|an|one) (?:half|third|quarter|fifth|eighth|tenth|twentieth) (?:of|the))\b"
    )
    assert re.findall(ratio + r"|\b[\d.]+ ?(?:µs|ms|MiB|x)\b(?! of)", text) == []


@pytest.mark.parametrize("page", RENEWED)
def test_the_places_of_figures_are_there_and_hold_some(page: str) -> None:
    names, command = RENEWED[page]
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- ([\w ]+): begin -->", text)) == names
    for name in names:
        assert text.count(f"<!-- {name}: begin -->") == text.count(f"<!-- {name}: end -->") == 1
        assert re.search(r"\d", section(ROOT / page, name)), name
    source = ROOT / f"{command.replace('.', '/')}.py"
    assert command == "benchmarks" or "renew(" in source.read_text(encoding="utf-8")


def test_no_other_page_has_such_a_place() -> None:
    pages = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    having = {path.relative_to(ROOT).as_posix() for path in pages if ": begin -->" in path.read_text(encoding="utf-8")}
    assert having == RENEWED.keys() - {"README.md"}


def test_a_place_that_is_not_there_is_said(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- one: begin --><!-- one: end -->")
    renew(page, {"one": "1"})
    assert section(page, "one") == "1"
    with pytest.raises(LookupError, match="no place for two"):
        renew(page, {"two": "2"})


def test_the_arithmetic_of_a_large_fleet_follows_from_what_was_measured() -> None:
    page = DOCS / "explanation" / "scale.md"
    said = section(page, "fleet")
    costs = [float(re.findall(unit, said)[0]) for unit in (r"(\d+) bytes compressed", r"(\d+) µs", r"(\d+) KiB")]
    assert section(page, "arithmetic") == fleet.arithmetic(*costs)


def test_the_report_of_a_fleet_and_its_arithmetic_say_what_was_counted() -> None:
    costs = fleet.Costs(
        environments=10,
        took=1.5,
        requests=50,
        lines=1_000,
        size=25_000,
        connections=8,
        seconds=0.01,
        idle=10,
        resident=12,
    )
    assert "a request: 20 lines, 500 bytes compressed" in fleet.report(costs)
    assert "8 connections, 200 µs of a core for a request" in fleet.report(costs)
    assert "256 KiB a connection" in fleet.report(costs)
    large = fleet.arithmetic(costs.request_bytes, costs.request_us, costs.connection_kib)
    assert "10,000 × 200 µs = 2.00 |" in large  # noqa: RUF001
    assert "= 2500 MiB" in large


SMALL, LARGE, IDLE = "Batches of 20 events", "Batches of 4,000 events", "Start-up and idle memory"
OURS, GO, RUST = "lambda-extension, asyncio", "Go, net/http", "Rust, lambda-extension"
SAMPLE, FLOOR = "Python, AWS sample's shape", "Python, stdlib only"


def microseconds(name: str, row: str, column: int) -> float:
    return number(table_of(BENCHMARKS, name)[row][column])


# Sentences that compare, and whether the figures say so too.
CLAIMS: Mapping[tuple[str, str], Callable[[], bool]] = {
    ("README.md", "a static binary that starts at once, in little memory"): lambda: (
        of(IDLE, "register", GO) < of(IDLE, "register", OURS) / 5 and of(IDLE, "idle", GO) < of(IDLE, "idle", OURS) / 2
    ),
    ("README.md", "the same, and faster still"): lambda: (
        of(IDLE, "register", RUST) <= of(IDLE, "register", GO)
        and of(SMALL, "events/s", RUST) > of(SMALL, "events/s", GO)
    ),
    ("README.md", "memory that is bounded while the consumer stalls"): lambda: (
        of("Flood", "peak over idle", SAMPLE) > 3 * of("Flood", "peak over idle", OURS)
    ),
    ("docs/howto/migrate-from-go.md", "Go starts sooner, and takes less memory"): lambda: (
        of(IDLE, "register", GO) < of(IDLE, "register", OURS) and of(IDLE, "idle", GO) < of(IDLE, "idle", OURS)
    ),
    ("docs/howto/migrate-from-go.md", "Of batches with many events Python decodes more in a second"): lambda: (
        of(LARGE, "events/s", OURS) > of(LARGE, "events/s", GO)
    ),
    ("docs/howto/migrate-from-rust.md", "a start of a few milliseconds, in a few MiB of memory"): lambda: (
        of(IDLE, "register", RUST) < 10 and of(IDLE, "idle", RUST) < 10
    ),
    ("docs/howto/server.md", "it answers in a third of the time"): lambda: (
        2.4 < microseconds("server", "hypercorn on asyncio", 0) / microseconds("server", "direct on asyncio", 0) < 4.2
    ),
    ("docs/benchmarks.md", "anyio and its loop take more than all that the floor imports"): lambda: (
        microseconds("dependencies", "anyio, its loop on asyncio", 0)
        > microseconds("dependencies", "the floor's imports", 0)
    ),
    ("docs/benchmarks.md", "much of the time in which a batch of 20 events is acknowledged"): lambda: (
        microseconds("server", "hypercorn on asyncio", 0) > 0.25 * of(SMALL, "ack p50", OURS)
    ),
    ("docs/benchmarks.md", "more than twice as fast as `json.loads`"): lambda: (
        microseconds("batch", "json.loads, for comparison", 2)
        > 2 * microseconds("batch", "decoding to typed events", 2)
    ),
    ("docs/benchmarks.md", "most of the time in which a batch of 4,000 events is taken in and read"): lambda: (
        sum(
            microseconds("batch", row, 2)
            for row in ("decoding to typed events", "counting what the receiver needs", "user code over the stream")
        )
        + microseconds("server", "hypercorn on asyncio", 2)
        > 0.5 * 4_000 / of(LARGE, "events/s", OURS) * 1e6
    ),
}


@pytest.mark.parametrize(("page", "sentence"), CLAIMS)
def test_the_figures_say_what_the_sentence_says(page: str, sentence: str) -> None:
    assert sentence in " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert CLAIMS[page, sentence]()
