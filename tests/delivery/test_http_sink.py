"""HTTPSink: what is sent, and what an answer means."""

from __future__ import annotations

import gzip
import json
import logging
import ssl
import traceback
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import anyio.abc
import attrs
import httpx
import pytest
from sinks_for_tests import REGISTRATION, Clock, logs

from lambda_extension import ShutdownReason
from lambda_extension.delivery import Delivery, HTTPSink, JSONArray, Payload, Retry, SinkError
from lambda_extension.delivery._http import Authorize
from lambda_extension.delivery.sinks import (
    axiom as to_axiom,
    elasticsearch as to_elasticsearch,
    honeycomb as to_honeycomb,
)
from lambda_extension.otel._encoders import read_answer as read_otlp
from lambda_extension.telemetry import FunctionLog


def elasticsearch(url: str) -> HTTPSink:
    return to_elasticsearch(url, index="i")


def axiom(url: str) -> HTTPSink:
    return to_axiom("t", dataset="d", url=url)


def honeycomb(url: str) -> HTTPSink:
    return to_honeycomb("k", dataset="d", url=url)


def otlp(url: str) -> HTTPSink:
    return HTTPSink(url, read_answer=read_otlp)


PAYLOAD = Payload(id="batch-1", body=b"[]", items=1, content_type="application/json")


class Answers:
    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else answer


async def outcome(answer: Any) -> Exception | None:
    sink = HTTPSink("http://collector.test/", http_client=Answers(answer).http)
    try:
        await sink.send(PAYLOAD)
    except (SinkError, OSError) as error:
        return error
    return None


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_success_acknowledges(status: int) -> None:
    assert await outcome(status) is None


@pytest.mark.parametrize(
    ("status", "retryable", "keep"),
    [
        (302, False, True),
        (400, False, False),
        (401, False, True),
        (402, False, True),
        (405, False, True),
        (409, False, False),
        (410, False, True),
        (415, False, True),
        (431, False, True),
        (403, False, True),
        (404, False, True),
        (408, True, True),
        (413, False, True),
        (422, False, False),
        (429, True, True),
        (500, True, True),
        (503, True, True),
    ],
)
async def test_what_an_answer_means(status: int, retryable: bool, keep: bool) -> None:
    error = await outcome(httpx.Response(status, text="because", headers={"Retry-After": "7"}))
    assert isinstance(error, SinkError)
    assert (error.retryable, error.keep) == (retryable, keep)
    assert error.retry_after == (7.0 if retryable else None)
    assert error.too_large == (status == 413)
    assert str(error) == f"http://collector.test answered {status}"
    assert error.answer == "because"


async def test_retry_after_may_be_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    for text in (format_datetime(moment, usegmt=True), format_datetime(moment.replace(tzinfo=None))):
        error = await outcome(httpx.Response(503, headers={"Retry-After": text}))
        assert isinstance(error, SinkError)
        assert error.retry_after is not None
        assert 90 < error.retry_after <= 100


@pytest.mark.parametrize("text", ["", "soon", "-1", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"])
async def test_a_retry_after_that_says_nothing_is_none(text: str) -> None:
    error = await outcome(httpx.Response(503, headers={"Retry-After": text}))
    assert isinstance(error, SinkError)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ReadTimeout("slow"), TimeoutError),
        (httpx.ConnectTimeout("slow"), TimeoutError),
        (httpx.ConnectError("refused"), ConnectionError),
        (httpx.RemoteProtocolError("closed"), ConnectionResetError),
        (httpx.ReadError("reset"), ConnectionResetError),
        (httpx.WriteError("pipe"), ConnectionResetError),
        (httpx.LocalProtocolError("illegal header"), SinkError),
    ],
)
async def test_what_a_broken_connection_is(raised: Exception, kind: type[Exception]) -> None:
    error = await outcome(raised)
    assert type(error) is kind


