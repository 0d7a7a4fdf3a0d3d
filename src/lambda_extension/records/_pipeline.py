"""`Pipeline`: transforms one after the other, and an account of what they left out and where they failed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, final

from lambda_extension.records._correlator import Record
from lambda_extension.records._record import LogRecord
from lambda_extension.records._reports import InvocationReport
from lambda_extension.records._sampling import Sample
from lambda_extension.records._transforms import Named, Transform, named

logger = logging.getLogger("lambda_extension.records")

_OBSERVED = frozenset({"platform", "report"})


@final
class Pipeline:
    """Applies transforms to records, in the order in which they are given.

    A transform that raises costs its record nothing: it goes on untouched, or is left out where the transform says so
    (`named(…, on_failure="drop")`; redaction does). Each kind of failure is logged once, with its traceback.

    Args:
        transforms: Functions from a record to a record, to several, or to none.

    Attributes:
        filtered: How many records each transform has left out, by its name.
        failed: How often each has raised, by its name.
        lost: How many records were left out because a transform raised.

    Raises:
        TypeError: One of the transforms is no plain function.
    """

    def __init__(self, transforms: Iterable[Transform | Sample] = ()) -> None:
        self.filtered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.lost: int = 0
        # What one pipeline keeps back must not leave by another that was given the same list.
        self._steps = [each.anew() if isinstance(each, Sample) else named(each) for each in transforms]
        self._samples = [(index, each) for index, each in enumerate(self._steps) if isinstance(each, Sample)]
        self._complained: set[tuple[str, type[Exception]]] = set()

    @property
    def held(self) -> int:
        """Records that a sample keeps back until it knows how their invocation ends."""
        return sum(each.held for _, each in self._samples)

    def apply(self, records: Sequence[Record]) -> list[Record]:
        """Give what is to be sent of these records, and of what was kept back earlier."""
        if not self._samples:
            return self._through(0, records)
        out: list[Record] = []
        begin = 0
        # A sample sees how invocations end whatever the transforms before it leave out.
        for index, record in enumerate(records):
            if record.source in _OBSERVED:
                out += self._through(0, records[begin : index + 1])
                out += self._observed(record)
                begin = index + 1
        out += self._through(0, records[begin:])
        return out

    def flush(self) -> list[Record]:
        """Give everything that is kept back; for the very end, since how its invocations end is not known then."""
        out: list[Record] = []
        for index, each in self._samples:
            out += self._through(index + 1, list(each.flush()))
        return out

    def _observed(self, record: Record) -> list[Record]:
        out: list[Record] = []
        for index, each in self._samples:
            before = each.held
            due = list(each.observe(record))
            self._count(each.name, before - each.held - len(due))
            out += self._through(index + 1, due)
        return out

    def _through(self, first: int, records: Sequence[Record]) -> list[Record]:
        for step in self._steps[first:]:
            if not records:
                break
            records = self._step(step, records)
        return list(records)

    def _step(self, step: Named | Sample, records: Sequence[Record]) -> list[Record]:
        held = step.held if isinstance(step, Sample) else 0
        function = step.function if isinstance(step, Named) else step
        out: list[Record] = []
        left_out = 0
        for record in records:
            try:
                result = function(record)
                kind = type(result)
                if kind is LogRecord or kind is InvocationReport:
                    out.append(result)  # type: ignore[arg-type]  # one of the two
                elif result is None:
                    left_out += 1
                else:
                    out += _several(result)
            except Exception as error:  # noqa: BLE001 - a user's function
                self._complain(step.name, error)
                if step.on_failure == "keep":
                    out.append(record)
                else:
                    self.lost += 1
        if isinstance(step, Sample):
            left_out = held + len(records) - step.held - len(out)
        self._count(step.name, left_out)
        return out

    def _count(self, name: str, left_out: int) -> None:
        if left_out:
            self.filtered[name] += left_out

    def _complain(self, name: str, error: Exception) -> None:
        self.failed[name] += 1
        if (name, type(error)) not in self._complained and len(self._complained) < 100:
            self._complained.add((name, type(error)))
            logger.error("the transform %s failed; it is not told again", name, exc_info=error)


def _several(result: object) -> list[Record]:
    records: list[Any] = list(result) if isinstance(result, Iterable) else [result]
    for record in records:
        if not isinstance(record, LogRecord | InvocationReport):
            msg = f"a transform gives a record, several, or None, not {record!r:.100}"
            raise TypeError(msg)
    return records
