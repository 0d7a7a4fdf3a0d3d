"""`sample`: a share of the invocations, and all of one that failed. Pure."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import final

from lambda_extension.records._correlator import Record
from lambda_extension.records._record import LogRecord
from lambda_extension.records._reports import InvocationReport
from lambda_extension.records._severity import ERROR
from lambda_extension.records._transforms import OnFailure

_REMEMBERED = 1000


def sample(
    ratio: float,
    *,
    by: Callable[[Record], str | None] | None = None,
    max_records: int = 10_000,
    max_bytes: int = 8 * 1024 * 1024,
) -> Sample:
    """Keep a share of the invocations, chosen by a hash of their request id, and every invocation that failed.

    The records of an invocation that is not chosen are kept back until its end is known, which costs memory and time:
    those of one that failed leave with its end. When more is kept back than is allowed, the longest kept invocation
    goes on whole. Records of no invocation, and reports, always go on.

    Args:
        ratio: From 0 to 1.
        by: What to choose by instead, such as a customer's id; what gives None goes on.
        max_records: Records that are kept back at most.
        max_bytes: Their bytes at most, about.

    Raises:
        ValueError: The ratio is none.
    """
    if not 0 <= ratio <= 1:
        msg = f"a ratio is from 0 to 1, not {ratio!r}"
        raise ValueError(msg)
    return Sample(ratio, by, max_records, max_bytes)


@final
class Sample:
    """What `sample` gives: a transform that keeps records back.

    Attributes:
        name: For its account.
        on_failure: A record goes on untouched.
    """

    def __init__(
        self, ratio: float, by: Callable[[Record], str | None] | None, max_records: int, max_bytes: int
    ) -> None:
        self.name: str = f"sample({ratio})"
        self.on_failure: OnFailure = "keep"
        self._settings = (ratio, by, max_records, max_bytes)
        self._threshold = ratio * 2**32
        self._by = by or _request_id
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._kept_back: OrderedDict[str, list[Record]] = OrderedDict()
        self._records = 0
        self._bytes = 0
        self._verdicts: OrderedDict[str, bool] = OrderedDict()

    def anew(self) -> Sample:
        """Return one of the same settings that keeps nothing back yet."""
        return Sample(*self._settings)

    @property
    def held(self) -> int:
        """Records that are kept back."""
        return self._records

    def __call__(self, record: Record) -> Record | Iterable[Record] | None:
        """Say what is to become of a record; None if it is left out, or kept back."""
        request_id = record.request_id
        if request_id is None or isinstance(record, InvocationReport):
            return record
        key = self._by(record)
        if key is None or zlib.crc32(key.encode("utf-8", "replace")) < self._threshold:
            return record
        verdict = self._verdicts.get(request_id)
        if verdict is not None:
            return record if verdict else None
        self._kept_back.setdefault(request_id, []).append(record)
        self._records += 1
        self._bytes += size_of(record)
        return self._overflowing()

    def observe(self, record: Record) -> Iterable[Record]:
        """See how invocations end; give what is due then."""
        request_id = record.request_id
        if request_id is None:
            return ()
        if isinstance(record, InvocationReport):
            keep = record.outcome != "success"  # nor is one thrown away of which nobody knows how it ended
            return self._decide(request_id, keep) if keep or request_id not in self._verdicts else ()
        # What the platform says of a failure comes before its report does, which may be after a freeze.
        ended = record.type in {"platform.runtimeDone", "platform.report"}
        return self._decide(request_id, True) if ended and record.severity_number >= ERROR else ()

    def flush(self) -> Iterable[Record]:
        """Give everything that is kept back: how it would have ended will not be known."""
        out = [record for request_id in list(self._kept_back) for record in self._take(request_id)]
        self._kept_back.clear()
        return out

    def _decide(self, request_id: str, keep: bool) -> list[Record]:
        self._verdicts[request_id] = keep
        self._verdicts.move_to_end(request_id)
        if len(self._verdicts) > _REMEMBERED:
            self._verdicts.popitem(last=False)
        records = self._take(request_id)
        return records if keep else []

    def _take(self, request_id: str) -> list[Record]:
        records = self._kept_back.pop(request_id, [])
        self._records -= len(records)
        self._bytes -= sum(map(size_of, records))
        return records

    def _overflowing(self) -> list[Record] | None:
        out: list[Record] = []
        while self._records > self._max_records or self._bytes > self._max_bytes:
            out += self._decide(next(iter(self._kept_back)), True)
        return out or None


def _request_id(record: Record) -> str | None:
    return record.request_id


def size_of(record: Record) -> int:
    """Give about how many bytes a record takes."""
    body = record.body if type(record) is LogRecord else None
    return 256 + (len(body) if type(body) is str else 0 if body is None else len(str(body)))
