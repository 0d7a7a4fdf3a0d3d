"""Levels as people write them, to OpenTelemetry's severity numbers. Pure."""

from __future__ import annotations

from typing import Any

# https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
TRACE, DEBUG, INFO, WARN, ERROR, FATAL = 1, 5, 9, 13, 17, 21
_NAMES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")

_WORDS = {
    "all": TRACE,
    "finest": TRACE,
    "silly": TRACE,
    "trace": TRACE,
    "trce": TRACE,
    "verbose": TRACE,
    "finer": TRACE + 1,
    "debug": DEBUG,
    "dbug": DEBUG,
    "fine": DEBUG,
    "config": DEBUG + 3,
    "info": INFO,
    "information": INFO,
    "notice": INFO + 1,
    "success": INFO + 1,
    "warn": WARN,
    "warning": WARN,
    "err": ERROR,
    "error": ERROR,
    "fail": ERROR,
    "exception": ERROR,
    "severe": ERROR,
    "crit": FATAL,
    "critical": FATAL,
    "dpanic": FATAL,
    "panic": FATAL,
    "fatal": FATAL,
    "alert": FATAL,
    "emerg": FATAL + 1,
    "emergency": FATAL + 1,
}
_WORDS |= {f"{name.lower()}{n}": 4 * i + n for i, name in enumerate(_NAMES) for n in (2, 3, 4)}
# As written in any usual case, so that a line costs one look.
SEVERITIES = {form: number for word, number in _WORDS.items() for form in (word, word.upper(), word.title())}
# Bunyan's and pino's numbers; a number below eight is syslog's.
_TENS = {10: TRACE, 20: DEBUG, 30: INFO, 40: WARN, 50: ERROR, 60: FATAL}
_SYSLOG = (FATAL + 1, FATAL, FATAL, ERROR, WARN, INFO + 1, INFO, DEBUG)


def severity_of(level: Any) -> int:
    """Give the severity number of a level: a name in any case, slog's `INFO+2`, pino's, bunyan's or syslog's number.

    Returns:
        1 to 24, or 0 when it cannot be known.
    """
    if type(level) is str:
        return SEVERITIES.get(level) or _unusual(level)
    if type(level) is not int:
        return 0
    return _TENS.get(level) or (_SYSLOG[level] if 0 <= level < len(_SYSLOG) else 0)


def _unusual(level: str) -> int:
    word = level.strip().lower()
    for sign in "+-":
        name, found, offset = word.partition(sign)
        if found and name in _WORDS and offset.isascii() and offset.isdigit() and len(offset) < 4:
            return min(max(_WORDS[name] + int(found + offset), TRACE), FATAL + 3)
    return _WORDS.get(word, 0)


def level_name(number: int) -> str | None:
    """Name the range of a severity number: TRACE, DEBUG, INFO, WARN, ERROR or FATAL; None for 0."""
    return _NAMES[(number - 1) // 4] if 1 <= number <= 24 else None
