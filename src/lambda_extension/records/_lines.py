"""What a line says of itself: level, time, request id, message; as people log, in text and in JSON. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from lambda_extension.records._severity import SEVERITIES, level_name, severity_of
from lambda_extension.records._times import is_usual_time, own_time, text_time


class Reading(msgspec.Struct, gc=False):
    """What a line says of itself.

    Attributes:
        number: Severity number, 0 when it says none.
        level: The level as it was written.
        time: Its own time, RFC 3339.
        body: The message, or everything when no part of it is the message.
        attributes: What is in no other place.
        request_id: An id that may be an invocation's; it is still among the attributes as well.
        id_key: Under which key, if it came under one.
        vouched: Whether the runtime or a library for Lambda wrote that id, and not just anybody.
        trace: Trace id and span id, if it has both.
    """

    number: int
    level: str | None
    time: str | None
    body: Any
    attributes: dict[str, Any]
    request_id: str | None = None
    id_key: str | None = None
    vouched: bool = False
    trace: tuple[str, str] | None = None


# Of an id; awslambdaric leaves it out during init.
_ID_LENGTHS = (36, 0)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LEVEL_KEYS = ("level", "severity", "@l", "log.level", "levelname", "lvl", "loglevel", "log_level", "Level", "LogLevel")
_TIME_KEYS = ("timestamp", "time", "@timestamp", "@t", "ts", "asctime", "Timestamp", "timeMillis")
_MESSAGE_KEYS = ("message", "msg", "@m", "@mt", "Message", "short_message")
_ID_KEYS = ("AWSRequestId", "function_request_id", "aws_request_id", "awsRequestId", "lambda_request_id")
_TRACE_KEYS = (("trace_id", "span_id"), ("traceId", "spanId"), ("trace.id", "span.id"), ("@tr", "@sp"))
_RARE = frozenset({*_ID_KEYS, *(first for first, _ in _TRACE_KEYS)})


def is_request_id(text: str) -> bool:
    """Tell whether a text has the form of Lambda's request ids."""
    return len(text) == 36 and _UUID.fullmatch(text) is not None


def read_object(record: dict[str, Any]) -> Reading:
    """Read a JSON object that somebody logged; a key is dropped only when its content has a place of its own."""
    rest = record.copy()
    # The usual keys first, each in its usual form: that is by far the most lines.
    message = rest.get("message")
    if message is not None:
        del rest["message"]
    else:
        message = _message(rest)
    level = rest.get("level")
    number = SEVERITIES.get(level, 0) if type(level) is str else 0
    if number:
        del rest["level"]
    else:
        number, level = _level(rest)
    stamp = rest.get("timestamp")
    time = None
    if type(stamp) is str:
        time = stamp if is_usual_time(stamp) else text_time(stamp)
    if time is not None:
        del rest["timestamp"]
    else:
        time = _time(rest)
    found = Reading(number, level, time, message, rest)
    request_id = rest.get("requestId")
    if type(request_id) is str:
        found.request_id, found.id_key = request_id, "requestId"
        # Lambda's own format has all four; a key of that name alone may be the user's, of API Gateway's request say.
        found.vouched = message is not None and "level" in record and "timestamp" in record
    if not _RARE.isdisjoint(rest):
        _read_rare(found, rest)
    if message is None:
        found.body, found.attributes, found.id_key = record, {}, None
    return found


def _read_rare(found: Reading, rest: dict[str, Any]) -> None:
    """Read the keys that few lines have: a trace, an id that a library for Lambda wrote."""
    found.trace = _trace(rest)
    for key in _ID_KEYS:
        if type(rest.get(key)) is str:
            found.request_id, found.id_key, found.vouched = rest[key], key, True
            break


def _message(rest: dict[str, Any]) -> Any:
    for key in _MESSAGE_KEYS:
        if key in rest and rest[key] is not None:
            return rest.pop(key)
    # structlog's; others log whole events under that key.
    return rest.pop("event") if type(rest.get("event")) is str else None


def _level(rest: dict[str, Any]) -> tuple[int, str | None]:
    for key in _LEVEL_KEYS:
        if key not in rest:
            continue
        level = rest[key]
        if type(level) is str:
            del rest[key]
            return SEVERITIES.get(level) or severity_of(level), level
        if type(level) is int:
            number = severity_of(level)
            if number:
                del rest[key]
                return number, level_name(number)
    log = rest.get("log")  # ECS, nested
    if type(log) is dict and type(log.get("level")) is str:
        others = {key: value for key, value in log.items() if key != "level"}
        if others:
            rest["log"] = others
        else:
            del rest["log"]
        return severity_of(log["level"]), log["level"]
    if "@t" in rest:
        return SEVERITIES["Information"], "Information"  # which serilog leaves out
    return 0, None


def _time(rest: dict[str, Any]) -> str | None:
    for key in _TIME_KEYS:
        if key in rest:
            time = own_time(rest[key])
            if time is not None:
                del rest[key]
                return time
    return None


def _trace(rest: dict[str, Any]) -> tuple[str, str] | None:
    for first, second in _TRACE_KEYS:
        trace, span = rest.get(first), rest.get(second)
        if type(trace) is str and type(span) is str and _is_hex(trace, 32) and _is_hex(span, 16):
            del rest[first], rest[second]
            return trace, span
    return None


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and not text.strip("0123456789abcdef") and text.strip("0") != ""


