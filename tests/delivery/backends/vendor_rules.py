"""What vendors document about their formats, as a server that answers by it, and readers that check it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from http_servers import QuietHandler, serving


@attrs.define
class Answering:
    """A server that notes each request, and gives the answers that a test has laid down."""

    url: str
    requests: list[tuple[str, dict[str, str], bytes]] = attrs.field(factory=list)
    answers: list[tuple[int, bytes]] = attrs.field(factory=list)

    def last(self) -> tuple[str, dict[str, str], Any]:
        """Give path, headers, and the body as text or as JSON."""
        path, headers, body = self.requests[-1]
        text = body.decode()
        return path, headers, json.loads(text) if text[:1] in "[{" and "\n" not in text else text


@contextmanager
def answering() -> Iterator[Answering]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            state.requests.append((self.path, dict(self.headers), self.read_body()))
            self.answer(*(state.answers.pop(0) if state.answers else (200, b"{}")))

    with serving(Handler) as url:
        state = Answering(url)
        yield state


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
UNITS = {"Milliseconds", "Megabytes", "Bytes", "Count"}


def check_embedded_metrics(line: bytes) -> dict[str, Any]:
    """Check a line by CloudWatch's specification, and give its root."""
    assert len(line) < 1024 * 1024
    assert b"\n" not in line
    root: dict[str, Any] = json.loads(line)
    told = root["_aws"]
    assert isinstance(told["Timestamp"], int)
    for directive in told["CloudWatchMetrics"]:
        assert 1 <= len(directive["Namespace"]) <= 256
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= 30
            assert all(isinstance(root[name], str) and 1 <= len(root[name]) <= 1024 for name in dimensions)
        assert 1 <= len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert metric["Unit"] in UNITS
            assert isinstance(root[metric["Name"]], int | float)
            assert not isinstance(root[metric["Name"]], bool)
    return root


HEADER = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>[\x21-\x7e]{1,255}) (?P<app>[\x21-\x7e]{1,48}) "
    rb"(?P<proc>[\x21-\x7e]{1,128}) (?P<msgid>[\x21-\x7e]{1,32}) "
)


def read_frames(body: bytes) -> list[dict[str, Any]]:
    """Read octet-counted frames of RFC 5424 as a strict receiver does (RFC 6587, section 3.4.1)."""
    messages = []
    while body:
        length, _, body = body.partition(b" ")
        assert length.isdigit()
        assert length[:1] != b"0"
        messages.append(read_message(body[: int(length)]))
        body = body[int(length) :]
    return messages


def read_message(frame: bytes) -> dict[str, Any]:
    found = HEADER.match(frame)
    assert found is not None, frame[:200]
    assert int(found["pri"]) <= 191
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", found["time"])
    rest = frame[found.end() :]
    data: dict[str, dict[str, str]] = {}
    if rest[:1] == b"-":
        rest = rest[1:]
    while rest[:1] == b"[":
        name, parameters, rest = read_element(rest[1:])
        assert name not in data
        data[name] = parameters
    assert rest[:1] == b" "
    assert rest[1:4] == b"\xef\xbb\xbf"
    return {**found.groupdict(), "data": data, "message": rest[4:].decode()}


def read_element(rest: bytes) -> tuple[str, dict[str, str], bytes]:
    name = re.match(rb"[^\x00-\x20=\]\"\x7f-\xff]{1,32}", rest)
    assert name is not None
    rest = rest[name.end() :]
    parameters: dict[str, str] = {}
    while rest[:1] == b" ":
        found = re.match(rb' ([^\x00-\x20=\]"\x7f-\xff]{1,32})="((?:[^"\\\]]|\\.)*)"', rest, re.DOTALL)
        assert found is not None, rest[:200]
        value = re.sub(rb'\\(["\\\]])', rb"\1", found[2])
        parameters[found[1].decode()] = value.decode()
        rest = rest[found.end() :]
    assert rest[:1] == b"]"
    return name[0].decode(), parameters, rest[1:]
