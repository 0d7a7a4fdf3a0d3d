"""Formats without a server here, and what answers mean: by what the vendors document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from records_for_backends import (
    CONTEXT,
    HOSTILE,
    KEPT,
    NOW,
    REQUEST_ID,
    hostile,
    log,
    payload_of,
    report,
    time_of,
)
from vendor_rules import Answering, answering

from lambda_extension import Registration
from lambda_extension.delivery import Delivery, Payload, SinkError
from lambda_extension.delivery.sinks import (
    AxiomIngest,
    DatadogLogs,
    ElasticsearchBulk,
    HoneycombBatch,
    LokiPush,
    NewRelicLogs,
    SplunkHEC,
    SumoLogs,
    axiom,
    datadog,
    elasticsearch,
    honeycomb,
    loki,
    new_relic,
    splunk,
    sumo,
)
from lambda_extension.records import Context, LogRecord
from lambda_extension.telemetry import FunctionLog

REGISTRATION = Registration(extension_id="1", extension_name="x", function_name="orders", function_version="12")
MILLISECONDS = int(NOW.timestamp() * 1000)


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as running:
        yield running


async def sent(sink: Any, records: list[Any]) -> None:
    async with sink:
        await sink.send(payload_of(sink.encoder, records))


async def test_new_relic_gets_logs_in_its_detailed_form(server: Answering) -> None:
    await sent(new_relic("key", url=server.url), [*hostile("m"), report(team="x")])
    _, headers, (told,) = server.last()
    assert headers["Api-Key"] == "key"
    assert headers["Content-Type"] == "application/json"
    *logs, last = told["logs"]
    for entry, (name, body) in zip(logs, KEPT.items(), strict=True):
        assert entry["message"] == (body if name != "long" else entry["message"])
        assert len(entry["message"].encode()) <= 128 * 1024
        assert entry["attributes"]["requestId"] == REQUEST_ID
        assert entry["attributes"]["name"] == name
        assert len(entry["attributes"]) <= 255
        assert all(isinstance(value, str | int | float) for value in entry["attributes"].values())
    assert [entry["timestamp"] for entry in logs] == [MILLISECONDS + n for n in range(len(logs))]
    assert logs[list(KEPT).index("long")]["message"].endswith("…")
    assert (last["attributes"]["outcome"], last["attributes"]["durationMs"], last["attributes"]["team"]) == (
        "timeout",
        3000.5,
        "x",
    )


def test_new_relic_gets_no_more_attributes_than_it_takes() -> None:
    many: dict[str, Any] = {f"key{n}": "v" * 5000 for n in range(300)} | {"n" * 256: 1}
    entry = json.loads(NewRelicLogs().encode_event(log("x", **many, source="mine")))
    attributes = entry["attributes"]
    assert len(attributes) == 255
    assert attributes["source"] == "function"
    assert all(len(value.encode()) <= 4094 for value in attributes.values() if isinstance(value, str))
    assert attributes["attributes"].startswith("{")


async def test_datadog_gets_text_with_what_it_reserves(server: Answering) -> None:
    server.answers.append((202, b"{}"))
    sink = datadog("key", url=server.url, service="shop", tags={"team": "x", "env": "test"})
    await sent(sink, [log("m", 0, order={"id": 17, "items": [1, 2], "none": None}), report()])
    _, headers, (first, last) = server.last()
    assert headers["DD-API-KEY"] == "key"
    assert first == {
        "message": "m",
        "timestamp": MILLISECONDS,
        "ddsource": "lambda",
        "ddtags": "team:x,env:test",
        "hostname": CONTEXT.function_arn,
        "service": "shop",
        "origin": "function",
        "event_type": "function",
        "status": "WARN",
        "severityNumber": "13",
        "lambda.request_id": REQUEST_ID,
        "lambda.name": "orders",
        "lambda.version": "12",
        "lambda.arn": CONTEXT.function_arn,
        "lambda.memory_size_mb": "512",
        "lambda.cold_start": "true",
        "region": "eu-west-1",
        "trace_id": CONTEXT.trace_id,
        "span_id": CONTEXT.span_id,
        "traceFlags": "1",
        "attributes.order.id": "17",
        "attributes.order.items": "[1,2]",
        "attributes.order.none": "null",
    }
    assert last["message"] == f"invocation {REQUEST_ID}: timeout"
    assert last["durationMs"] == "3000.5"
    assert len(DatadogLogs().encode_event(log("x" * 2_000_000))) < 1_000_000


async def test_honeycomb_gets_flat_events(server: Answering) -> None:
    server.answers.append((200, b'[{"status":202}]'))
    await sent(honeycomb("key", dataset="my logs", url=server.url), [log("m", 0, order={"id": 17, "text": "t"})])
    path, headers, (event,) = server.last()
    assert (path, headers["X-Honeycomb-Team"]) == ("/1/batch/my%20logs", "key")
    assert event["time"] == time_of(0)
    told = event["data"]
    assert (told["message"], told["attributes.order.id"], told["attributes.order.text"]) == ("m", 17, "t")
    assert (told["trace.trace_id"], told["requestId"], told["coldStart"]) == (CONTEXT.trace_id, REQUEST_ID, True)
    many: dict[str, Any] = {f"k{n}": "y" for n in range(3000)}
    wide = json.loads(HoneycombBatch().encode_event(log("x" * 100_000, **many)))
    assert len(wide["data"]) == 2000
    assert len(wide["data"]["message"].encode()) <= 64 * 1024


async def test_axiom_gets_lines_with_its_time_field(server: Answering) -> None:
    server.answers.append((200, b'{"ingested":2,"failed":0,"failures":[]}'))
    await sent(axiom("token", dataset="lambda", url=server.url), [log("m", 0, a=1), report()])
    path, headers, body = server.last()
    assert (path, headers["Authorization"]) == ("/v1/datasets/lambda/ingest", "Bearer token")
    first, last = map(json.loads, body.splitlines())
    assert (first["_time"], first["message"], first["attributes"]) == (time_of(0), "m", {"a": 1})
    assert last["outcome"] == "timeout"


async def test_sumo_gets_lines_with_its_headers(server: Answering) -> None:
    await sent(sumo(f"{server.url}/receiver/v1/http/secret", category="prod/orders"), hostile("m"))
    path, headers, body = server.last()
    assert (path, headers["X-Sumo-Category"]) == ("/receiver/v1/http/secret", "prod/orders")
    assert "X-Sumo-Host" not in headers
    assert [json.loads(each)["body"] for each in body.split("\n") if each] == list(KEPT.values())


async def test_urls_and_credentials_are_where_each_backend_looks_for_them(server: Answering) -> None:
    one = [log("m")]
    await sent(loki(server.url, labels={"a": "b"}, authorization="Basic x", tenant="t"), one)
    path, headers, _ = server.last()
    assert (path, headers["Authorization"], headers["X-Scope-OrgID"]) == ("/loki/api/v1/push", "Basic x", "t")
    await sent(elasticsearch(f"{server.url}/", index="logs-lambda", authorization="ApiKey x"), one)
    path, headers, _ = server.last()
    assert (path, headers["Authorization"]) == ("/logs-lambda/_bulk", "ApiKey x")
    await sent(splunk(server.url, token="t", index="main", sourcetype="s"), one)
    path, headers, event = server.last()
    assert (path, headers["Authorization"]) == ("/services/collector/event", "Splunk t")
    assert (event["index"], event["sourcetype"], event["time"]) == ("main", "s", f"{MILLISECONDS / 1000:.3f}")


def test_lokis_bounds_are_kept() -> None:
    encoder = LokiPush(labels={"a": "b"}, now=lambda: 17_000)

    def entry(record: LogRecord) -> tuple[str, str, dict[str, str]]:
        _, _, encoded = encoder.encode_event(record).partition(b"\n")
        moment, text, metadata = json.loads(encoded)
        return moment, text, metadata

    wide: dict[str, Any] = {f"key{n}": n for n in range(200)}
    _, text, metadata = entry(log("m", **wide))
    assert metadata == {}
    assert json.loads(text)["attributes"] == wide
    _, text, metadata = entry(log("m", value="v" * 70_000))
    assert metadata == {}
    _, text, _ = entry(log("x" * 300_000))
    assert len(text.encode()) <= 256 * 1024
    odd: dict[str, Any] = {"1st": 1, "a.b": 2, "a b": 3, "é": 4, "requestId": 5}
    _, _, metadata = entry(log("m", **odd))
    assert {"_1st", "a_b", "a_b_", "_"} <= metadata.keys()
    assert sorted(metadata[name] for name in metadata if name.startswith("request_id")) == ["5", REQUEST_ID]
    moments = [entry(log("same"))[0] for _ in range(3)]
    assert len(set(moments)) == 3
    assert entry(log("m").replace(time="never"))[0].startswith("17")
    assert entry(log("m").replace(time=time_of(0)[:-1] + "456789Z"))[0].endswith("123456789")


def test_a_record_of_which_little_is_known_is_encoded_by_every_format() -> None:
    bare = LogRecord("", "platform", "unknown", 0, None, None, {}, Context())
    odd = bare.replace(severity_text="loud", body={"a": 1})
    some = (
        LokiPush(),
        ElasticsearchBulk(),
        SplunkHEC(),
        DatadogLogs(),
        NewRelicLogs(),
        HoneycombBatch(),
        AxiomIngest(),
    )
    for encoder in (*some, SumoLogs()):
        body = encoder.join([encoder.encode_event(bare), encoder.encode_event(odd)])
        assert b"loud" in body
        assert b"null" not in body


def five() -> Payload:
    return payload_of(SumoLogs(), [log("m", n) for n in range(5)])


BULK = [{"create": {"status": status}} for status in (201, 409, 429, 503, 400)]


@pytest.mark.parametrize(
    ("check", "status", "answer", "refused", "rejected"),
    [
        (ElasticsearchBulk().read_answer, 200, {"errors": True, "items": BULK}, (2, 3), (4,)),
        (HoneycombBatch().read_answer, 200, [{"status": each} for each in (202, 429, 500, 400)], (1, 2), (3,)),
        (AxiomIngest().read_answer, 200, {"ingested": 3, "failed": 2}, (), (0, 1)),
        (SplunkHEC().read_answer, 400, {"text": "Invalid", "code": 6, "invalid-event-number": 1}, (0, 2, 3, 4), (1,)),
    ],
)
def test_of_an_answer_in_parts_only_what_was_refused_goes_again(
    check: Any, status: int, answer: Any, refused: tuple[int, ...], rejected: tuple[int, ...]
) -> None:
    with pytest.raises(SinkError) as raised:
        check(five(), status, json.dumps(answer).encode())
    assert (raised.value.refused, raised.value.rejected) == (refused, rejected)
    assert raised.value.is_partial


@pytest.mark.parametrize(
    ("check", "status", "answer"),
    [
        (ElasticsearchBulk().read_answer, 200, b'{"errors":false,"items":[]}'),
        (ElasticsearchBulk().read_answer, 200, b'{"errors":true,"items":[{"create":{"status":409}}]}'),
        (ElasticsearchBulk().read_answer, 200, b"no JSON"),
        (ElasticsearchBulk().read_answer, 503, b'{"errors":true}'),
        (HoneycombBatch().read_answer, 200, b'[{"status":202}]'),
        (HoneycombBatch().read_answer, 200, b"no JSON"),
        (HoneycombBatch().read_answer, 500, b""),
        (AxiomIngest().read_answer, 200, b'{"ingested":1,"failed":0}'),
        (AxiomIngest().read_answer, 200, b"no JSON"),
        (AxiomIngest().read_answer, 403, b'{"failed":1}'),
        (SplunkHEC().read_answer, 200, b'{"code":0}'),
        (SplunkHEC().read_answer, 400, b"no JSON"),
        (SplunkHEC().read_answer, 400, b'{"code":5,"text":"No data"}'),
    ],
)
def test_an_answer_that_says_nothing_of_parts_is_left_to_the_sink(check: Any, status: int, answer: bytes) -> None:
    check(five(), status, answer)


def test_a_wrong_index_or_token_is_not_the_events_fault() -> None:
    with pytest.raises(SinkError, match=r"Splunk answered 7$") as raised:
        SplunkHEC().read_answer(five(), 400, b'{"text":"Incorrect index","code":7}')
    assert raised.value.answer == "Incorrect index"
    assert (raised.value.keep, raised.value.retryable, raised.value.is_partial) == (True, False, False)


async def test_a_delivery_sends_again_only_what_elasticsearch_put_off(server: Answering) -> None:
    answers = [{"create": {"status": status}} for status in (201, 429, 400)]
    server.answers += [
        (200, json.dumps({"errors": True, "items": answers}).encode()),
        (200, b'{"errors":false,"items":[]}'),
    ]
    async with elasticsearch(server.url, index="logs") as sink:
        delivery = Delivery(sink, spill=None)
        await delivery.init(REGISTRATION)
        await delivery.process([FunctionLog(time=time_of(n), record=f"line {n}") for n in range(3)])
        await delivery.flush()
    bodies = [body.decode().splitlines() for _, _, body in server.requests]
    assert [[json.loads(each)["message"] for each in lines[1::2]] for lines in bodies] == [
        ["line 0", "line 1", "line 2"],
        ["line 1"],
    ]
    assert bodies[0][2] == bodies[1][0], "a document keeps its id"
    statistics = delivery.statistics()
    assert (statistics.delivered, statistics.dropped) == (2, 1)


def test_hostile_content_is_valid_json_everywhere() -> None:
    for encoder in (LokiPush(), DatadogLogs(), NewRelicLogs(), HoneycombBatch()):
        json.loads(encoder.join([encoder.encode_event(record) for record in hostile("m")]))
    for lines in (ElasticsearchBulk(), AxiomIngest(), SumoLogs(), SplunkHEC()):
        body = lines.join([lines.encode_event(record) for record in hostile("m")])
        found = [json.loads(each) for each in body.decode().split("\n") if each]
        assert len(found) == len(HOSTILE) * (2 if isinstance(lines, ElasticsearchBulk) else 1)
