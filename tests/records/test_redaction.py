"""Redaction: nothing that it looks for is left, wherever it was put, and nothing takes long."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest
from events_for_records import A, correlator, done, events, line, report, start
from hypothesis import given, strategies as st

from lambda_extension.records import (
    AWS_KEY,
    BEARER,
    CARD,
    EMAIL,
    InvocationReport,
    LogRecord,
    Pattern,
    Pipeline,
    redact,
)
from strategies import json_values

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # the one of AWS's documentation
SECRETS = [
    ("ann.example+tag@mail.example.co.uk", "ann.example"),
    ("ann.example%40mail.example.com", "ann.example"),
    ("ann.example\\u0040mail.example.com", "ann.example"),
    ("root@[127.0.0.1]", "root@"),
    ("ann@localhost", "ann@"),
    ("jürgen@müller.example", "müller"),
    ("4111111111111111", "1111"),
    ("4111 1111 1111 1111", "1111"),
    ("5555-5555-5555-4444", "5555"),
    ("3782 822463 10005", "822463"),
    ("6011000990139424", "6011"),
    ("4222222222222", "4222"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("ASIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("aws_secret_access_key = " + SECRET, SECRET),
    ('"SecretAccessKey": "' + SECRET + '"', SECRET),
    ("IQoJ" + "b3JpZ2luX2VjE" * 20, "b3JpZ2lu"),
    ("Bearer mF_9.B5f-4.1JqM", "mF_9"),
    ("authorization=bearer%20abcdefgh12345", "abcdefgh"),
    (JWT, "eyJ"),
]  # fmt: skip


def one(body: Any, **attributes: Any) -> LogRecord:
    (found,) = correlator().take(events(line("x")))
    assert isinstance(found, LogRecord)
    return found.replace(body=body, attributes=attributes)


def redacted(body: Any, *patterns: Any, **options: Any) -> Any:
    found = redact(*patterns, **options)(one(body))
    assert isinstance(found, LogRecord)
    return found.body


@pytest.mark.parametrize(("secret", "part"), SECRETS)
def test_what_is_ready_made_is_found_in_a_sentence(secret: str, part: str) -> None:
    for text in (secret, f"before {secret} after", f"<{secret}>", f"before\n{secret}\nafter", f"({secret}), {secret}"):
        assert part not in redacted(text)
        assert "[redacted]" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 17 accepted",
        A,
        "1772359203000 1772359200750123456",  # times since the epoch
        "4111111111111112",  # not the right check digit
        "0000000000000000",
        "4111 1111 1111",
        "1 2 3 4 123 4567 8901 2",
        "bearer of news",
        "a.b.c, eyJ.x, 10.0.0.1, v1.2.3",
        "AKIA",
        "secret_key = short",
        "me @ home",
    ],
)
def test_what_merely_looks_like_it_stays(text: str) -> None:
    record = one(text)
    assert redact()(record) is record


def test_only_the_patterns_that_are_asked_for_count() -> None:
    text = f"ann@example.com 4111111111111111 AKIAIOSFODNN7EXAMPLE Bearer {JWT} id-17"
    assert redacted(text, EMAIL) == text.replace("ann@example.com", "[redacted]")
    assert redacted(text, CARD) == text.replace("4111111111111111", "[redacted]")
    assert redacted(text, AWS_KEY) == text.replace("AKIAIOSFODNN7EXAMPLE", "[redacted]")
    assert redacted(text, BEARER) == text.replace(JWT, "[redacted]")
    assert redacted(text, r"id-\d+", replacement="***") == text.replace("id-17", "***")
    assert redacted("aXb", r"(?P<secret>X)|b") == "a[redacted][redacted]"
    assert redacted("aab", Pattern(name="nothing", find=EMAIL.find)) == "aab"
    assert redacted("ab", "x*") == "ab", "what matches nothing is nothing"


def test_keys_give_away_values_that_no_pattern_knows() -> None:
    body = {
        "SecretAccessKey": "short",
        "headers": {"Authorization": "Basic YTpi", "authorization": ["Basic YTpi"], "Accept": "*/*"},
        "secret_access_key": "",
        "sessionToken": {"nested": "stays"},
        "accessToken": 123456,
        "refresh_token": [1, {"a": 2}],
        "id-token": 0,
    }
    assert redacted(body) == {
        "SecretAccessKey": "[redacted]",
        "headers": {"Authorization": "[redacted]", "authorization": "[redacted]", "Accept": "*/*"},
        "secret_access_key": "",
        "sessionToken": {"nested": "stays"},
        "accessToken": "[redacted]",
        "refresh_token": "[redacted]",
        "id-token": 0,
    }


def test_keys_are_looked_at_anew_when_there_are_too_many_to_remember() -> None:
    redaction = redact(EMAIL)
    for n in range(1100):
        found = redaction(one("x", **{f"{n}@example.com": 1, f"key {n}": "ann@example.com"}))
        assert isinstance(found, LogRecord)
        assert found.attributes == {"[redacted]": 1, f"key {n}": "[redacted]"}


def test_a_record_in_which_something_was_replaced_has_no_raw_event() -> None:
    plain = one("nothing")
    assert plain.event is not None
    assert redact()(plain) is plain
    found = redact()(one("x", mail="ann@example.com"))
    assert isinstance(found, LogRecord)
    assert (found.event, found.attributes) == (None, {"mail": "[redacted]"})


def test_reports_are_redacted_too() -> None:
    subject = correlator()
    found = subject.take(
        events(start(A), done(A, status="error"), report(A, status="error", errorType="for ann@example.com"))
    )
    told = redact()(found[-1])
    assert isinstance(told, InvocationReport)
    assert told.error_type == "for [redacted]"
    assert redact()(told) is told


@pytest.mark.parametrize("key", ["level", "severity", "@l", "log.level"])
def test_what_somebody_logs_as_a_level_is_looked_at(key: str) -> None:
    (found,) = correlator().take(events(line({key: "for ann@example.com", "message": "x"})))
    told = redact()(found)
    assert isinstance(told, LogRecord)
    assert (told.severity_number, told.severity_text, told.event) == (0, "for [redacted]", None)
    (level,) = correlator().take(events(line({key: "INFO", "message": "x"})))
    assert redact(r"INFO")(level) is level, "a level says nothing of anybody"


def test_the_id_of_a_tenant_is_looked_at_in_every_record_of_its_invocation() -> None:
    told = events(start(A, tenantId="ann@example.com"), line("x"), done(A), report(A))
    found = Pipeline([redact()]).apply(correlator().take(told))
    assert [record.context.tenant_id for record in found] == ["[redacted]"] * 5
    assert not any(b"example.com" in record.encode() for record in found)


def test_a_number_is_looked_at_however_it_is_written() -> None:
    assert redacted([4111111111111111, 4111111111111111.0, 4111111111111112.0]) == [
        "[redacted]",
        "[redacted]",
        4111111111111112.0,
    ]
    assert redacted([1.5, 1e300, -1e15]) == [1.5, 1e300, -1e15]
    assert redacted([52.5200, True], r"52\.52") == ["[redacted]", True]


def test_numbers_and_keys_are_looked_at_too() -> None:
    assert redacted({"n": 4111111111111111, "m": 10**30, "f": 1.5, "b": True}) == {
        "n": "[redacted]",
        "m": 10**30,
        "f": 1.5,
        "b": True,
    }
    assert redacted({"ann@example.com": 1, "bob@example.com": 2, "[redacted]_": 3}) == {
        "[redacted]": 1,
        "[redacted]__": 2,
        "[redacted]_": 3,
    }


def test_json_in_json_is_looked_at_however_often_it_was_quoted() -> None:
    text = f'"SecretAccessKey": "{SECRET}"'
    for _ in range(8):
        assert SECRET not in redacted(text)
        text = msgspec.json.encode(text).decode()


def test_what_is_not_looked_at_does_not_leave() -> None:
    assert redacted("a" * 10 + " ann@example.com", limit=12) == "a" * 10 + " a[redacted]"
    deep: Any = "x"
    for _ in range(70):
        deep = [deep]
    assert msgspec.json.encode(redacted(deep)) == b"[" * 64 + b'"[redacted]"' + b"]" * 64


def test_what_is_nested_is_looked_at_once() -> None:
    looked_at: list[str] = []

    def note(text: str) -> bool:
        looked_at.append(text)
        return True

    deep: Any = {"before": "stays", "secret": "1", "after": "2"}
    for _ in range(30):
        deep = {"first": "one", "in": deep, "last": "end"}
    found = redacted(deep, Pattern(name="numbers", find=re.compile(r"\d+"), hint=note))
    inside = b'{"before":"stays","secret":"[redacted]","after":"[redacted]"}'
    assert msgspec.json.encode(found) == b'{"first":"one","in":' * 30 + inside + b',"last":"end"}' * 30
    assert looked_at.count("1") == looked_at.count("2") == 1


SEPARATED = st.sampled_from([" ", "\n", "\t", ", ", "; ", '"', "(", "<", "=", ": ", '\\"', "|", "é "])


@st.composite
def hidden(draw: st.DrawFn) -> tuple[Any, str]:
    """Give a JSON value with a secret somewhere in it, and a part of that secret."""
    secret, part = draw(st.sampled_from(SECRETS))
    around = st.text(st.characters(exclude_characters="[]{}", exclude_categories=["Cs"]), max_size=30)
    value: Any = draw(around) + draw(SEPARATED) + secret + draw(SEPARATED) + draw(around)
    for _ in range(draw(st.integers(0, 6))):
        neighbours = draw(st.lists(json_values, max_size=2))
        match draw(st.sampled_from(["list", "value", "key", "text"])):
            case "list":
                value = [*neighbours, value, *neighbours]
            case "value":
                value = {"other": neighbours, draw(st.text(max_size=5)): value}
            case "key" if isinstance(value, str):
                value = {value: neighbours}
            case "text":  # JSON as a text within JSON
                value = msgspec.json.encode(value).decode()
            case _:
                value = (value,)
    return value, part


@given(hidden(), st.sampled_from(["body", "attributes"]))
def test_nothing_is_left_wherever_it_was_put(put: tuple[Any, str], place: str) -> None:
    value, part = put
    record = one("x", a=value) if place == "attributes" else one(value)
    (found,) = Pipeline([redact()]).apply([record])
    assert part.encode() not in found.encode().replace("jürgen".encode(), b"")
    assert b"[redacted]" in found.encode()


HOSTILE = [
    "a", "a@", "1", "1 ", "bearer ", "eyJ", "eyJaaaaaaaa.", "a.b", "@a.", 'secret_key=""""', "IQoJ", "%40", "AKIA",
    "a\\", "\\\\\\\\u0040", "4", "4 4", "4444 ", "eyJ.", "eyJ bearer ", "secret-key ", "a.", "-", "secret_key\\", "\\",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    """Eight times the text takes nowhere near the sixty-four times that a quadratic pattern would."""

    def seconds(size: int) -> float:
        record = one(piece * (size // len(piece)))
        rounds = []
        for _ in range(3):
            began = time.process_time()
            redact()(record)
            rounds.append(time.process_time() - began)
        return min(rounds)

    assert seconds(128_000) <= max(seconds(16_000), 0.002) * 24
