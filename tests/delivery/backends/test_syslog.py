"""Syslog over TCP: frames that a strict reader takes, and connections that break."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.streams.tls
import pytest
import trustme
from anyio.abc import SocketAttribute
from records_for_backends import HOSTILE, KEPT, REQUEST_ID, hostile, log, payload_of, report
from vendor_rules import read_frames

from lambda_extension.delivery import SinkError
from lambda_extension.delivery.sinks import Syslog5424, SyslogSink, syslog
from lambda_extension.records import Context, LogRecord


def framed(*records: Any, **settings: Any) -> list[dict[str, Any]]:
    return read_frames(payload_of(Syslog5424(**settings), list(records)).body)


def test_hostile_content_is_read_back_as_it_was() -> None:
    found = framed(*hostile("m"))
    assert len(found) == len(HOSTILE)
    for message, (name, body) in zip(found, KEPT.items(), strict=True):
        expected = body.replace("\x00", "\ufffd")
        assert message["message"] == expected
        assert message["data"]["attributes@32473"]["name"] == name
        assert message["data"]["attributes@32473"]["value"] == (expected if len(body) < 1000 else "long")
        assert message["data"]["lambda@32473"]["requestId"] == REQUEST_ID


@pytest.mark.parametrize(
    ("level", "severity"), [(0, 6), (1, 7), (5, 7), (9, 6), (13, 4), (17, 3), (21, 2), (24, 2), (99, 6)]
)
def test_levels_become_severities(level: int, severity: int) -> None:
    (message,) = framed(log("m", level=level), facility=16)
    assert int(message["pri"]) == 16 * 8 + severity


def test_a_report_is_a_message_too() -> None:
    failed, well = framed(report(), report().replace(outcome="success"))
    assert (int(failed["pri"]) % 8, int(well["pri"]) % 8) == (3, 6)
    assert failed["data"]["lambda@32473"]["durationMs"] == "3000.5"
    assert failed["msgid"] == b"report"


def test_names_and_values_keep_to_their_bounds() -> None:
    odd: dict[str, Any] = {"a b": 1, "a=b": 2, 'a"b': 3, "é": 4, "x" * 40: 5, "x" * 41: 6, "": 7}
    (message,) = framed(log("m", context=Context(function_name="ü x"), **odd), max_bytes=10)
    assert (message["host"], message["app"]) == (b"__x", b"__x")
    assert {"a_b", "a_b_", "a_b__", "_", "__"} <= message["data"]["attributes@32473"].keys()
    (message,) = framed(log("x" * 100, value="v" * 100_000), max_bytes=10)
    assert message["message"] == "x" * 7 + "…"
    assert len(message["data"]["attributes@32473"]["value"].encode()) <= 48 * 1024
    (bare,) = framed(LogRecord("2026-03-01T10:00:00.123456789Z", "platform", "unknown", 0, None, None, {}, Context()))
    assert (bare["time"], bare["host"], bare["message"]) == (b"2026-03-01T10:00:00.123456Z", b"-", "")


@pytest.mark.parametrize("facility", [-1, 24])
def test_a_facility_that_there_is_not_is_refused(facility: int) -> None:
    with pytest.raises(ValueError, match="facility"):
        syslog("127.0.0.1", facility=facility)


class Receiver:
    """Takes connections one after the other, and closes each after so many messages."""

    def __init__(self, closes_after: int) -> None:
        self.closes_after = closes_after
        self.connections = 0
        self.received: list[dict[str, Any]] = []
        self.changed = anyio.Event()

    async def __call__(self, stream: anyio.abc.ByteStream) -> None:
        self.connections += 1
        held = b""
        taken = 0
        async with stream:
            while taken < self.closes_after:
                try:
                    held += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                length, found, rest = held.partition(b" ")
                while found and len(rest) >= int(length):
                    self.received += read_frames(length + b" " + rest[: int(length)])
                    taken += 1
                    length, found, rest = rest[int(length) :].partition(b" ")
                held = length + found + rest
                self.changed.set()

    async def wait_for(self, count: int) -> None:
        with anyio.fail_after(5):
            while len(self.received) < count:
                self.changed = anyio.Event()
                await self.changed.wait()


async def test_a_kept_connection_is_used_again_and_a_closed_one_made_anew() -> None:
    receiver = Receiver(closes_after=2)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, receiver)
        sink = syslog("127.0.0.1", listener.extra(SocketAttribute.local_port), tls=False)
        for n in range(2):
            await sink.send(payload_of(sink.encoder, [log(f"{n}")]))
        await receiver.wait_for(2)
        assert receiver.connections == 1
        with anyio.fail_after(5):
            while True:  # until the news of its end is here
                try:
                    await sink.send(payload_of(sink.encoder, [log("2")]))
                except ConnectionResetError:
                    break
                await anyio.lowlevel.checkpoint()
        await sink.send(payload_of(sink.encoder, [log("3")]))
        await receiver.wait_for(3)
        assert receiver.received[-1]["message"] == "3"
        assert receiver.connections == 2
        await sink.aclose()
        await sink.aclose()
        tasks.cancel_scope.cancel()


async def test_a_receiver_that_cannot_be_reached_is_an_error_that_passes() -> None:
    sink = syslog("127.0.0.1", 1, tls=False)
    with pytest.raises(OSError, match="connect"):
        await sink.send(payload_of(sink.encoder, [log("m")]))


async def test_a_receiver_that_takes_nothing_costs_a_time_out_and_its_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which nobody reads from
        sink = SyslogSink("127.0.0.1", silent.getsockname()[1], tls=False, timeout=0.3)
        large = payload_of(sink.encoder, [log("x" * 250_000, n) for n in range(100)])
        with pytest.raises(TimeoutError):
            await sink.send(large)
        accepted, _ = silent.accept()
        with accepted:
            accepted.settimeout(5)
            while accepted.recv(1 << 20):  # to its end, which there would not be if it had been kept
                pass


async def test_tls_is_spoken_unless_told_otherwise() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    receiver = Receiver(closes_after=1)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as plain, anyio.create_task_group() as tasks:
        listener = anyio.streams.tls.TLSListener(plain, context, standard_compatible=False)
        tasks.start_soon(listener.serve, receiver)
        port = plain.extra(SocketAttribute.local_port)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        sink = SyslogSink("127.0.0.1", port, tls=trusting)
        await sink.send(payload_of(sink.encoder, [log("secret")]))
        await receiver.wait_for(1)
        assert receiver.received[0]["message"] == "secret"
        await sink.aclose()
        with pytest.raises((OSError, SinkError)):
            stranger = syslog("127.0.0.1", port)
            await stranger.send(payload_of(stranger.encoder, [log("m")]))
        tasks.cancel_scope.cancel()
