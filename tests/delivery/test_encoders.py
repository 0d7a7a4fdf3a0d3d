"""Formats, and how batches are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sinks_for_tests import logs

from lambda_extension.delivery import NDJSON, Batching, JSONArray
from lambda_extension.delivery._batches import Buffer
from lambda_extension.delivery._encoders import compress
from lambda_extension.telemetry import decode, encode


def test_a_json_array_is_what_the_platform_sends() -> None:
    encoder = JSONArray()
    events = logs(1, 2, 3)
    body = encoder.join([encoder.encode_event(event) for event in events])
    assert body == encode(events)
    assert encoder.content_type == "application/json"


def test_ndjson_is_one_event_per_ended_line() -> None:
    encoder = NDJSON()
    unknown = decode(b'[{"type":\n"new",\r\n"record":1}, {"type":"newer"}]')
    body = encoder.join([encoder.encode_event(event) for event in [*logs(1), *unknown]])
    assert body.endswith(b"}\n")
    assert [json.loads(line)["type"] for line in body.splitlines()] == ["function", "new", "newer"]
    assert encoder.content_type == "application/x-ndjson"


@pytest.mark.parametrize("encoder", [JSONArray, NDJSON])
def test_an_unknown_compression_is_refused(encoder: Any) -> None:
    with pytest.raises(ValueError, match="compression"):
        encoder(compression="br")


def test_compression_does_not_depend_on_the_time() -> None:
    assert compress(b"x", "gzip") == compress(b"x", "gzip")
    assert compress(b"x", None) == b"x"


@pytest.mark.parametrize("encoder", [JSONArray(), NDJSON()])
def test_batches_are_cut_by_items_and_by_bytes_of_the_body(encoder: Any) -> None:
    buffer = Buffer(Batching(max_items=3, max_bytes=150))
    for event in logs(*range(7)):
        buffer.add(encoder.encode_event(event), 0.0)
    sizes = [chunk.items for chunk in buffer]
    assert sizes == [2, 2, 2, 1]
    assert all(len(encoder.join(chunk.pieces)) <= chunk.size <= 150 for chunk in buffer)
    assert buffer.items == 7

    buffer = Buffer(Batching(max_items=3))
    for event in logs(*range(7)):
        buffer.add(encoder.encode_event(event), 0.0)
    assert [chunk.items for chunk in buffer] == [3, 3, 1]
    assert [chunk.sequence for chunk in buffer] == [1, 2, 3]
    assert len(buffer) == 3


def test_batches_are_cut_by_age() -> None:
    buffer = Buffer(Batching(max_age=5.0))
    for moment in (0.0, 5.0, 5.1, 9.0):
        buffer.add(b"x", moment)
    assert [chunk.items for chunk in buffer] == [2, 2]


def test_an_event_longer_than_a_batch_travels_alone() -> None:
    buffer = Buffer(Batching(max_bytes=10))
    for piece in (b"a", b"b" * 100, b"c"):
        buffer.add(piece, 0.0)
    assert [chunk.items for chunk in buffer] == [1, 1, 1]


def test_a_batch_that_is_taken_grows_no_more() -> None:
    buffer = Buffer(Batching())
    assert buffer.oldest() is None
    buffer.add(b"a", 0.0)
    first = buffer.oldest()
    assert first is not None
    buffer.add(b"b", 0.0)
    assert first.items == 1
    first.leased = True
    second = buffer.oldest()
    assert second is not None
    assert second.pieces == [b"b"]
    buffer.remove(first)
    buffer.remove(second)
    assert (buffer.items, buffer.size) == (0, 0)


def test_a_text_is_json_like_any_other_value() -> None:
    """It has a method `encode` too, which is another matter."""
    assert JSONArray().encode_event('a"b') == b'"a\\"b"'


def test_what_knows_its_own_json_is_asked_for_it() -> None:
    class Own:
        def encode(self) -> bytes:
            return b'{"own":1}'

    assert NDJSON().encode_event(Own()) == b'{"own":1}'
