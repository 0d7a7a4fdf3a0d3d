"""What a line says of itself: level, time, request id, message; as people log, in text and in JSON. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import msgspec

from lambda_extension.records._severity import SEVERITIES, level_name, severity_of
from lambda_extension.records._times import is_usual_time, own_time, text_time


class Reading(NamedTuple):
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
    request_id: str | None
    id_key: str | None
    vouched: bool
    trace: tuple[str, str] | None


Told: TypeAlias = tuple[
    int, str | None, str | None, Any, dict[str, Any], str | None, str | None, bool, tuple[str, str] | None
]
"""The same as a plain tuple, as each line is read: most are taken apart at once, and to name its parts takes longer."""


_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LEVEL_KEYS = ("level", "severity", "@l", "log.level", "levelname", "lvl", "loglevel", "log_level", "Level", "LogLevel")
_TIME_KEYS = ("timestamp", "time", "@timestamp", "@t", "ts", "asctime", "Timestamp", "timeMillis")
_MESSAGE_KEYS = ("message", "msg", "@m", "@mt", "Message", "short_message")
_ID_KEYS = ("AWSRequestId", "function_request_id", "aws_request_id", "awsRequestId", "lambda_request_id")
_TRACE_KEYS = (("trace_id", "span_id"), ("traceId", "spanId"), ("trace.id", "span.id"), ("@tr", "@sp"))
_NOBODY: tuple[None, None, bool, None] = (None, None, False, None)  # no id, under no key, and no trace
_RARE = frozenset({*_ID_KEYS, *(first for first, _ in _TRACE_KEYS)})


def is_request_id(text: str) -> bool:
    """Tell whether a text has the form of Lambda's request ids."""
    return len(text) == 36 and _UUID.fullmatch(text) is not None


def read_object(record: dict[str, Any]) -> Told:
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
    id_key, vouched, trace = None, False, None
    request_id = rest.get("requestId")
    if type(request_id) is str:
        # Lambda's own format has all four; a key of that name alone may be the user's, of API Gateway's request say.
        id_key, vouched = "requestId", message is not None and "level" in record and "timestamp" in record
    else:
        request_id = None
    if not _RARE.isdisjoint(rest):
        trace = _trace(rest)
        for key in _ID_KEYS:  # of libraries for Lambda
            if type(rest.get(key)) is str:
                request_id, id_key, vouched = rest[key], key, True
                break
    if message is None:
        return number, level, time, record, {}, request_id, None, vouched, trace
    return number, level, time, message, rest, request_id, id_key, vouched, trace


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


def _json_text(line: str) -> Told | None:
    """Read a line of text that is a JSON object; None when it is none."""
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return read_object(record) if type(record) is dict else None


# As awslambdaric writes them, so that a line costs one look.
_BRACKETS = {f"[{level}]": (number, level) for level, number in SEVERITIES.items() if level.isupper()}


def _bracketed(line: str) -> Told | None:
    """Read awslambdaric's `[LEVEL]`, tab, time, tab, request id, tab; or else what begins with a level in brackets."""
    parts = line.split("\t", 3)
    if len(parts) == 4:
        bracket, stamp, request_id, message = parts
        found = _BRACKETS.get(bracket)
        if found is not None and (len(request_id) == 36 or not request_id):  # awslambdaric leaves it out during init
            time = stamp if is_usual_time(stamp) else text_time(stamp)
            if time is not None:
                number, level = found
                return number, level, time, message, {}, request_id or None, None, True, None
    level, bracket, rest = line[1:].partition("]")
    level = level.strip()
    number = SEVERITIES.get(level, 0)
    return (number, level, None, rest.lstrip(), {}, *_NOBODY) if number and bracket else None


_STAMPED = re.compile(
    r"""(?P<time>\d{4}[-/]\d\d[-/]\d\d[T\ ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|\ ?[+-]\d\d:?\d\d)?)
    (?:
        \s+\[\s*(?P<structlog>[A-Za-z]+)\s*\]\s*
      | \s-\s(?P<logger>[\w.]+)\s-\s(?P<dashed>[A-Za-z]+)\s-\s
      | \s+(?P<plain>[A-Za-z]+)[\s:]\s*
      | \s(?P<id>[0-9a-f-]{36})\s (?:(?P<java>[A-Z]+)\s+ | (?=Task\ timed\ out))
    )""",
    re.VERBOSE | re.ASCII,
)


