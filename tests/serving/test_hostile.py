"""Arbitrary bytes, cut at arbitrary places: no crash, no hang, no batch lost or invented, and others are answered."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hostile import hostile
from hypothesis import HealthCheck, given, settings, strategies as st
from serving_for_tests import Peer, Running, running

from lambda_extension.serving import ServerName
from lambda_extension.telemetry import Batch
from lambda_extension.telemetry._app import TelemetryReceiver

HERE = Path(__file__).parent


def request(name: str, *, chunked: bool) -> bytes:
    body = json.dumps([{"time": "t", "type": "function", "record": name}]).encode()
    if chunked:
        pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:7], body[7:])]
        return b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(pieces) + b"0\r\n\r\n"
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def attack(run: Running, pieces: list[bytes], *, leave: str) -> bytes:
    """Send pieces, leave in one of several ways, and return what was answered."""
    peer = await run.connect()
    async with peer:
        try:
            for piece in pieces:
                await peer.send(piece)
                await anyio.lowlevel.checkpoint()
            if leave == "reset":
                await peer.reset()
            elif leave == "half":
                await peer.stream.send_eof()
                return await peer.rest()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, RuntimeError):
            pass  # the last of uvloop, which ends no broken connection
    return b""


async def good(peer: Peer, names: list[str]) -> None:
    for name in names:
        await peer.send(request(name, chunked=False))
        assert (await peer.answer())[0] == 200


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    parts=st.lists(st.one_of(hostile, st.booleans()), min_size=1, max_size=5),
    cuts=st.lists(st.integers(min_value=0, max_value=600), max_size=6),
    leave=st.sampled_from(["reset", "half", "close"]),
)
async def test_no_batch_is_lost_or_invented_and_the_next_connection_works(
    server: ServerName, parts: list[bytes | bool], cuts: list[int], leave: str
) -> None:
    sent = [
        request(f"hostile {index}", chunked=part) if isinstance(part, bool) else part
        for index, part in enumerate(parts)
    ]
    stream = b"".join(sent)
    places = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]

    send, receive = anyio.create_memory_object_stream[Batch](100)
    receiver = TelemetryReceiver(send, max_body_bytes=100_000)
    with send, receive:
        async with running(receiver, server, graceful_timeout=0.2) as run, await run.connect() as other:
            answers = b""
            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(good, other, ["good 0", "good 1"])
                    answers = await attack(run, pieces, leave=leave)
                async with await run.connect() as later:
                    await good(later, ["good 2"])
            run.stop.set()
            with anyio.fail_after(5):
                await run.ended.wait()
        taken = [
            str(event.record) for _ in range(receiver.counters.received_batches) for event in receive.receive_nowait()
        ]
    theirs = [name for name in taken if name.startswith("hostile")]
    assert sorted(set(taken) - set(theirs)) == ["good 0", "good 1", "good 2"]
    assert len(taken) == len(set(taken))
    assert set(theirs) <= {f"hostile {index}" for index, part in enumerate(parts) if isinstance(part, bool)}
    # What was acknowledged is there; what could not be acknowledged any more may be.
    assert answers.count(b"HTTP/1.1 200 ") <= len(theirs)
    assert receiver.counters.received_batches == len(taken)


@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
def test_garbage_costs_no_good_request_and_does_not_flood_the_log(backend: str, server: ServerName) -> None:
    script = HERE / "hostile.py"
    done = subprocess.run([sys.executable, script, backend, server, "600"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["good"] == counts["tried"] == 300
    assert len(done.stderr) < 10_000, done.stderr[:20_000]
    assert len(done.stderr.splitlines()) < 60
