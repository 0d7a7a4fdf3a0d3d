"""Events to payloads: one encoder per format, each in two steps, so that batches can be cut by their encoded bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeAlias, final

import attrs

from lambda_extension.telemetry import UnknownEvent
from lambda_extension.telemetry._decoding import encode_event as encode_telemetry_event

Compression: TypeAlias = Literal["gzip", "zstd"]
"""How bodies are compressed."""


class Encoder(Protocol):
    """Turns events into the body of a payload.

    Two more members are used if an encoder has them: `limits`, the `Limits` of the format, and `records`: if it is
    true, `encode_event` is given the records of `lambda_extension.records`, not the platform's events.
    """

    @property
    def content_type(self) -> str:
        """The `Content-Type` of a body."""
        raise NotImplementedError  # pragma: no cover - a protocol

    @property
    def compression(self) -> Compression | None:
        """How bodies are compressed, if they are."""
        raise NotImplementedError  # pragma: no cover - a protocol

    def encode_event(self, event: Any) -> bytes:
        """Encode one event; what comes to nothing (empty bytes) is left out and counted."""
        raise NotImplementedError  # pragma: no cover - a protocol

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body, not yet compressed, of encoded events; called in a worker thread if they are long."""
        raise NotImplementedError  # pragma: no cover - a protocol


@lru_cache(maxsize=64)
def _encodes_itself(kind: type) -> bool:
    """Tell whether a type has a method `encode` that gives its JSON, as the records of `lambda_extension.records` do.

    Once for each type: asking a protocol takes longer for each event than all else that is done with it.
    """
    return kind is not str and callable(getattr(kind, "encode", None))


def encode_event(event: Any) -> bytes:
    """Encode an event or a record as JSON; an `UnknownEvent` as its `json`, on one line."""
    if type(event) is UnknownEvent:
        raw = event.json
        # Outside of strings, where JSON allows neither, a line break is mere white space.
        return raw.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in raw or b"\r" in raw else raw
    if _encodes_itself(type(event)):  # type: ignore[arg-type]  # a type is hashable
        encoded: bytes = event.encode()
        return encoded
    return encode_telemetry_event(event)


@final
@attrs.frozen(kw_only=True)
class JSONArray:
    """A JSON array of events, as the Telemetry API itself sends them.

    Attributes:
        compression: `gzip`, `zstd` (needs the package zstandard), or None.
    """

    compression: Compression | None = attrs.field(default=None, validator=attrs.validators.in_([None, "gzip", "zstd"]))

    @property
    def content_type(self) -> str:
        """The `Content-Type` of a body."""
        return "application/json"

    def encode_event(self, event: Any) -> bytes:
        """Encode one event."""
        return encode_event(event)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded events."""
        return b"[" + b",".join(pieces) + b"]"


@final
@attrs.frozen(kw_only=True)
class NDJSON:
    """Newline-delimited JSON: one event per line, each line ended.

    Attributes:
        compression: `gzip`, `zstd` (needs the package zstandard), or None.
    """

    compression: Compression | None = attrs.field(default=None, validator=attrs.validators.in_([None, "gzip", "zstd"]))

    @property
    def content_type(self) -> str:
        """The `Content-Type` of a body."""
        return "application/x-ndjson"

    def encode_event(self, event: Any) -> bytes:
        """Encode one event."""
        return encode_event(event)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded events."""
        return b"\n".join([*pieces, b""])


def compress(body: bytes, compression: Compression | None) -> bytes:
    """Compress a body; fast levels, since Lambda bills for the time."""
    if compression is None:
        return body
    if compression == "gzip":
        import gzip  # and this only for whoever compresses

        return gzip.compress(body, compresslevel=1, mtime=0)
    import zstandard  # an extra, and only for whoever asks for it

    return zstandard.ZstdCompressor(level=1).compress(body)
