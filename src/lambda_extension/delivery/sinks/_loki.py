"""Grafana Loki's push format: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs."""

from __future__ import annotations

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import attrs

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits
from lambda_extension.delivery.sinks._fields import cut, fields_of, message_of, text_of
from lambda_extension.records import Record
from lambda_extension.records._record import encode_json

# Loki's defaults: max_line_size, max_structured_metadata_entries_count, max_structured_metadata_size.
_LINE = 256 * 1024
_ENTRIES = 128
_METADATA = 64 * 1024
_NAME = re.compile(r"[^A-Za-z0-9_]")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@final
@attrs.frozen(kw_only=True, eq=False)
class LokiPush:
    """Loki's push format: the message is the line, everything else is structured metadata of it.

    Labels are the user's, and `source`. Attributes that are more or longer than Loki takes go into the line, which is
    then the whole record as JSON; a line that is longer than Loki takes is cut. Equal lines of one moment, which Loki
    would take for one, are kept apart in the last three of the nine digits of their second.

    Attributes:
        labels: Labels of every stream.
        compression: How bodies are compressed.
    """

    labels: Mapping[str, str] = attrs.field(factory=dict)
    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    limits: Limits = attrs.field(default=Limits(bytes=4_000_000), init=False)
    content_type: str = attrs.field(default="application/json", init=False)
    _apart: Iterator[int] = attrs.field(factory=lambda: itertools.cycle(range(1000)), init=False, repr=False)
    _now: Callable[[], int] = time.time_ns

    def encode_event(self, event: Record) -> bytes:
        """Encode one record: its stream's labels, a line break, its entry."""
        fields = fields_of(event)
        labels = {**self.labels, "source": fields.pop("source")}
        metadata = _metadata(fields)
        line = event.encode().decode() if metadata is None else message_of(event)
        entry = (str(self._moment(event)), cut(line, _LINE), metadata or {})
        return encode_json(labels) + b"\n" + encode_json(entry)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records: one stream for each set of labels."""
        streams: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for piece in pieces:
            labels, _, entry = piece.partition(b"\n")
            streams[labels].append(entry)
        stream = b'{"stream":%b,"values":[%b]}'
        return b'{"streams":[%b]}' % b",".join(stream % (key, b",".join(entries)) for key, entries in streams.items())

    def _moment(self, record: Record) -> int:
        moment = record.time_unix_nano
        moment = self._now() if moment is None else moment
        return moment + next(self._apart) if moment % 1000 == 0 else moment


def _metadata(fields: dict[str, Any]) -> dict[str, str] | None:
    """Give structured metadata, all of it text; None when it is more than Loki takes."""
    found: dict[str, str] = {}
    size = 0
    own = fields.pop("attributes", {})
    for key, value in [*fields.items(), *own.items()]:
        name = _NAME.sub("_", _HUMP.sub("_", key).lower()) or "_"
        name = f"_{name}" if name[0].isdigit() else name
        while name in found:
            name += "_"  # of two that are the same now, none is lost
        found[name] = text_of(value)
        size += len(name) + len(found[name].encode("utf-8", "replace"))
    return found if len(found) <= _ENTRIES and size <= _METADATA else None


def loki(
    url: str,
    *,
    labels: Mapping[str, str],
    authorization: str | None = None,
    tenant: str | None = None,
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Push to Grafana Loki.

    Args:
        url: Loki's, such as `https://logs.example.com`; or the whole URL of its push endpoint.
        labels: Labels of every stream: few, and with few values each.
        authorization: The `Authorization` header, if Loki wants one.
        tenant: The tenant (`X-Scope-OrgID`), where there are several.
        compression: How bodies are compressed.
    """
    headers = {"Authorization": authorization, "X-Scope-OrgID": tenant}
    return HTTPSink(
        url if "/push" in url else f"{url.rstrip('/')}/loki/api/v1/push",
        headers={name: value for name, value in headers.items() if value is not None},
        encoder=LokiPush(labels=labels, compression=compression),
    )
