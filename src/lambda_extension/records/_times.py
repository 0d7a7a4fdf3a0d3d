"""Times as people write them, to one form: RFC 3339 in UTC, with as many digits as were known. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

_TIME = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,:](\d{1,9}))?\s?(?:[Zz]|UTC|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
# Numbers from the first bound on count in this unit: seconds since 1973, milliseconds, microseconds, nanoseconds.
_UNITS = ((10**8, 10**9), (10**11, 10**6), (10**14, 10**3), (10**17, 1))
_LATEST = 10**19


def own_time(value: Any) -> str | None:
    """Read a time that somebody wrote into a line, as text or as a number since the epoch.

    Returns:
        RFC 3339 in UTC, which a time without a zone is taken for as well; None when the value is no time.
    """
    if type(value) is str:
        return text_time(value)
    if type(value) is int or type(value) is float:
        return _from_epoch(value)
    return None


@lru_cache(maxsize=1024)  # lines of one millisecond are many
def text_time(text: str) -> str | None:
    """Read a time in a text; None when it is no time."""
    found = _TIME.fullmatch(text)
    if found is None:
        return _from_epoch(int(text)) if text.isascii() and text.isdigit() and 10 <= len(text) <= 19 else None
    *fields, fraction, sign, hours, minutes = found.groups()
    try:
        moment = datetime(*(int(field) for field in fields), tzinfo=UTC)  # type: ignore[misc, arg-type]  # six of them
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment += offset if sign == "-" else -offset
    except (ValueError, OverflowError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}{f'.{fraction}' if fraction else ''}Z" if moment.year >= 1000 else None


def _from_epoch(number: float) -> str | None:
    unit = next((unit for least, unit in reversed(_UNITS) if number >= least), None)
    if unit is None or number >= _LATEST:
        return None
    if type(number) is float:
        # The part after the point counts in its own right: no float holds nanoseconds since the epoch. Nor is what a
        # float adds of its own, beyond microseconds, anybody's.
        whole, part = divmod(number, 1.0)
        nanoseconds = int(whole) * unit + round(part * unit / 1000) * 1000
    else:
        nanoseconds = int(number) * unit
    return nanoseconds_to_time(nanoseconds)


def nanoseconds_to_time(nanoseconds: int) -> str:
    """Write nanoseconds since the epoch as RFC 3339, with three, six or nine digits."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    digits = f"{rest:09}"
    while len(digits) > 3 and digits.endswith("000"):
        digits = digits[:-3]
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{digits}Z"


@lru_cache(maxsize=1024)
def unix_nanoseconds(time: str) -> int | None:
    """Count nanoseconds since the epoch; None when the text is no time."""
    found = _TIME.fullmatch(time)
    normal = None if found is None else text_time(time)
    if normal is None:
        return None
    fraction = normal[20:-1]
    moment = datetime.fromisoformat(f"{normal[:19]}+00:00")
    return int((moment - _EPOCH).total_seconds()) * _SECOND + int(fraction.ljust(9, "0") or 0)
