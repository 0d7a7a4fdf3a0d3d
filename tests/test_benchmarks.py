"""The harness itself: batches, the fake Lambda, the goals, the report and its plots."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("benchmarks", reason="benchmarks are not part of the distribution")

from benchmarks import (
    __main__ as command,
    cold_start,
    contestants,
    corpus,
    goals,
    measure,
    packaged,
    pages,
    readme,
    report,
    svg,
)
from benchmarks.contestants import Contestant
from benchmarks.quota import NoQuotaError

FLOOR = Contestant(name="floor", title="floor", command=(sys.executable, str(contestants.HERE / "floor.py")))


def test_batches_hold_what_they_say_and_never_repeat() -> None:
    made = corpus.batches(40, kind="mixed", variants=3)
    bodies = [batch.request.partition(b"\r\n\r\n")[2] for batch in made]
    assert [len(json.loads(body)) for body in bodies] == [40, 40, 40]
    assert [batch.body_bytes for batch in made] == [len(body) for body in bodies]
    assert len(set(bodies)) == 3


def test_text_batches_have_no_object_as_log_record() -> None:
    assert any(
        isinstance(event["record"], dict) for event in corpus.events(20, kind="mixed") if event["type"] == "function"
    )
    assert not any(
        isinstance(event["record"], dict) for event in corpus.events(20, kind="text") if event["type"] == "function"
    )


def test_stdlib_extension_starts_takes_every_event_and_answers_invocations() -> None:
    found = measure.startup(FLOOR)
    assert 0 < found["up_ms"] < found["register_ms"] < found["subscribe_ms"] < found["next_ms"]
    stream = measure.throughput(FLOOR, "mixed", {20: 5})
    assert stream["mixed_20_events_per_s"] > 0
    assert stream["mixed_20_ack_p50_us"] <= stream["mixed_20_ack_p99_us"]
    added = measure.invocations(FLOOR, 10)
    assert added["invoke_idle_p50_us"] > 0
    assert added["invoke_flush_p50_us"] > 0


def test_a_whole_life_is_weighed_from_its_start_to_its_end() -> None:
    found = measure.life(FLOOR)
    assert 0 < found["life_first_ack_ms"] < found["life_start_to_ack_ms"]
    assert found["life_cpu_ms"] > 0
    assert found["life_peak_mib"] > 1


def test_a_quota_makes_a_start_slower_or_says_why_it_cannot() -> None:
    try:
        found = measure.small(FLOOR)
    except NoQuotaError as reason:
        pytest.skip(str(reason))
    assert 0 < found["quota_register_ms"] < found["quota_next_ms"]


def test_what_is_added_to_a_cold_start_is_measured_by_the_functions_own_init(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_start, "FUNCTION_INITS_MS", (0, 50))
    assert set(cold_start.cold_start(FLOOR)) == {"cold_start_0_ms", "cold_start_50_ms"}


def test_contestant_that_dies_is_told_with_what_it_wrote() -> None:
    broken = Contestant(name="broken", title="broken", command=(sys.executable, "-c", "raise SystemExit('no')"))
    run = _run()
    command._interleave([broken, FLOOR], 1, run, lambda one: measure.startup(one) if one is FLOOR else _fail(one))
    assert "next_ms" in run.results["floor"]
    assert list(run.skipped) == ["broken, in part"]


def test_goals_are_judged_only_where_measured() -> None:
    verdicts = {
        verdict.goal: verdict
        for verdict in goals.judge({"early": {"register_ms": 90.0}, "floor": {"register_ms": 40.0}})
    }
    register = verdicts["start to register, with early: at most 0.5 x the floor"]
    assert (register.met, register.measured) == (False, "2.25x")
    assert {verdict.met for goal, verdict in verdicts.items() if "throughput" in goal or "memory" in goal} == {None}


@pytest.mark.parametrize(("late", "holds"), [(1.05, True), (1.2, False)])
def test_growth_check_fails_when_cpu_per_event_grows(late: float, holds: bool) -> None:
    figures = {"growth_100000_cpu_us_per_event": 1.0, "growth_1000000_cpu_us_per_event": late}
    assert goals.growth_holds({"asyncio": figures}) is holds


def test_report_shows_ratios_and_draws_plots() -> None:
    run = _run()
    startup = {
        "up_ms": 10.0,
        "register_ms": 50.0,
        "subscribe_ms": 51.0,
        "next_ms": 52.0,
        "startup_cpu_ms": 50.0,
        "idle_mib": 20.0,
    }
    stream = {f"mixed_{size}_events_per_s": size * 1000.0 for size in report.SIZES}
    run.results = {
        "floor": startup | stream,
        "broken": {key: value * 2 for key, value in (startup | stream).items()},
    }
    page = report.markdown(run)
    assert "| broken | 100 ms (2.00) | 104 ms (2.00) |" in page
    for plot in report.plots(run).values():
        assert ET.fromstring(plot).tag.endswith("svg")


def test_plot_escapes_names() -> None:
    assert "a &lt; b" in svg.stacked_bars("t", "ms", {"a < b": {"x": 1.0}})


def test_the_longest_name_fits_into_a_plot_and_no_two_lines_look_alike() -> None:
    names = ["lambda-extension, asyncio, direct, delivery to an HTTP sink", *"abcdefghijkl"]
    bars = ET.fromstring(svg.stacked_bars("t", "ms", {name: {"x": 1.0} for name in names}))
    (label,) = [each for each in bars.findall(".//{*}text") if each.text == names[0]]
    assert float(label.attrib["x"]) >= 6.0 * len(names[0])
    lines = ET.fromstring(svg.lines("t", "u", [1, 10], {name: [1.0, 10.0] for name in names}))
    (label,) = [each for each in lines.findall(".//{*}text") if each.text == names[0]]
    assert float(label.attrib["x"]) + 6.0 * len(names[0]) <= float(lines.attrib["width"])
    looks = {(line.attrib["stroke"], line.get("stroke-dasharray")) for line in lines.findall(".//{*}polyline")}
    assert len(looks) == len(names)


def _fail(contestant: Contestant) -> dict[str, float]:
    raise TimeoutError(contestant.name)


def _run() -> report.Run:
    return report.Run(
        machine={
            "date": "today",
            "system": "s",
            "cpu": "c",
            "cores": "2",
            "load": "0",
            "commit": "a1b2c3d",
            "took": "9 minutes",
        },
        versions={"python": "3"},
        titles={"floor": "floor", "broken": "broken"},
        results={"floor": {}, "broken": {}},
        skipped={},
        imports={},
        settings={"rounds": 1},
    )


def test_the_page_is_renewed_with_when_and_where_and_what_stands_in_its_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    monkeypatch.setattr(readme, "write", lambda: None)
    page = tmp_path / "benchmarks.md"
    page.write_text(
        "# A\n<!-- figures: begin -->\nold\n<!-- figures: end -->\ntext\n<!-- server: begin --><!-- server: end -->\n"
    )
    run = _run()
    run.sections = {"server": "| µs |"}
    for _ in range(2):
        report.write_docs(run)
        text = page.read_text()
        assert "Measured today at commit a1b2c3d on c" in text
        assert "It took 9 minutes" in text
        assert "old" not in text
        assert text.endswith("text\n<!-- server: begin -->\n\n| µs |\n\n<!-- server: end -->\n")


def test_the_page_has_a_place_for_every_table_in_its_text() -> None:
    page = (pages.DOCS / "benchmarks.md").read_text()
    for name in ("figures", "packaged", "dependencies", "server", "batch"):
        assert page.count(f"<!-- {name}: begin -->") == page.count(f"<!-- {name}: end -->") == 1


STARTS = {
    packaged._BARE: {"register_ms": [10.0]},
    packaged._PACKAGED: {"register_ms": [30.0, 10.0, 20.0], "next_ms": [90.0], "startup_cpu_ms": [55.5]},
}


def test_the_table_of_packaged_starts_compares_with_the_bare_interpreter() -> None:
    lines = packaged.report(STARTS).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.partition(" | ")[2] for line in lines[2:]] == ["10.0 |  |  | 1.00 |", "20.0 | 90.0 | 55.5 | 2.00 |"]


@pytest.mark.parametrize(("took", "judged"), [(25.0, "met"), (25.1, "**not met**")])
def test_the_goal_of_a_packaged_start_is_judged_by_its_median(took: float, judged: str) -> None:
    found = {**STARTS, packaged._PACKAGED: {"register_ms": [1.0, took, 99.0]}}
    assert packaged.verdict(found).endswith(f"| {took} ms, {took / 10:.2f} x the bare interpreter's start | {judged} |")


def test_packaged_starts_are_put_into_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    monkeypatch.setattr(packaged, "measured", lambda rounds: STARTS)
    page = tmp_path / "benchmarks.md"
    page.write_text("text\n<!-- packaged: begin -->old<!-- packaged: end -->\nmore\n")
    packaged.main(["3"])
    assert "old" in page.read_text()
    packaged.main(["3", "--write-docs"])
    assert "old" not in page.read_text()
    assert "3 rounds.\n" in page.read_text()
    assert page.read_text().endswith("| met |\n\n<!-- packaged: end -->\nmore\n")


def test_the_bare_interpreter_is_timed_until_its_first_statement() -> None:
    assert packaged.bare()["register_ms"] > 0
