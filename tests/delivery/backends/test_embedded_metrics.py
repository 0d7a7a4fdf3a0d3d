"""Reports as CloudWatch's metrics, on standard output."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from records_for_backends import NOW, REQUEST_ID, log, payload_of, report
from vendor_rules import check_embedded_metrics

from lambda_extension.delivery.sinks import EmbeddedMetrics, embedded_metrics


def test_a_report_is_a_line_of_metrics() -> None:
    root = check_embedded_metrics(EmbeddedMetrics().encode_event(report(team="x")))
    (directive,) = root["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Lambda/Invocations", [["functionName"]])
    assert root["_aws"]["Timestamp"] == int(NOW.timestamp() * 1000)
    values = {metric["Name"]: root[metric["Name"]] for metric in directive["Metrics"]}
    assert values == {
        "durationMs": 3000.5,
        "billedDurationMs": 3000,
        "maxMemoryUsedMb": 91,
        "errors": 1,
        "invocations": 1,
        "coldStarts": 1,
    }
    assert (root["functionName"], root["requestId"], root["team"], root["outcome"]) == (
        "orders",
        REQUEST_ID,
        "x",
        "timeout",
    )


def test_dimensions_are_what_was_asked_for_as_far_as_it_is_known() -> None:
    encoder = EmbeddedMetrics(namespace="shop", dimensions=("team", "coldStart", "tenantId", "long"))
    root = check_embedded_metrics(encoder.encode_event(report(team="x", long="l" * 2000, requestId="mine")))
    assert root["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["team", "coldStart", "long"]]
    assert (root["coldStart"], root["long"], root["requestId"]) == ("True", "l" * 1024, REQUEST_ID)


def test_other_records_come_to_nothing() -> None:
    assert EmbeddedMetrics().encode_event(log("m")) == b""


def test_a_time_that_is_none_does_not_cost_the_metrics() -> None:
    root = check_embedded_metrics(EmbeddedMetrics().encode_event(report().replace(time="")))
    assert root["_aws"]["Timestamp"] == 0


@pytest.mark.parametrize("wrong", [{"namespace": ""}, {"namespace": "n" * 257}, {"dimensions": ("d",) * 31}])
def test_what_cloudwatch_does_not_take_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EmbeddedMetrics(**wrong)


async def test_lines_are_written_to_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", output)
    sink = embedded_metrics(dimensions=["functionVersion"])
    await sink.send(payload_of(sink.encoder, [report(), log("m"), report()]))
    lines = output.buffer.getvalue().splitlines()
    assert len(lines) == 2
    assert check_embedded_metrics(lines[0])["functionVersion"] == "12"