def _stamped(line: str) -> Told | None:
    """Read what begins with a time: Node's and .NET's lines, Python's, Log4j's, the platform's word of a time-out."""
    parts = line.split("\t", 3)
    if len(parts) == 4:
        stamp, request_id, level, message = parts
        number, time = SEVERITIES.get(level), text_time(stamp)
        if number is not None and time is not None:
            if len(request_id) == 36:
                return number, level, time, message, {}, request_id, None, True, None
            if request_id == "undefined":  # as Node says during init
                return number, level, time, message, {}, *_NOBODY
    found = _STAMPED.match(line)
    time = None if found is None else text_time(found["time"])
    if found is None or time is None:
        return None
    level = found["structlog"] or found["dashed"] or found["plain"] or found["java"]
    number = SEVERITIES.get(level or "ERROR")  # a time-out has no word for it
    if number is None:
        return None
    attributes = {"logger": found["logger"]} if found["logger"] else {}
    request_id, id_key = found["id"], None
    if found["java"]:  # where others write an id of their own
        id_key = "AWSRequestId"
        attributes[id_key] = request_id
    vouched = request_id is not None and id_key is None
    return number, level, time, line[found.end() :], attributes, request_id, id_key, vouched, None


_RUBY = re.compile(
    r"[DIWEFA], \[(?P<time>\S+) #\d+\] +(?P<level>[A-Z]+)(?: (?P<id>[0-9a-f-]{36}))? -- (?P<logger>[^:\n]*): ",
    re.ASCII,
)


def _ruby(line: str) -> Told | None:
    """Read what Ruby's logger writes; Lambda's runtime has it write the request id too."""
    found = _RUBY.match(line)
    time = None if found is None else text_time(found["time"])
    number = None if found is None else SEVERITIES.get(found["level"])
    if found is None or time is None or number is None:
        return None
    attributes = {"logger": found["logger"]} if found["logger"] else {}
    request_id = found["id"]
    body = line[found.end() :]
    return number, found["level"], time, body, attributes, request_id, None, request_id is not None, None


_PAIR = re.compile(r'([A-Za-z_@][\w.@-]*)=("(?:[^"\\]|\\.)*+"|[^\s"]*+)(?:\s++|$)')


# Nothing that begins a line and is longer than this is a level or the first key of logfmt.
_LONGEST = 14


def _lower(line: str) -> Told | None:
    """Read what begins with a word that is not in capitals, as most of what is printed does."""
    head = line[:_LONGEST]
    return _worded(line) if ":" in head or "=" in head else None


def _worded(line: str) -> Told | None:
    """Read what begins with a word: Python's `LEVEL:logger:message`, logfmt of logrus and slog, a level in capitals."""
    head = line[:_LONGEST]
    if head[1:4] == ", [":
        return _ruby(line)
    if ":" in head and (number := SEVERITIES.get(head.partition(":")[0])) is not None:
        level, _, rest = line.partition(":")
        name, found, message = rest.partition(":")
        if found and level.isupper() and name and " " not in name:
            return number, level, None, message, {"logger": name}, *_NOBODY
        return number, level, None, rest.lstrip() if level.isupper() else line, {}, *_NOBODY
    if "=" in head:
        return _logfmt(line)
    if head[:3].isupper():
        word, found, _ = line.partition(" ")
        if found and (number := SEVERITIES.get(word)) is not None:
            return number, word, None, line, {}, *_NOBODY
    return None


def _logfmt(line: str) -> Told | None:
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


def _coloured(line: str) -> Told | None:
    return read_line(_COLOUR.sub("", line).lstrip("\x1b"))


# By the first character of a line; each gives None when the line says nothing of itself.
_READERS: dict[str, Callable[[str], Told | None]] = {
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", _lower),
    **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ@_", _worded),
    **dict.fromkeys("0123456789", _stamped),
    "[": _bracketed,
    "\x1b": _coloured,
}


def read_line(line: Any, parse_json: bool = False) -> Told | None:
    """Read a line, be it text or a JSON object; None when it says nothing of itself.

    Args:
        line: What an event of a log has as its record.
        parse_json: Whether text that is a JSON object is read as one.
    """
    if type(line) is str:
        first = line[0] if line else ""
        read = _READERS.get(first)
        told = None if read is None else read(line)
        return _json_text(line) if told is None and parse_json and first == "{" else told
    return read_object(line) if type(line) is dict else None
