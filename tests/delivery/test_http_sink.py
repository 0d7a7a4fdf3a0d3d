"""HTTPSink: what is sent, and what an answer means."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import httpx
import pytest
from sinks_for_tests import logs

from lambda_extension.delivery import Delivery, HTTPSink, JSONArray, Payload, SinkError
from lambda_extension.delivery._http import Authorize

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
        (403, False, True),
        (404, False, True),
        (408, True, True),
        (413, False, False),
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
    assert f"answered {status}: because" in str(error)


async def test_retry_after_may_be_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    for text in (format_datetime(moment, usegmt=True), format_datetime(moment.replace(tzinfo=None))):
        error = await outcome(httpx.Response(503, headers={"Retry-After": text}))
        assert isinstance(error, SinkError)
        assert error.retry_after is not None
        assert 90 < error.retry_after <= 100


@pytest.mark.parametrize("text", ["", "soon", "-1"])
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


async def test_a_client_of_its_own_is_closed_and_one_passed_in_is_not() -> None:
    answers = Answers(200)
    async with HTTPSink("http://c.test", http_client=answers.http):
        pass
    assert not answers.http.is_closed
    async with HTTPSink("http://127.0.0.1:1") as sink:
        with anyio.fail_after(5), pytest.raises(ConnectionError):
            await sink.send(PAYLOAD)
        http = sink._http
    assert http is not None
    assert http.is_closed
    async with HTTPSink("http://c.test"):
        pass


async def test_certificates_are_loaded_once_and_before_they_are_needed() -> None:
    async with HTTPSink("https://127.0.0.1:1") as sink:
        await sink.open()
        http = sink._http
        await sink.open()
        assert sink._http is http


@pytest.mark.parametrize("url", ["logs.example.com", "ftp://logs.example.com", "https:///path"])
def test_a_url_that_names_no_http_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HTTPSink needs a URL"):
        HTTPSink(url)
