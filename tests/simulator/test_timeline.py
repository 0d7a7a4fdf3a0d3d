"""The timeline: spans from entries, and the page and trace that they make."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from simulator_kit import subscriber

from lambda_extension.simulator import Entry, Finding, ScriptedFunction, Simulator, Timeline

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def entry(time: float, kind: str, who: str, what: str, **detail: Any) -> Entry:
    return Entry(time=time, kind=kind, who=who, what=what, detail=detail)


def one_invocation(timeline: Timeline) -> None:
    for item in [
        entry(0.0, "phase", "platform", "init-start", phase="init"),
        entry(0.1, "process", "x", "start", pid=1),
        entry(0.3, "process", "runtime", "start", pid=2),
        entry(0.4, "event", "platform", "platform.initRuntimeDone", record={}),
        entry(0.5, "state", "x", "Ready"),
        entry(0.5, "phase", "platform", "init-end", status="success"),
        entry(0.6, "freeze", "platform", "freeze"),
        entry(0.9, "freeze", "platform", "thaw"),
        entry(1.0, "phase", "platform", "invoke-start", request_id="r"),
        entry(1.0, "event", "platform", "platform.start", record={"requestId": "r"}),
        entry(1.0, "state", "x", "Running", event="INVOKE"),
        entry(1.1, "output", "runtime", "line", text="ignored"),
        entry(1.2, "fault", "x", "kill"),
        entry(1.5, "event", "platform", "platform.runtimeDone", record={"requestId": "r", "status": "success"}),
        entry(1.6, "delivery", "x", "delivered", took_ms=50.0, items=2),
        entry(1.8, "state", "x", "Ready"),
        entry(1.8, "event", "platform", "platform.report", record={"requestId": "r", "status": "success"}),
        entry(1.8, "phase", "platform", "invoke-end", request_id="r", status="success"),
        entry(2.0, "phase", "platform", "shutdown-start", reason="spindown"),
        entry(2.0, "state", "x", "Running", event="SHUTDOWN"),
        entry(2.2, "process", "x", "exit", code=0),
        entry(2.3, "phase", "platform", "shutdown-end", used_ms=300.0),
    ]:
        timeline.add(item)


def test_entries_become_spans() -> None:
    timeline = Timeline()
    one_invocation(timeline)
    found = {(span.lane, span.kind): (span.name, round(span.start, 3), round(span.end, 3)) for span in timeline.spans()}
    assert found == {
        ("platform", "init"): ("init", 0.0, 0.5),
        ("x", "init"): ("init", 0.1, 0.5),
        ("runtime", "init"): ("init", 0.3, 0.4),
        ("platform", "freeze"): ("frozen", 0.6, 0.9),
        ("platform", "invoke"): ("invocation 1", 1.0, 1.8),
        ("runtime", "invoke"): ("invocation 1", 1.0, 1.5),
        ("x", "invoke"): ("beside the function", 1.0, 1.5),
        ("x", "mark"): ("kill", 1.2, 1.2),
        ("x", "after"): ("after the response", 1.5, 1.8),
        ("telemetry to x", "delivery"): ("delivered", 1.55, 1.6),
        ("platform", "shutdown"): ("shutdown", 2.0, 2.3),
        ("x", "shutdown"): ("shutdown", 2.0, 2.2),
    }


def test_what_has_not_ended_lasts_until_now() -> None:
    timeline = Timeline()
    timeline.add(entry(1.0, "phase", "platform", "init-start", phase="init"))
    timeline.add(entry(3.0, "call", "x", "POST /register"))
    (span,) = timeline.spans()
    assert (span.start, span.end) == (1.0, 3.0)


def test_spans_beyond_the_limit_are_counted() -> None:
    timeline = Timeline(limit=2)
    one_invocation(timeline)
    assert len(timeline.spans()) == 2
    assert timeline.left_out == 10
    assert '"leftOut": 10' in timeline.html()


def test_spans_at_once_get_rows_of_their_own() -> None:
    timeline = Timeline()
    for request_id in ("a", "b"):
        timeline.add(entry(1.0, "event", "platform", "platform.start", record={"requestId": request_id}))
    for request_id in ("a", "b"):
        timeline.add(
            entry(2.0, "event", "platform", "platform.report", record={"requestId": request_id, "status": "success"})
        )
    timeline.add(entry(2.0, "event", "platform", "platform.start", record={"requestId": "c"}))
    names = [row for row, _ in timeline._rows()]
    assert names == ["runtime", "runtime (2)"]


def test_the_trace_has_microseconds_and_named_rows() -> None:
    timeline = Timeline()
    one_invocation(timeline)
    events = json.loads(timeline.trace())["traceEvents"]
    rows = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert rows == {"platform", "runtime", "x", "telemetry to x"}
    (after,) = (event for event in events if event.get("cat") == "after")
    assert after["ph"] == "X"
    assert after["ts"] == pytest.approx(1_500_000)
    assert after["dur"] == pytest.approx(300_000)
    (mark,) = (event for event in events if event.get("cat") == "mark")
    assert mark["ph"] == "i"


def test_an_empty_timeline_is_a_page_and_a_trace_too() -> None:
    assert "<canvas" in Timeline().html()
    assert json.loads(Timeline().trace())["traceEvents"] == []


def test_output_cannot_break_out_of_the_page() -> None:
    timeline = Timeline()
    timeline.add(entry(0.0, "fault", "x", "</script><script>alert(1)", text="</script>"))
    page = timeline.html("</script>", findings=[Finding(who="x", rule="r", message="<b>", fix="</script>")])
    assert page.count("</script>") == 2


def test_what_a_page_or_terminal_would_obey_is_escaped() -> None:
    timeline = Timeline()
    timeline.add(entry(0.0, "fault", "x", "\u202efault\x1b[31m", text="\ta\ud800\u200db"))
    found = Finding(who="x", rule="r", message="\u2066m", fix="f", output="\x07said")
    page = timeline.html("\x9btitle", figures=[("l", "\u2028")], findings=[found])
    shown = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert shown["title"] == "\\x9btitle"
    assert shown["figures"] == [["l", "\\u2028"]]
    assert shown["findings"] == ["x: error: \\u2066m It said: \\x07said f"]
    (row,) = [row for row in shown["rows"] if row["name"] == "x"]
    assert row["spans"][0][0] == "\\u202efault\\x1b[31m"
    assert row["spans"][0][4]["text"] == "    a\\ud800\u200db"


async def test_a_simulation_can_be_watched() -> None:
    timeline = Timeline()
    extension = subscriber("x", [], events=("INVOKE", "SHUTDOWN"))
    async with Simulator([extension], ScriptedFunction(latency=0.01), watch=timeline.add) as lambda_:
        await lambda_.invoke_many(2)
    names = sorted(span.name for span in timeline.spans() if span.lane == "platform")
    assert names == ["init", "invocation 1", "invocation 2", "shutdown"]


# What a user does with the page: zoom in at the invocation, then hover over what the extension added.
DRIVE = """
const box = canvas.getBoundingClientRect();
const at = (ms, row) => (
  { clientX: box.left + x(ms), clientY: box.top + AXIS + ROW * row + ROW / 2, bubbles: true, pointerId: 1 }
);
canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, cancelable: true, ...at(1650, 2) }));
document.body.dataset.zoomed = Math.round(to - from);
canvas.dispatchEvent(new PointerEvent("pointermove", at(1650, 2)));
document.body.dataset.tip = tip.textContent;
byId("all").click();
document.body.dataset.all = Math.round(to - from);
"""


def with_script(page: str, script: str) -> str:
    """Add a script of the test's own to a page, and to what its policy allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    return allowed.replace("</html>", f"<script>{script}</script></html>")