async def test_a_request_carries_the_payload_its_id_and_the_headers_asked_for() -> None:
    answers = Answers(200)
    sink = HTTPSink(
        "http://collector.test/v1",
        method="PUT",
        headers={"X-Key": "k", "Content-Type": "application/logs"},
        encoder=JSONArray(compression="gzip"),
        http_client=answers.http,
    )
    delivery = Delivery(sink, spill=None)
    await delivery.process(logs(1))
    await delivery.flush()
    (request,) = answers.requests
    assert request.method == "PUT"
    assert request.headers["X-Key"] == "k"
    assert request.headers["Content-Type"] == "application/logs"
    assert request.headers["Content-Encoding"] == "gzip"
    assert len(request.headers["Idempotency-Key"]) == 32
    assert json.loads(gzip.decompress(request.content))[0]["record"] == "1"


async def test_credentials_are_asked_for_with_every_request_at_once_or_awaited() -> None:
    async def awaited(payload: Payload) -> Mapping[str, str]:
        return {"Authorization": f"awaited {payload.id}"}

    def at_once(payload: Payload) -> Mapping[str, str]:
        return {"Authorization": f"at once {payload.id}"}

    cases: list[tuple[Authorize, str]] = [(at_once, "at once batch-1"), (awaited, "awaited batch-1")]
    for auth, expected in cases:
        answers = Answers(200)
        await HTTPSink("http://c.test", auth=auth, http_client=answers.http).send(PAYLOAD)
        assert answers.requests[0].headers["Authorization"] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer 1234\n"),
        ("Authorization", "Bearer 1234…"),
        ("Authorization", " Bearer 1234"),
        ("Authorization", "Bearer\r\n1234"),
        ("Autho rization", "Bearer 1234"),
        ("", "Bearer 1234"),
    ],
)
async def test_a_header_that_cannot_be_sent_is_named_without_its_value_and_not_tried_again(
    name: str, value: str
) -> None:
    answers = Answers()
    for sink in (
        HTTPSink("http://c.test/", headers={name: value}, http_client=answers.http),
        HTTPSink("http://c.test/", auth=lambda _: {name: value}, http_client=answers.http),
    ):
        with pytest.raises(SinkError) as caught:
            await sink.send(PAYLOAD)
        assert (caught.value.retryable, caught.value.keep) == (False, True)
        assert f"the header {name!r} is not" in str(caught.value)
        assert "1234" not in str(caught.value)


async def test_a_header_may_be_empty_or_have_spaces_within() -> None:
    answers = Answers(200)
    await HTTPSink("http://c.test", headers={"X-A": "", "X-B": "a b"}, http_client=answers.http).send(PAYLOAD)
    assert [answers.requests[0].headers[name] for name in ("X-A", "X-B")] == ["", "a b"]


async def test_a_closed_sink_refuses_to_send_and_leaves_a_client_passed_in_open() -> None:
    answers = Answers(200)
    async with HTTPSink("http://c.test", http_client=answers.http) as sink:
        await sink.send(PAYLOAD)
    await sink.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await sink.send(PAYLOAD)
    with pytest.raises(RuntimeError, match="closed"):
        await sink.open()
    assert not answers.http.is_closed
    async with HTTPSink("http://127.0.0.1:1") as sink:
        with anyio.fail_after(5), pytest.raises(ConnectionError):
            await sink.send(PAYLOAD)
    with pytest.raises(RuntimeError, match="closed"):
        await sink.send(PAYLOAD)


async def test_a_sink_closed_while_it_is_about_to_send_refuses() -> None:
    async def close_meanwhile(payload: Payload) -> Mapping[str, str]:
        await sink.aclose()
        return {}

    sink = HTTPSink("http://127.0.0.1:1", auth=close_meanwhile)
    with pytest.raises(RuntimeError, match="closed"):
        await sink.send(PAYLOAD)


async def test_certificates_are_loaded_once_and_before_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = ssl.create_default_context

    def make() -> ssl.SSLContext:
        made.append(1)
        return real()

    monkeypatch.setattr("ssl.create_default_context", make)
    async with HTTPSink("https://127.0.0.1:1") as sink:
        await sink.open()
        await sink.open()
        with anyio.fail_after(5), pytest.raises(ConnectionError):
            await sink.send(PAYLOAD)
    assert made == [1]


