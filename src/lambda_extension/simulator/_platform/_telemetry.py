"""All telemetry of one environment, and who gets it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import anyio

from lambda_extension.simulator._apis._telemetry import Subscription
from lambda_extension.simulator._platform._delivery import DROPPED, DeliverySettings, Subscriber
from lambda_extension.simulator._platform._telemetry_event import Event
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._feedback import Feedback
from lambda_extension.simulator._watching._record import Record

_HISTORY: Final = 10_000


@final
class Telemetry:
    """All events of one environment, and who gets them.

    Attributes:
        thawed: Set while delivery goes on.
        open: Whether subscriptions are taken.
        subscribers: Each subscription; an extension may have several.
        tamper: What makes of a batch's body the bodies to send.
        intercept: Given each event before subscribers are, and what hands it to them; whether it has taken it over.
        feedback: Watches for extensions that are fed their own output.
    """

    def __init__(self, record: Record, clock: Clock, settings: DeliverySettings) -> None:
        self.record = record
        self.thawed = anyio.Event()
        self.thawed.set()
        self.open = True
        self.subscribers: list[Subscriber] = []
        self.tamper: Callable[[Subscriber, bytes], tuple[bytes, ...]] = lambda _, body: (body,)
        self.intercept: Callable[[str, Callable[[], None]], bool] = lambda _, __: False
        self.feedback = Feedback()
        self._clock, self._settings = clock, settings
        self._history: deque[Event] = deque(maxlen=_HISTORY)

    def of(self, name: str) -> list[Subscriber]:
        """Return the subscriptions of one extension."""
        return [subscriber for subscriber in self.subscribers if subscriber.name == name]

    def emit(self, type_: str, record: Any, *, line: str | None = None, who: str = "platform") -> None:
        """Create an event now and hand it to each subscriber; never blocks."""
        event = self._event(type_, record, line=line, who=who)
        self.record.add("event", who, type_, record=record)
        if not self.intercept(type_, lambda: self._hand_on(event)):
            self._hand_on(event)

    def inject(self, event: Any) -> None:
        """Hand on an event of a test's own, as it is; a type of no known category goes to everybody."""
        known = isinstance(event, Mapping)
        type_ = event.get("type") if known else None
        if known and "time" not in event:
            event = {"time": Clock.format(self._clock.time()), **event}
        name = type_ if isinstance(type_, str) else ""
        self.record.add("event", "platform", name, record=event.get("record") if known else event, injected=True)
        self._hand_on(self._event(name, None, raw=event))

    def _event(self, type_: str, record: Any, **more: Any) -> Event:
        return Event(time=self._clock.time(), offset=self._clock.offset, type=type_, record=record, **more)

    def _hand_on(self, event: Event) -> None:
        if self.open:
            self._history.append(event)
        for subscriber in self.subscribers:
            subscriber.add(event, unbounded=event.type == DROPPED)

    def subscribe(self, name: str, subscription: Subscription, *, address: str, host_clock: bool) -> Subscriber | None:
        """Add a subscriber; what happened so far is replayed to it first.

        Args:
            name: The extension.
            subscription: What it asked for.
            address: Where its listener is reached.
            host_clock: Whether it is told times on the host's clock.

        Returns:
            None where the extension has the very same subscription already.
        """
        if any(known.subscription == subscription for known in self.of(name)):
            return None
        subscriber = Subscriber(
            name,
            subscription,
            telemetry=self,
            settings=self._settings,
            address=address,
            host_clock=host_clock,
        )
        for event in self._history:
            subscriber.add(event, unbounded=True)
        self.subscribers.append(subscriber)
        state = {"name": name, "state": "Subscribed", "types": list(subscription.types)}
        self.emit(f"platform.{subscription.api}Subscription", state)
        return subscriber

    def close(self) -> None:
        """Take no more subscriptions; the history has served."""
        self.open = False
        self._history.clear()

    def freeze(self) -> None:
        """Withhold delivery until `thaw`."""
        self.thawed = anyio.Event()

    def thaw(self) -> None:
        """Resume delivery."""
        self.thawed.set()