def browser() -> list[str]:
    assert CHROMIUM is not None, "CI must install Chromium: nox -s browser does"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,500", "--enable-logging=stderr"]
    return [CHROMIUM, *options]


def dumped(page: Path) -> tuple[str, str]:
    """Return what a browser makes of a page, and the lines of its console."""
    done = subprocess.run([*browser(), "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CHROMIUM_REQUIRED"), reason="no Chromium is installed"
)

HOSTILE = (
    "<img src=x onerror=document.body.dataset.owned=1><script>document.body.dataset.owned=1</script>\x1b[31m\u202eabc"
)


@pytest.mark.browser
@needs_chromium
def test_hostile_text_is_shown_as_text_in_a_browser(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.add(entry(0.0, "fault", HOSTILE, HOSTILE, text=HOSTILE))
    timeline.add(entry(1.0, "phase", "platform", "init-start", phase="init"))
    found = Finding(who=HOSTILE, rule="r", message=HOSTILE, fix=HOSTILE, output=HOSTILE)
    page = tmp_path / "timeline.html"
    page.write_text(timeline.html(HOSTILE, figures=[(HOSTILE, HOSTILE)], findings=[found]))
    dom, complaints = dumped(page)
    assert complaints == ""
    assert "data-owned" not in dom.partition("<script")[0]
    assert "&lt;img src=x onerror=" in dom
    assert "\\x1b[31m\\u202eabc" in dom
    assert "\x1b" not in dom
    assert "\u202e" not in dom


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize(
    "planted",
    ["<script>document.body.dataset.owned=1</script>", "<p onclick=x() id=p></p><img src=http://127.0.0.1:1/x>"],
)
def test_the_policy_of_the_page_lets_nothing_else_run_or_load(planted: str, tmp_path: Path) -> None:
    page = tmp_path / "timeline.html"
    page.write_text(Timeline().html().replace("</html>", planted + "</html>"))
    dom, complaints = dumped(page)
    assert 'data-owned="1"' not in dom
    assert "Content Security Policy" in complaints


@pytest.mark.browser
@needs_chromium
def test_the_page_draws_zooms_and_tells_details_in_a_browser(tmp_path: Path) -> None:
    timeline = Timeline()
    one_invocation(timeline)
    page, picture = tmp_path / "timeline.html", tmp_path / "timeline.png"
    page.write_text(with_script(timeline.html("x", figures=[("init", "500 ms")]), DRIVE))
    command = browser()
    dom, complaints = dumped(page)
    assert complaints == ""
    assert 'data-drawn="12"' in dom
    assert 'data-zoomed="1895"' in dom
    assert 'data-all="2369"' in dom
    assert "after the response (extension work after the response)\nfrom 1.500 s, 300 ms long" in dom
    assert ">500 ms</b>" in dom
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=60)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