@asynccontextmanager
async def server(*answers: bytes) -> AsyncGenerator[Server]:
    """Answer with these bytes, the last of which are for all that follows too, and keep connections open."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    state = Server(port=listener.extra(anyio.abc.SocketAttribute.local_port))
    left = list(answers or [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])

    async def handle(stream: anyio.abc.SocketStream) -> None:
        state.connections += 1
        async with stream:
            try:
                while True:
                    request = b""
                    while not is_whole(request):
                        request += await stream.receive()
                    state.requests.append(request)
                    await stream.send(left.pop(0) if len(left) > 1 else left[0])
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield state
        tasks.cancel_scope.cancel()


def is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    return bool(end) and len(body) == int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])


@attrs.define
class Server:
    port: int
    connections: int = 0
    requests: list[bytes] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/path?token=canary"


async def test_connections_are_kept_but_not_over_a_gap_in_the_wall_clock() -> None:
    clock = Clock()
    async with server() as other:
        with clock:
            sink = HTTPSink(other.url)
        async with sink:
            for gap, connections in [(0, 1), (1, 1), (3600, 2), (1, 2), (-86_400, 3), (1, 3)]:
                clock.now += gap
                await sink.send(PAYLOAD)
                assert other.connections == connections, gap
    assert other.requests[0].startswith(b"POST /path?token=canary HTTP/1.1\r\n")


async def test_a_request_that_goes_well_writes_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does httpx, which by itself tells of each request at INFO, with its URL."""
    caplog.set_level(logging.INFO)
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as peer:
        sink = HTTPSink(peer.url)
        with anyio.fail_after(5):
            await sink.open()
            await sink.send(PAYLOAD)
        await sink.aclose()
    assert caplog.records == []


@pytest.mark.parametrize("most", [64 * 1024, 4 * 1024 * 1024], ids=["a reason", "of each event"])
async def test_of_an_answer_without_an_end_a_part_is_read_and_its_status_counts(most: int) -> None:
    """And its connection is not used again, since what follows would be more of it."""
    bodies = []
    read_answer = None if most < 100_000 else lambda payload, status, body: bodies.append(body)
    endless = b"HTTP/1.1 %d So\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (most + 1)
    for status in (200, 500):
        async with server(endless % status) as other, HTTPSink(other.url, read_answer=read_answer) as sink:
            for number in (1, 2):
                with anyio.fail_after(5):
                    if status == 200:
                        await sink.send(PAYLOAD)
                    else:
                        with pytest.raises(SinkError, match="answered 500") as caught:
                            await sink.send(PAYLOAD)
                        assert caught.value.answer == "x" * 1000
                assert other.connections == number
    assert [len(body) for body in bodies] == ([] if read_answer is None else [most] * 4)


async def test_an_answer_that_never_ends_takes_no_longer_than_a_step_and_its_status_counts() -> None:
    for status in (200, 500):
        async with (
            server(b"HTTP/1.1 %d So\r\nContent-Length: 10\r\n\r\nhalf" % status) as other,
            HTTPSink(other.url, timeout=0.05) as sink,
        ):
            with anyio.fail_after(5):
                if status == 200:
                    await sink.send(PAYLOAD)
                else:
                    with pytest.raises(SinkError, match="answered 500"):
                        await sink.send(PAYLOAD)


def packed(content: bytes, coding: str) -> bytes:
    body = gzip.compress(content) if coding == "gzip" else zlib.compress(content) if coding == "deflate" else content
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (coding.encode(), len(body)) + body


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (packed(b"fine", "gzip"), b"fine"),
        (packed(b"fine", "Deflate"), b""),
        (packed(b"fine", "deflate"), b"fine"),
        (packed(bytes(100_000_000), "gzip"), bytes(4 * 1024 * 1024)),  # a tenth of a megabyte on the wire
        (packed(b"fine", "br"), b""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzi", b""),
    ],
    ids=["gzip", "not deflate", "deflate", "bomb", "another coding", "not gzip"],
)
async def test_what_cannot_be_unpacked_is_a_success_all_the_same_and_a_bomb_hurts_nobody(
    answer: bytes, body: bytes
) -> None:
    bodies = []
    async with (
        server(answer) as other,
        HTTPSink(other.url, read_answer=lambda payload, status, body: bodies.append(body)) as sink,
    ):
        for _ in range(2):
            with anyio.fail_after(5):
                await sink.send(PAYLOAD)
        assert other.connections == 1
    assert bodies == [body] * 2
    assert b"\r\naccept-encoding: identity\r\n" in other.requests[0].lower()


