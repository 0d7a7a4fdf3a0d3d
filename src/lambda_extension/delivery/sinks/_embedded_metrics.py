"""CloudWatch's embedded metric format, on standard output.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, BinaryIO, final

import attrs

from lambda_extension._threads import in_daemon_thread
from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._sinks import Limits, Payload
from lambda_extension.delivery.sinks._fields import fields_of, milliseconds_of
from lambda_extension.records import InvocationReport, Record
from lambda_extension.records._record import encode_json

# Metrics of a report, and CloudWatch's units of them.
_UNITS = {
    "durationMs": "Milliseconds",
    "billedDurationMs": "Milliseconds",
    "runtimeDurationMs": "Milliseconds",
    "initDurationMs": "Milliseconds",
    "restoreDurationMs": "Milliseconds",
    "responseLatencyMs": "Milliseconds",
    "responseDurationMs": "Milliseconds",
    "extensionOverheadMs": "Milliseconds",
    "maxMemoryUsedMb": "Megabytes",
    "producedBytes": "Bytes",
    "droppedRecords": "Count",
}
_MOST_DIMENSIONS = 30
_LONGEST_VALUE = 1024
_LONGEST_NAMESPACE = 256


def _dimensions(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if len(value) > _MOST_DIMENSIONS:
        msg = f"{attribute.name} are {len(value)}, and CloudWatch takes {_MOST_DIMENSIONS}"
        raise ValueError(msg)


@final
@attrs.frozen(kw_only=True)
class EmbeddedMetrics:
    """The embedded metric format: one line per invocation report; other records come to nothing.

    Attributes:
        namespace: Namespace of the metrics.
        dimensions: What the metrics are told apart by: names of fields of a report, or of its attributes. Each
            combination of values is a metric of its own, and is paid for.
    """

    namespace: str = attrs.field(
        default="Lambda/Invocations",
        validator=[attrs.validators.min_len(1), attrs.validators.max_len(_LONGEST_NAMESPACE)],
    )
    dimensions: tuple[str, ...] = attrs.field(default=("functionName",), validator=_dimensions)
    compression: Compression | None = attrs.field(default=None, init=False)
    records: bool = attrs.field(default=True, init=False)
    # A log event of CloudWatch Logs is at most 1 MiB, its own 26 bytes included.
    limits: Limits = attrs.field(default=Limits(event_bytes=1_000_000), init=False)
    content_type: str = attrs.field(default="application/x-ndjson", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one report."""
        if not isinstance(event, InvocationReport):
            return b""
        fields = fields_of(event)
        fields |= {key: value for key, value in fields.pop("attributes", {}).items() if key not in fields}
        values = {
            name: str(fields[name])[:_LONGEST_VALUE] for name in self.dimensions if fields.get(name) not in {None, ""}
        }
        counted = {"errors": int(event.failed), "invocations": 1, "coldStarts": int(event.cold_start)}
        units = {name: unit for name, unit in _UNITS.items() if name in fields} | dict.fromkeys(counted, "Count")
        directive = {
            "Namespace": self.namespace,
            "Dimensions": [list(values)],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
        }
        told = {"Timestamp": milliseconds_of(event) or 0, "CloudWatchMetrics": [directive]}
        return encode_json({"_aws": told, **fields, **values, **counted})

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded reports."""
        return b"\n".join([*pieces, b""])


@final
class OutputSink:
    """Writes payloads to standard output, which Lambda takes to CloudWatch Logs.

    Do not deliver the lines of extensions so: what is written comes back as one of them.

    Args:
        encoder: The format.
        output: Where to write instead.
    """

    def __init__(self, encoder: EmbeddedMetrics, *, output: BinaryIO | None = None) -> None:
        self.encoder = encoder
        self._output = output

    async def send(self, payload: Payload) -> None:
        """Write one payload, in a thread of its own: a full pipe blocks. A cancelled call leaves it to itself."""
        await in_daemon_thread(self._write, payload.body)

    def _write(self, body: bytes) -> None:
        output = sys.stdout.buffer if self._output is None else self._output
        output.write(body)
        output.flush()


def embedded_metrics(
    *, namespace: str = "Lambda/Invocations", dimensions: Sequence[str] = ("functionName",)
) -> OutputSink:
    """Write a report of each invocation as metrics to CloudWatch, by way of the log; see `EmbeddedMetrics`."""
    return OutputSink(EmbeddedMetrics(namespace=namespace, dimensions=tuple(dimensions)))
