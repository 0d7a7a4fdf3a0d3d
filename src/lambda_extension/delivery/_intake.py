"""From the platform's events to encoded pieces: by way of records and transforms, where there are any. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from lambda_extension.delivery._accounts import Accounts, Complaints
from lambda_extension.delivery._backlog import Backlog
from lambda_extension.delivery._encoders import Encoder
from lambda_extension.telemetry import PlatformRestoreStart

if TYPE_CHECKING:
    from lambda_extension._api._models import Registration
    from lambda_extension.records import Correlator, LineSettings, Pipeline, Sample, Transform


@final
class Intake:
    """Takes in events for a backlog.

    Args:
        encoder: The format.
        transforms: What records go through; None takes events as they are, unless the encoder wants records.
        max_event_bytes: Bytes of an encoded event; a longer one is dropped.
        lines: How lines are made into records.
        backlog: Where to.
        accounts: Counts what is dropped and filtered.
        complaints: Says what cannot be encoded.

    Raises:
        TypeError: A transform is no plain function.
    """

    def __init__(
        self,
        encoder: Encoder,
        transforms: Iterable[Transform | Sample] | None,
        max_event_bytes: int | None,
        lines: LineSettings | None = None,
        *,
        backlog: Backlog,
        accounts: Accounts,
        complaints: Complaints,
    ) -> None:
        self._encode: Callable[[Any], bytes] = encoder.encode_event
        self._max_event_bytes = max_event_bytes
        self._lines = lines
        self._backlog = backlog
        self._accounts = accounts
        self._complaints = complaints
        self._correlator: Correlator | None = None
        self._registration: Registration | None = None
        self._pipeline: Pipeline | None = None
        self._counted: Counter[str] = Counter()
        self._lost = 0
        if transforms is not None or getattr(encoder, "records", False):
            from lambda_extension.records import Pipeline  # only where there are records

            self._pipeline = Pipeline(transforms or ())

    def begin(self, registration: Registration) -> None:
        """Note what the platform told of the function."""
        self._registration = registration

    def take(self, events: Iterable[Any], now: float) -> None:
        """Take in events."""
        events = list(events)
        if any(type(event) is PlatformRestoreStart for event in events):
            # From one snapshot any number of environments are restored, each with what had been sealed in this one.
            self._backlog.redraw_ids()
        if self._pipeline is None:
            self._add(events, now)
        else:
            self._pass(self._pipeline, self._records().take(events), now)

    def release(self, now: float) -> None:
        """Take in what was held back for as long as it may be."""
        if self._pipeline is not None:
            self._pass(self._pipeline, self._records().release(), now)

    def close(self, now: float) -> None:
        """Take in all that is held back: nothing more comes."""
        if self._pipeline is not None:
            self._pass(self._pipeline, self._records().close(), now)
            self._add(self._pipeline.flush(), now)
            self._count_filtered(self._pipeline)

    def count_left_out(self, filtered: Mapping[str, int], failed: int) -> None:
        """Count events that were left out on their way here; see `Delivery.count_left_out`."""
        for name, count in filtered.items():
            self._leave_out(name, count)
        self._drop("transform_failed", failed)

    def _records(self) -> Correlator:
        if self._correlator is None:
            from lambda_extension.records import Correlator, LineSettings

            lines = self._lines or LineSettings()
            self._correlator = Correlator(
                registration=self._registration, parse_json=lines.parse_json, join=lines.join, holding=lines.holding
            )
        return self._correlator

    def _pass(self, pipeline: Pipeline, records: Sequence[Any], now: float) -> None:
        passed = pipeline.apply(records)
        self._count_filtered(pipeline)
        self._add(passed, now)

    def _count_filtered(self, pipeline: Pipeline) -> None:
        for name, count in pipeline.filtered.items():
            self._leave_out(name, count - self._counted[name])
            self._counted[name] = count
        self._accounts.transform_failures.update(pipeline.failed - self._accounts.transform_failures)
        self._drop("transform_failed", pipeline.lost - self._lost)
        self._lost = pipeline.lost

    def _leave_out(self, name: str, items: int) -> None:
        if items:
            self._accounts.received += items
            self._accounts.leave_out(name, items)

    def _add(self, events: Iterable[Any], now: float) -> None:
        for event in events:
            try:
                piece = self._encode(event)
            except Exception:  # noqa: BLE001 - one event must not cost the others
                self._complaints.say("unencodable", "an event cannot be encoded, and is dropped")
                self._drop("unencodable")
                continue
            if not piece:
                self._leave_out("encoder", 1)
            elif self._max_event_bytes is not None and len(piece) > self._max_event_bytes:
                self._drop("too_large")
            else:
                self._backlog.add(piece, now)

    def _drop(self, reason: str, items: int = 1) -> None:
        if items:
            self._accounts.received += items
            self._accounts.drop(reason, items)
