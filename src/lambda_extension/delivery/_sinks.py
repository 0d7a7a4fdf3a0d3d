"""Where payloads go: a protocol of one method, and how a sink says what went wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, final

import attrs

from lambda_extension._exceptions import LambdaExtensionError
from lambda_extension._validators import whole


@final
@attrs.frozen(kw_only=True)
class Payload:
    """A batch of events, encoded.

    Attributes:
        id: Identifies the batch: the same whenever it is sent again, also after a restart.
        body: The bytes to send.
        items: Events in it.
        content_type: What the body is.
        content_encoding: `gzip` or `zstd` if it is compressed.
        pieces: The encoded events, not compressed and not joined, for a sink that sends them one by one.
    """

    id: str
    body: bytes = attrs.field(repr=False)
    items: int
    content_type: str
    content_encoding: str | None = None
    pieces: tuple[bytes, ...] = attrs.field(default=(), repr=False)


@final
@attrs.frozen(kw_only=True)
class Limits:
    """What one request to a backend may hold; None does not limit.

    Attributes:
        items: Events in a payload.
        bytes: Bytes of a payload's body, before compression. What turns out to be longer is cut into halves.
        event_bytes: Bytes of one encoded event; a longer one is dropped as `too_large`.
    """

    items: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    bytes: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    event_bytes: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))


class Sink(Protocol):
    """Takes payloads to where they belong.

    More members are used if a sink has them: `encoder`, for the format that its other end expects; `limits`, the
    `Limits` of its other end; `place`, a string that says in the log where that is, without a secret; `async open()`,
    for whatever takes long, such as TLS contexts, called in the background before the first `send`, and again before
    the next one if it fails; and `async aclose()`, called at the very end.
    """

    async def send(self, payload: Payload) -> None:
        """Send one payload, and return once the other end has acknowledged it.

        May be cancelled at any await when the time is over; the payload is then sent again later, with the same id.

        Raises:
            SinkError: It was not taken, or not all of it; says whether to try again and what to keep.
            Exception: Anything else is taken for a fault that passes: the payload is tried again and kept.
        """


@final
class SinkError(LambdaExtensionError):
    """A payload, or a part of it, was not taken.

    Args:
        message: What happened; it may be logged, so it must hold neither telemetry nor credentials.
        retryable: Whether trying again soon may help.
        keep: Whether the payload is worth keeping; False when it is itself what the other end objects to.
        too_large: Whether it is its length that the other end objects to: its halves are sent instead, and an event
            that is too large by itself is dropped.
        retry_after: Seconds that the other end wants to be left alone; None if it did not say.
        refused: Where only a part was not taken: the places of those events that are to be sent again.
        rejected: And the places of those that will never be taken, which are dropped. All others have been delivered.
        answer: What the other end answered, for whoever catches this error; never logged.

    Attributes:
        is_partial: Whether the other events of the payload have been delivered.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        keep: bool = True,
        too_large: bool = False,
        retry_after: float | None = None,
        refused: Iterable[int] | None = None,
        rejected: Iterable[int] | None = None,
        answer: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable: bool = retryable and keep and not too_large
        self.keep = keep
        self.too_large = too_large
        self.retry_after = retry_after
        self.refused: tuple[int, ...] = tuple(refused or ())
        self.rejected: tuple[int, ...] = tuple(rejected or ())
        self.is_partial: bool = refused is not None or rejected is not None
        self.answer = answer
