"""From the text of a variable to its value. Pure; no error repeats the text, which may be a secret."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from lambda_extension.processing import Adaptive, Continuous, EndOfInvocation, Every, FlushPolicy, OnSize
from lambda_extension.records._severity import severity_of


@attrs.frozen
class Form:
    """What a variable's text must be.

    Attributes:
        words: It, in words that follow "must be".
        read: Gives the value, or raises `ValueError` where the text is not of this form.
    """

    words: str
    read: Callable[[str], Any]


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError
    return text


def _header(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError
    return text


def _nats_url(text: str) -> str:
    if urlsplit(text).scheme not in {"nats", "tls", "ws", "wss"} or not urlsplit(text).hostname:
        raise ValueError
    return text


def _pairs(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError
        found[key.strip()] = unquote(value.strip())
    return found


def _headers(text: str) -> dict[str, str]:
    return {_header(name): _header(value) for name, value in _pairs(text).items()}


def _flag(text: str) -> bool:
    word = text.lower()
    if word not in {"true", "1", "false", "0"}:
        raise ValueError
    return word in {"true", "1"}


def _level(text: str) -> str:
    if not severity_of(text):
        raise ValueError
    return text


def _ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _pattern(text: str) -> re.Pattern[str]:
    with contextlib.suppress(re.error):
        return re.compile(text)
    raise ValueError


def _policy(text: str) -> FlushPolicy:
    word, _, rest = text.lower().partition(":")
    if word == "every" and rest:
        seconds = float(rest)
        if not math.isfinite(seconds):
            raise ValueError
        return Every(seconds)
    plain: dict[str, Callable[[], FlushPolicy]] = {
        "adaptive": Adaptive,
        "end-of-invocation": EndOfInvocation,
        "every": Every,
        "on-size": OnSize,
        "continuous": Continuous,
    }
    if rest or word not in plain:
        raise ValueError
    return plain[word]()


def integer(least: int, most: int) -> Form:
    """Return the form of an integer within limits, these included."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError
        return int(text)

    return Form(f"an integer from {least} to {most}", read)


def one_of(*words: str) -> Form:
    """Return the form of one of some words."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Form(f"{', '.join(words[:-1])} or {words[-1]}", read)


def some_of(*words: str, none: str | None = None) -> Form:
    """Return the form of a list of some words.

    Args:
        *words: They.
        none: A word that stands for an empty list.
    """

    def read(text: str) -> tuple[str, ...]:
        asked = listed(text.lower())
        if asked == (none,):
            return ()
        if not asked or not set(asked) <= set(words):
            raise ValueError
        return asked

    return Form(f"a list of {', '.join(words)}" + (f", or {none}" if none else ""), read)


def _names(text: str) -> tuple[str, ...]:
    names = listed(text)
    if not names:
        raise ValueError
    return names


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a list with commas, each once."""
    return tuple(dict.fromkeys(part for part in map(str.strip, text.split(",")) if part))


def suggest(words: Sequence[str], word: str) -> str | None:
    """Return the word that was probably meant; None where none is near."""
    import difflib  # for an error alone

    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.8)), None)


TEXT = Form("text", str)
HEADER = Form("what an HTTP header can have: printable ASCII", _header)
URL = Form("a URL such as https://logs.example.com", _url)
NATS_URL = Form("a URL such as nats://nats.example.com:4222", _nats_url)
PAIRS = Form("of the form key=value,key=value", _pairs)
HEADERS = Form("of the form name=value,name=value, percent-encoded where a value has commas", _headers)
NAMES = Form("a list of names with commas between", _names)
FLAG = Form("true or false", _flag)
LEVEL = Form("a level: TRACE, DEBUG, INFO, WARN, ERROR or FATAL", _level)
RATIO = Form("a number from 0 to 1", _ratio)
PATTERN = Form("a regular expression", _pattern)
POLICY = Form("adaptive, end-of-invocation, every:SECONDS, on-size or continuous", _policy)
PORT = integer(1, 65_535)
