"""What happened as spans on a time axis: for a page of its own, and in the Chrome trace format."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, final

import attrs

from lambda_extension.simulator._watching._plain import plain
from lambda_extension.simulator._watching._record import Entry, Finding

_LEGEND: Final = {
    "init": "init",
    "invoke": "invocation",
    "after": "extension work after the response",
    "delivery": "telemetry delivery",
    "freeze": "frozen",
    "shutdown": "shutdown",
    "mark": "fault or broken rule",
}


@attrs.frozen(kw_only=True)
class Span:
    """a stretch of time on a lane; a `mark` has no length.

    Attributes:
        lane: The participant: `platform`, `runtime`, an extension's name, or `telemetry to` one.
        kind: `init`, `invoke`, `after` (the response: what an extension adds), `delivery`, `freeze`, `shutdown`,
            `mark`.
        start: Epoch seconds of the simulation's clock.
        end: Likewise.
    """

    lane: str
    name: str
    kind: str
    start: float
    end: float
    detail: Mapping[str, Any] = attrs.field(factory=dict)


@final
class Timeline:
    """Gathers spans from the entries of a record: `Simulator(..., watch=timeline.add)`.

    Args:
        limit: Spans kept; later ones are counted in `left_out`.
    """

    def __init__(self, *, limit: int = 50_000) -> None:
        self.left_out: int = 0
        self._limit = limit
        self._spans: list[Span] = []
        # By lane and key: kind, name, start, detail.
        self._open: dict[tuple[str, str], tuple[str, str, float, dict[str, Any]]] = {}
        self._last = 0.0
        self._invocations = 0
        self._numbers: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """Take in an entry; entries that make no span are ignored."""
        self._last = max(self._last, entry.time)
        handler = getattr(self, f"_add_{entry.kind}", None)
        if handler is not None:
            handler(entry)

    def spans(self) -> list[Span]:
        """Return the spans by start, those still open up to the last entry."""
        still_open = [
            Span(lane=lane, name=name, kind=kind, start=start, end=self._last, detail=detail)
            for (lane, _), (kind, name, start, detail) in self._open.items()
        ]
        return sorted([*self._spans, *still_open], key=lambda span: (span.start, -span.end))

    # -- entries

    def _begin(self, entry: Entry, lane: str, key: str, kind: str, name: str, **detail: Any) -> None:
        self._open[lane, key] = (kind, name, entry.time, detail)

    def _end(self, entry: Entry, lane: str, key: str, **detail: Any) -> None:
        begun = self._open.pop((lane, key), None)
        if begun is not None:
            kind, name, start, known = begun
            self._keep(lane, name, kind, start, entry.time, {**known, **detail})

    def _keep(self, lane: str, name: str, kind: str, start: float, end: float, detail: Mapping[str, Any]) -> None:
        if len(self._spans) >= self._limit:
            self.left_out += 1
            return
        self._spans.append(Span(lane=lane, name=name, kind=kind, start=start, end=end, detail=detail))

    def _add_phase(self, entry: Entry) -> None:
        phase, _, edge = entry.what.rpartition("-")
        key = entry.detail.get("request_id", phase)
        if edge == "end":
            self._end(entry, "platform", key, **entry.detail)
            self._numbers.pop(key, None)
        elif phase == "invoke":
            self._invocations += 1
            self._numbers[key] = self._invocations
            self._begin(entry, "platform", key, "invoke", f"invocation {self._invocations}")
        else:
            self._begin(entry, "platform", key, phase, phase)

    def _add_freeze(self, entry: Entry) -> None:
        if entry.what == "freeze":
            self._begin(entry, "platform", "freeze", "freeze", "frozen")
        else:
            self._end(entry, "platform", "freeze")

    def _add_process(self, entry: Entry) -> None:
        if entry.what == "start":
            self._begin(entry, entry.who, "init", "init", "init", **entry.detail)
        else:
            for lane, key in [place for place in self._open if place[0] == entry.who]:
                self._end(entry, lane, key, **entry.detail)

    def _add_state(self, entry: Entry) -> None:
        if entry.what == "Ready":
            self._end(entry, entry.who, "init")
            self._end(entry, entry.who, "work")
        elif entry.what == "Running":
            shutdown = entry.detail["event"] == "SHUTDOWN"
            kind = "shutdown" if shutdown else "invoke"
            self._begin(entry, entry.who, "work", kind, "shutdown" if shutdown else "beside the function")

    def _add_event(self, entry: Entry) -> None:
        record = entry.detail["record"]
        if entry.what == "platform.initRuntimeDone":
            self._end(entry, "runtime", "init")
        elif entry.what == "platform.start":
            request_id = record["requestId"]
            name = f"invocation {self._numbers.get(request_id, '?')}"
            self._begin(entry, "runtime", request_id, "invoke", name, request_id=request_id)
        elif entry.what == "platform.runtimeDone":
            self._end(entry, "runtime", record["requestId"], status=record["status"])
            self._response(entry)
        elif entry.what == "platform.report":
            self._end(entry, "runtime", record["requestId"], status=record["status"])

    def _response(self, entry: Entry) -> None:
        """Split what extensions do beside the function from what they add to it."""
        working = [lane for (lane, key), span in self._open.items() if key == "work" and span[0] == "invoke"]
        for lane in working:
            self._end(entry, lane, "work")
            self._begin(entry, lane, "work", "after", "after the response")

    def _add_delivery(self, entry: Entry) -> None:
        start = entry.time - entry.detail["took_ms"] / 1000
        self._keep(f"telemetry to {entry.who}", entry.what, "delivery", start, entry.time, entry.detail)

    def _add_fault(self, entry: Entry) -> None:
        self._keep(entry.who, entry.what, "mark", entry.time, entry.time, entry.detail)

    _add_finding = _add_fault

    # -- formats

    def _rows(self) -> list[tuple[str, list[Span]]]:
        """Give each lane as many rows as it has spans at once; marks fit anywhere."""
        lanes: dict[str, list[list[Span]]] = {"platform": [], "runtime": []}
        ends: dict[str, list[float]] = {}
        for span in self.spans():
            rows, free = lanes.setdefault(span.lane, []), ends.setdefault(span.lane, [])
            fits = (number for number, end in enumerate(free) if end <= span.start or span.kind == "mark")
            number = next(fits, len(rows))
            if number == len(rows):
                rows.append([])
                free.append(span.end)
            rows[number].append(span)
            free[number] = max(free[number], span.end)
        named: list[tuple[str, list[Span]]] = []
        for lane, rows in lanes.items():
            named += [(lane if number == 0 else f"{lane} ({number + 1})", row) for number, row in enumerate(rows)]
        return named

    def trace(self) -> str:
        """Return the timeline in the Chrome trace format, which Perfetto and chrome://tracing open."""
        events: list[dict[str, Any]] = []
        rows = self._rows()
        start = min((row[0].start for _, row in rows), default=0.0)
        for number, (name, row) in enumerate(rows):
            about = {"pid": 1, "tid": number}
            events.append({"ph": "M", "name": "thread_name", "args": {"name": name}, **about})
            events.append({"ph": "M", "name": "thread_sort_index", "args": {"sort_index": number}, **about})
            for span in row:
                event = {
                    "name": span.name,
                    "cat": span.kind,
                    "ts": (span.start - start) * 1e6,
                    "args": dict(span.detail),
                }
                mark = (
                    {"ph": "i", "s": "t"} if span.kind == "mark" else {"ph": "X", "dur": (span.end - span.start) * 1e6}
                )
                events.append({**event, **mark, **about})
        return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, default=str)

    def html(
        self,
        title: str = "Timeline",
        *,
        figures: Sequence[tuple[str, str]] = (),
        findings: Sequence[Finding] = (),
    ) -> str:
        """Return one page that needs no network: the spans on a time axis, zoomable, details on hover.

        Args:
            title: Heading.
            figures: Labels and values to show above the axis.
            findings: Broken rules to show below it.
        """
        rows = self._rows()
        start = min((row[0].start for _, row in rows), default=0.0)
        data = {
            "title": plain(title),
            "figures": [[plain(label), plain(value)] for label, value in figures],
            "findings": [plain(_sentence(finding)) for finding in findings],
            "leftOut": self.left_out,
            "legend": _LEGEND,
            "rows": [
                {
                    "name": plain(name),
                    "spans": [
                        [
                            plain(span.name),
                            span.kind,
                            round((span.start - start) * 1000, 3),
                            round((span.end - span.start) * 1000, 3),
                            {key: plain(str(value)[:300]) for key, value in span.detail.items()},
                        ]
                        for span in row
                    ],
                }
                for name, row in rows
            ],
        }
        page = files("lambda_extension.simulator._watching").joinpath("timeline.html").read_text(encoding="utf-8")
        page = page.replace("/*POLICY*/", _policy(page))
        # A line of output may contain anything, the end of a script element too.
        return page.replace("/*DATA*/", json.dumps(data).replace("<", "\\u003c"))


def _sentence(finding: Finding) -> str:
    said = "" if finding.output is None else f" It said: {finding.output}"
    return f"{finding.who}: {finding.level}: {finding.message}{said} {finding.fix}"


def _policy(page: str) -> str:
    """Return a content security policy under which this page's own script and styles work, and nothing else."""
    script = page.partition("<script>")[2].partition("</script>")[0]
    style = page.partition("<style>")[2].partition("</style>")[0]
    return f"default-src 'none'; base-uri 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