def read_text(line: str) -> Reading | None:
    """Read a line of text; None when it says nothing of itself."""
    read = READERS.get(line[:1])
    return None if read is None else read(line)


def read_json_text(line: str) -> Reading | None:
    """Read a line of text that is a JSON object; None when it is none."""
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return read_object(record) if type(record) is dict else None


# As awslambdaric writes them, so that a line costs one look.
_BRACKETS = {f"[{level}]": (number, level) for level, number in SEVERITIES.items() if level.isupper()}


def _bracketed(line: str) -> Reading | None:
    """Read awslambdaric's `[LEVEL]`, tab, time, tab, request id, tab; or else what begins with a level in brackets."""
    parts = line.split("\t", 3)
    if len(parts) == 4 and (found := _BRACKETS.get(parts[0])) is not None:
        _, stamp, request_id, message = parts
        time = stamp if is_usual_time(stamp) else text_time(stamp)
        if time is not None and len(request_id) in _ID_LENGTHS:
            number, level = found
            return Reading(number, level, time, message, {}, request_id or None, None, True)
    level, bracket, rest = line[1:].partition("]")
    level = level.strip()
    number = SEVERITIES.get(level, 0)
    return Reading(number, level, None, rest.lstrip(), {}) if number and bracket else None


_STAMPED = re.compile(
    r"""(?P<time>\d{4}[-/]\d\d[-/]\d\d[T\ ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|\ ?[+-]\d\d:?\d\d)?)
    (?:
        \s+\[\s*(?P<structlog>[A-Za-z]+)\s*\]\s*
      | \s-\s(?P<logger>[\w.]+)\s-\s(?P<dashed>[A-Za-z]+)\s-\s
      | \s+(?P<plain>[A-Za-z]+)[\s:]\s*
      | \s(?P<id>[0-9a-f-]{36})\s(?=Task\ timed\ out)
    )""",
    re.VERBOSE | re.ASCII,
)


def _stamped(line: str) -> Reading | None:
    """Read what begins with a time: Node's lines, Python's, structlog's, zap's, the platform's word of a time-out."""
    parts = line.split("\t", 3)
    if len(parts) == 4:
        stamp, request_id, level, message = parts
        number, time = SEVERITIES.get(level), text_time(stamp)
        if number is not None and time is not None:
            if len(request_id) == 36:
                return Reading(number, level, time, message, {}, request_id, None, True)
            if request_id == "undefined":  # as Node says during init
                return Reading(number, level, time, message, {})
    found = _STAMPED.match(line)
    time = None if found is None else text_time(found["time"])
    if found is None or time is None:
        return None
    if found["id"]:
        return Reading(SEVERITIES["ERROR"], None, time, line[found.end() :], {}, found["id"], None, True)
    level = found["structlog"] or found["dashed"] or found["plain"]
    number = SEVERITIES.get(level)
    if number is None:
        return None
    attributes = {"logger": found["logger"]} if found["logger"] else {}
    return Reading(number, level, time, line[found.end() :], attributes)


_PAIR = re.compile(r'([A-Za-z_@][\w.@-]*)=("(?:[^"\\]|\\.)*+"|[^\s"]*+)(?:\s++|$)')


# Nothing that begins a line and is longer than this is a level or the first key of logfmt.
_LONGEST = 14


def _worded(line: str) -> Reading | None:
    """Read what begins with a word: Python's `LEVEL:logger:message`, logfmt of logrus and slog, a level in capitals."""
    colon = line.find(":", 1, _LONGEST)
    if colon > 0 and (number := SEVERITIES.get(line[:colon])) is not None:
        level, rest = line[:colon], line[colon + 1 :]
        name, found, message = rest.partition(":")
        if found and level.isupper() and name and " " not in name:
            return Reading(number, level, None, message, {"logger": name})
        return Reading(number, level, None, rest.lstrip() if level.isupper() else line, {})
    if line.find("=", 1, _LONGEST) > 0:
        return _logfmt(line)
    if line[:3].isupper():
        word, found, _ = line.partition(" ")
        if found and (number := SEVERITIES.get(word)) is not None:
            return Reading(number, word, None, line, {})
    return None


def _logfmt(line: str) -> Reading | None:
    pairs: dict[str, Any] = {}
    position = 0
    while position < len(line):
        found = _PAIR.match(line, position)
        if found is None or found[1] in pairs:
            return None
        value = found[2]
        pairs[found[1]] = _unquoted(value) if value[:1] == '"' else value
        position = found.end()
    if not pairs.keys() & {"level", "lvl"} or not pairs.keys() & {"msg", "message"}:
        return None
    return read_object(pairs)


def _unquoted(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text[1:-1]


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _coloured(line: str) -> Reading | None:
    return read_text(_COLOUR.sub("", line).lstrip("\x1b"))


# By the first character of a line; each gives None when the line says nothing of itself.
READERS: dict[str, Callable[[str], Reading | None]] = {
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@_", _worded),
    **dict.fromkeys("0123456789", _stamped),
    "[": _bracketed,
    "\x1b": _coloured,
}
