"""Where payloads go: a protocol of one method, and how a sink says what went wrong."""

from __future__ import annotations

from typing import Protocol, final

import attrs

from lambda_extension._exceptions import LambdaExtensionError


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
    """

    id: str
    body: bytes = attrs.field(repr=False)
    items: int
    content_type: str
    content_encoding: str | None = None


class Sink(Protocol):
    """Takes payloads to where they belong.

    Two more members are used if a sink has them: `encoder`, for the format that its other end expects, and an async
    `open()`, called once during init for whatever takes long, such as TLS contexts.
    """

    async def send(self, payload: Payload) -> None:
        """Send one payload, and return once the other end has acknowledged it.

        May be cancelled at any await when the time is over; the payload is then sent again later, with the same id.

        Raises:
            SinkError: It was not taken; says whether to try again and whether to keep it.
            Exception: Anything else is taken for a fault that passes: the payload is tried again and kept.
        """


@final
class SinkError(LambdaExtensionError):
    """A payload was not taken.

    Attributes:
        retryable: Whether trying again soon may help.
        keep: Whether the payload is worth keeping; False when it is itself what the other end objects to.
        retry_after: Seconds that the other end wants to be left alone; None if it did not say.
    """

    def __init__(
        self, message: str, *, retryable: bool = True, keep: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retryable: bool = retryable and keep
        self.keep = keep
        self.retry_after = retry_after
