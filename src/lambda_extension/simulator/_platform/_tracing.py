"""X-Ray's trace header: a new one, and the one that the function gets; pure but for randomness."""

from __future__ import annotations

import secrets
import time


def new_trace_header() -> str:
    """Return the header of a new, sampled trace."""
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={new_span_id()};Sampled=1"


def new_span_id() -> str:
    """Return a new span id."""
    return secrets.token_hex(8)


def as_parent(header: str, span_id: str | None) -> str:
    """Return the header that makes the span with this id the parent of what follows; the same one without an id."""
    if span_id is None:
        return header
    parts = [part for part in header.split(";") if part and not part.startswith("Parent=")]
    after_root = next((number for number, part in enumerate(parts, 1) if part.startswith("Root=")), 0)
    return ";".join([*parts[:after_root], f"Parent={span_id}", *parts[after_root:]])
