"""Which trace and span an invocation is: known from its X-Ray header, else made, once."""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, final

import msgspec

from lambda_extension.telemetry import TraceContext

_HEADER: Final = re.compile(r"(?:^|;)\s*Root=1-([0-9a-f]{8})-([0-9a-f]{24})\s*(?:;|$)", re.IGNORECASE)
_PARENT: Final = re.compile(r"(?:^|;)\s*Parent=([0-9a-f]{16})\s*(?:;|$)", re.IGNORECASE)
_SAMPLED: Final = re.compile(r"(?:^|;)\s*Sampled=([01])\s*(?:;|$)")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}", re.IGNORECASE)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
# Invocations that are remembered; as many as `lambda_extension.records` has open and has closed.
_MOST: Final = 2_000


def new_trace_id(seconds: float) -> str:
    """Make a trace id as X-Ray wants it: it begins with the time, and X-Ray refuses one that is a month old."""
    return f"{int(seconds) & 0xFFFFFFFF:08x}{os.urandom(12).hex()}"


def new_span_id() -> str:
    """Make a span id.

    From the operating system, as trace ids are: generators of this process are the same in every environment that was
    restored from one snapshot.
    """
    while (made := os.urandom(8).hex()) == _NO_SPAN:
        pass
    return made


class Identity(msgspec.Struct, frozen=True):
    """A span's place in its trace.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits, or empty for a root.
        sampled: Whether whoever began the trace wants it recorded.
        certain: Whether the platform has told of a trace; where it has not, it may still do so.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    certain: bool


def identity_of(tracing: TraceContext | None, seconds: float) -> Identity:
    """Give the identity that a trace context tells of; a new one where there is none.

    Args:
        tracing: What the platform said.
        seconds: Epoch seconds, for an id that has to be made.
    """
    header = (tracing.value if tracing is not None else None) or ""
    own = (tracing.span_id if tracing is not None else None) or ""
    root, above, sampled = _HEADER.search(header), _PARENT.search(header), _SAMPLED.search(header)
    trace_id = (root[1] + root[2]).lower() if root else _NO_TRACE
    certain = trace_id != _NO_TRACE
    parent_id = above[1].lower() if certain and above else _NO_SPAN
    span_id = own.lower() if _SPAN_ID.fullmatch(own) and own != _NO_SPAN else new_span_id()
    return Identity(
        trace_id=trace_id if certain else new_trace_id(seconds),
        span_id=span_id,
        parent_id="" if parent_id == _NO_SPAN else parent_id,
        sampled=not certain or sampled is None or sampled[1] == "1",
        certain=certain,
    )


@final
class Identities:
    """The identities of invocations by their request ids: each one is settled once, and never changes after.

    Args:
        clock: Epoch seconds.
        sampled_alone: Whether the platform tells of a trace only where it is sampled, as it does on Managed Instances:
            once it has told of one, so that tracing is on, an invocation without is one that is not sampled.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, sampled_alone: bool = False) -> None:
        self._clock = clock
        self._sampled_alone = sampled_alone
        self._has_told = False
        self._known: OrderedDict[str, Identity] = OrderedDict()

    def known(self, request_id: str) -> Identity | None:
        """Give the identity of an invocation, if it is settled."""
        return self._known.get(request_id)

    def tell(self, request_id: str, tracing: TraceContext | None) -> None:
        """Settle an invocation's identity by what the platform says of its trace; nothing where it says nothing."""
        if request_id not in self._known and tracing is not None:
            told = identity_of(tracing, self._clock())
            if told.certain:
                self._has_told = True
                self._settle(request_id, told)

    def settle(self, request_id: str) -> Identity:
        """Give the identity of an invocation; where nobody has told of one, it gets a new one."""
        found = self._known.get(request_id)
        if found is not None:
            return found
        made = identity_of(None, self._clock())
        if self._sampled_alone and self._has_told:
            made = msgspec.structs.replace(made, sampled=False)
        return self._settle(request_id, made)

    def _settle(self, request_id: str, identity: Identity) -> Identity:
        self._known[request_id] = identity
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return identity
