"""Times as people write them, to one form: RFC 3339 in UTC, with as many digits as were known. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

_TIME = re.compile(
    r"(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d)(?:[.,:](\d{1,9}))?\s?(?:[Zz]|UTC|([+-]\d\d:?\d\d))?", re.ASCII
)
_parse = datetime.fromisoformat
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


def text_time(text: str) -> str | None:
    """Read a time in a text; None when it is no time."""
    return text if is_usual_time(text) else _other_time(text)


def is_usual_time(text: str) -> bool:
    """Tell whether a time has the one form already, to the millisecond, as Lambda's runtimes and JavaScript write it.

    Each line has another time, so that remembering them would be no use.
    """
    # Of the many forms that `_parse` knows these leave one: a week has a W, and neither what is written without dashes
    # or colons nor what has other digits has its point there; a T can only stand between date and time, a Z at the end.
    if len(text) == 24 and text[19] == "." and "T" in text and "Z" in text and "W" not in text and text >= "1":
        try:
            _parse(text)
        except ValueError:
            return False
        return True
    return False


def _other_time(text: str) -> str | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return _from_epoch(int(text)) if text.isascii() and text.isdigit() and 10 <= len(text) <= 19 else None
    second, fraction, zone = found.groups()
    normal = _second_in_utc(second, zone)
    if normal is None:
        return None
    return f"{normal}.{fraction}Z" if fraction else f"{normal}Z"


@lru_cache(maxsize=256)  # lines of one second are many
def _second_in_utc(second: str, zone: str | None) -> str | None:
    try:
        moment = datetime.fromisoformat(f"{second.replace('/', '-')}{zone or '+00:00'}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}" if moment.year >= 1000 else None


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
