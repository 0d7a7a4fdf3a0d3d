"""Trace and span ids: from the operating system, never zero, and those of an invocation settled once."""

from __future__ import annotations

import os

import pytest
from converting import HEADER, PARENT_ID, TRACE_ID

from lambda_extension.otel import _identity
from lambda_extension.otel._identity import Identities, new_span_id
from lambda_extension.telemetry import TraceContext


def test_a_span_id_is_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([bytes(8), b"\x00\x01" * 4])
    monkeypatch.setattr(os, "urandom", lambda _: next(made))
    assert new_span_id() == "0001" * 4


def test_what_is_settled_never_changes() -> None:
    identities = Identities(lambda: 1_700_000_000.0)
    own = identities.settle("r1")
    assert own.trace_id.startswith(f"{1_700_000_000:08x}")
    identities.tell("r1", TraceContext(value=HEADER))
    assert identities.settle("r1") == identities.known("r1") == own
    identities.tell("r2", TraceContext(value=HEADER))
    identities.tell("r2", None)
    told = identities.known("r2")
    assert told is not None
    assert (told.trace_id, told.parent_id, told.certain) == (TRACE_ID, PARENT_ID, True)
    identities.tell("r3", TraceContext(value="Root=nonsense"))
    assert identities.known("r3") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_identity, "_MOST", 2)
    identities = Identities()
    for request_id in ("r1", "r2", "r3"):
        identities.settle(request_id)
    assert identities.known("r1") is None
    assert identities.known("r3") is not None