async def test_an_answer_that_a_hook_of_the_client_s_has_read_is_read() -> None:
    bodies = []

    async def read(response: httpx.Response) -> None:
        await response.aread()

    async with (
        server(packed(b"fine", "gzip")) as other,
        httpx.AsyncClient(event_hooks={"response": [read]}) as client,
    ):
        sink = HTTPSink(other.url, http_client=client, read_answer=lambda payload, status, body: bodies.append(body))
        with anyio.fail_after(5):
            await sink.send(PAYLOAD)
    assert bodies == [b"fine"]


ODD_ANSWERS = [
    b"",
    b"\xff",
    b"[" * 100_000,
    b"null",
    b"[]",
    b"[1]",
    b"{}",
    b'{"errors": true}',
    b'{"errors": true, "items": 1}',
    b'{"errors": true, "items": [1, {}, {"create": []}]}',
    b'{"errors": true, "items": [{"create": {"status": "x"}}]}',
    b'[{"status": "x"}]',
    b'{"failed": "x"}',
    b'{"partialSuccess": {"rejectedLogRecords": "%s"}}' % (b"9" * 5000),
    b'{"partialSuccess": NaN}',
]


@pytest.mark.parametrize("make", [elasticsearch, axiom, honeycomb, otlp], ids=lambda make: make.__name__)
async def test_whatever_a_backend_says_of_what_it_took_is_not_sent_again(make: Callable[[str], HTTPSink]) -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body) for body in ODD_ANSWERS]
    async with server(*answers) as other:
        delivery = Delivery(make(other.url), spill=None)
        await delivery.init(REGISTRATION)
        for body in ODD_ANSWERS:
            await delivery.process(logs(1, 2))
            with anyio.fail_after(5):
                await delivery.flush()
            assert delivery.statistics().buffered == 0, body
        await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    assert len(other.requests) == len(ODD_ANSWERS)
    assert delivery.statistics().failures == 0


async def test_of_an_error_no_more_than_its_kind_is_said(caplog: pytest.LogCaptureFixture) -> None:
    items = b'{"errors": true, "items": [{"create": {"status": 400, "error": {"type": "%s"}}}]}'
    for kind, said in ((b"mapper_parsing_exception", "mapper_parsing_exception"), (b"canary of a line", "")):
        body = items % kind
        async with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as other:
            delivery = Delivery(elasticsearch(other.url), spill=None)
            await delivery.init(REGISTRATION)
            await delivery.process(logs(1))
            with anyio.fail_after(5):
                await delivery.flush()
            await delivery.shutdown(ShutdownReason.SPINDOWN, None)
        assert f"0 documents were put off and 1 rejected: {said})" in caplog.text
    assert "canary" not in caplog.text


async def test_a_function_that_cannot_read_an_answer_is_said_and_the_status_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read(payload: Payload, status: int, body: bytes) -> None:
        raise KeyError(body)

    answers = Answers(200, 200, 503)
    sink = HTTPSink("http://u:p@c.test:4318/?key=canary", http_client=answers.http, read_answer=read)
    await sink.send(PAYLOAD)
    await sink.send(PAYLOAD)
    with pytest.raises(SinkError, match="answered 503"):
        await sink.send(PAYLOAD)
    assert caplog.messages == [
        "an answer of http://c.test:4318 cannot be read (KeyError): its status counts (1 so far)"
    ]


