"""What happened in a simulation: bounded list of entries, counts of all, findings."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, final

import anyio
import attrs

from lambda_extension.simulator._watching._clock import Clock

Level: TypeAlias = Literal["error", "warning", "note"]

_RULING: Final = re.compile(r"[\W_]*")


@attrs.frozen(kw_only=True)
class Entry:
    """One thing that happened.

    Attributes:
        time: Epoch seconds of the simulation's clock.
        kind: `call`, `state`, `event`, `delivery`, `process`, `output`, `phase`, `freeze`, `fault` or `finding`.
        who: The participant (`platform`, `runtime`, or an extension's name).
        what: The call, state, event type or action.
        detail: Everything else.
    """

    time: float
    kind: str
    who: str
    what: str
    detail: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Finding:
    """A rule that a participant broke: one sentence, and what to do about it.

    Attributes:
        who: The participant.
        rule: Short name of the rule.
        message: What was seen.
        fix: What to do about it.
        level: `error`, it fails on Lambda; `warning`, it costs something or may fail; `note`, good to know.
        output: The last line of the participant's output that says something, where that explains the finding.
    """

    who: str
    rule: str
    message: str
    fix: str
    level: Level = "error"
    output: str | None = None


@final
class Record:
    """Everything that happened, the newest `limit` entries of it; counts cover all.

    Attributes:
        counts: How often each `(kind, what)` happened, discarded entries included.
        discarded: Entries that no longer fit.
        findings: Rules broken, each once per participant.
    """

    def __init__(self, clock: Clock, *, limit: int = 20_000, watch: Callable[[Entry], object] | None = None) -> None:
        self._clock = clock
        self._watch = watch
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._changed: anyio.Event | None = None
        self.counts: Counter[tuple[str, str]] = Counter()
        self.discarded: int = 0
        self.findings: list[Finding] = []
        self._words: dict[str, str] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, kind: str, who: str, what: str, **detail: Any) -> None:
        """Append an entry; the oldest makes room."""
        if len(self._entries) == self._entries.maxlen:
            self.discarded += 1
        self.counts[kind, what] += 1
        if kind == "output" and not _RULING.fullmatch(detail["text"]):
            self._words[who] = detail["text"]
        entry = Entry(time=self._clock.time(), kind=kind, who=who, what=what, detail=detail)
        self._entries.append(entry)
        if self._watch is not None:
            self._watch(entry)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def find(self, kind: str, what: str | None = None, *, who: str | None = None) -> list[Entry]:
        """Return the kept entries of that kind, action and participant, oldest first."""
        return [
            entry
            for entry in self._entries
            if entry.kind == kind and what in (None, entry.what) and who in (None, entry.who)
        ]

    def events(self, type_: str | None = None) -> list[Mapping[str, Any]]:
        """Return the telemetry records emitted, of one type or of all, oldest first."""
        return [entry.detail["record"] for entry in self.find("event", type_)]

    def last_words(self, who: str) -> str | None:
        """Return the last line that a participant wrote, other than rulings such as `+-----`, without its frame."""
        words = self._words.get(who)
        return None if words is None else words.strip().removeprefix("|").strip()

    def finding(
        self, who: str, rule: str, message: str, *, fix: str, level: Level = "error", output: str | None = None
    ) -> None:
        """Note a broken rule, once per participant and rule."""
        if any(known.who == who and known.rule == rule for known in self.findings):
            return
        self.findings.append(Finding(who=who, rule=rule, message=message, fix=fix, level=level, output=output))
        self.add("finding", who, rule, message=message, fix=fix, level=level)

    async def wait_for(self, predicate: Callable[[Record], bool], *, within: float = 5.0) -> None:
        """Block until `predicate(record)` holds; it is asked again after each new entry.

        Raises:
            TimeoutError: It did not hold within `within` seconds.
        """
        with anyio.fail_after(within):
            while not predicate(self):
                changed = self._changed = self._changed or anyio.Event()
                await changed.wait()

    def story(self, *, last: int = 200) -> str:
        """Return the newest entries as readable lines, one per entry, times in ms since the first."""
        entries = tuple(self._entries)
        if not entries:
            return "nothing happened\n"
        shown, start = entries[-last:], entries[0].time
        lines = [f"({len(entries) - len(shown) + self.discarded} earlier entries left out)"]
        if len(shown) == len(entries) and not self.discarded:
            lines.clear()
        for entry in shown:
            detail = " ".join(f"{key}={value!r:.200}" for key, value in entry.detail.items())
            elapsed = (entry.time - start) * 1000
            lines.append(f"{elapsed:10.1f} ms  {entry.kind:8} {entry.who:16} {entry.what}  {detail}")
        return "\n".join(lines) + "\n"