async def test_a_backend_that_cannot_be_reached_is_named_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    failure = httpx.ConnectError("canary")
    answers = Answers(*[failure] * 9)
    sink = HTTPSink("http://canary:canary@c.test:4318/canary?key=canary", http_client=answers.http)
    delivery = Delivery(sink, spill=None, retry=Retry(attempts=1))
    await delivery.process(logs(1))
    await delivery.flush()
    assert caplog.messages == [
        "delivery: the sink does not take payloads (ConnectionError, http://c.test:4318); they are kept"
    ]


async def test_the_meaning_of_an_answer_may_be_read_otherwise() -> None:
    def read(payload: Payload, status: int, body: bytes) -> None:
        if b"errors" in body:
            msg = "refused in part"
            raise SinkError(msg, refused=[1], rejected=[0])

    answers = Answers(httpx.Response(200, text="errors"), httpx.Response(200, text="fine"))
    sink = HTTPSink("http://c.test", http_client=answers.http, read_answer=read)
    delivery = Delivery(sink, spill=None, retry=Retry(initial=0.001))
    await delivery.process(logs(1, 2, 3))
    await delivery.flush()
    assert [len(json.loads(request.content)) for request in answers.requests] == [3, 1]
    figures = delivery.statistics()
    assert (figures.delivered, figures.dropped_by_reason) == (2, {"rejected": 1})


async def test_what_is_too_large_is_sent_in_halves_and_only_what_is_too_large_by_itself_is_dropped() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(413 if len(request.content) > 200 else 200)

    sink = HTTPSink("http://c.test", http_client=httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    delivery = Delivery(sink, spill=None)
    await delivery.process([*logs(1, 2, 3), FunctionLog(time="", record="x" * 1000), *logs(5, 6, 7, 8)])
    await delivery.flush()
    figures = delivery.statistics()
    assert figures.delivered == 7
    assert figures.dropped_by_reason == {"too_large": 1}
    assert figures.buffered == 0


@pytest.mark.parametrize(
    "url", ["logs.example.com", "ftp://logs.example.com", "https:///path", "http://h:0/", "http://h:x/"]
)
def test_a_url_that_names_no_http_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HTTPSink needs a URL"):
        HTTPSink(url)


async def test_no_secret_and_no_telemetry_is_written_anywhere(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every failure that there is, with all loggers open; in URL, headers, proxy, telemetry, and answers."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.INFO)  # whose traces are of the wire
    monkeypatch.setenv("https_proxy", "ftp://canary:canary@canary.test:1/")
    echo = b"HTTP/1.1 %d No\r\nContent-Length: 6\r\n\r\ncanary"
    texts = []
    async with server(echo % 400) as bad, server(echo % 500) as down, server(b"canary\r\n\r\n") as broken:
        for url, headers in [
            (f"http://canary:canary@127.0.0.1:{bad.port}/canary?key=canary", {"X-Key": "canary"}),
            (down.url, {"Authorization": "Bearer canary"}),
            (broken.url, {}),
            (bad.url, {"X-Key": "canary\n"}),
            ("http://127.0.0.1:1/canary?canary", {}),
            ("https://127.0.0.1:1/canary?canary", {}),
        ]:
            sink = HTTPSink(url, headers=headers)
            delivery = Delivery(sink, spill=None, retry=Retry(attempts=1))
            await delivery.init(REGISTRATION)
            await delivery.process([FunctionLog(time="", record="canary")])
            with anyio.fail_after(5):
                await delivery.flush()
            try:
                with anyio.fail_after(5):
                    await sink.send(PAYLOAD)
            except (SinkError, OSError) as error:
                texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
            texts += [repr(sink), repr(delivery), str(delivery.statistics())]
            await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    with pytest.raises(ValueError, match="HTTPSink needs") as caught:
        HTTPSink("ftp://canary:canary@canary.test?canary")
    out, err = capsys.readouterr()
    texts += [caplog.text, out, err, str(caught.value), repr(PAYLOAD)]
    # The canaries that the test itself has written into its source are quoted by tracebacks.
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("    ")]
    assert len(lines) > 20
    assert not [line for line in lines if "canary" in line]
