"""`redact`: what must not leave is replaced, wherever in a record it stands.

The ready-made patterns take time linear in the text: their repetitions are bounded, or possessive and begun only where
a run of what they repeat begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import takewhile
from typing import Any, TypeAlias, final

import attrs
import msgspec

from lambda_extension.records._correlator import Record
from lambda_extension.records._record import LogRecord
from lambda_extension.records._severity import SEVERITIES
from lambda_extension.records._transforms import Named


@final
@attrs.frozen(kw_only=True)
class Pattern:
    """What is to be redacted.

    Attributes:
        name: For its account.
        find: Where it stands; of a pattern with a group named `secret`, only that group is replaced.
        hint: Tells fast that a text has none of it; None when only the pattern can tell.
        check: Decides about a match: the spans in it that are to be replaced, which may be none.
        keys: Keys whose value, if it is no object, is redacted whole; in lower case, without dashes and underscores.
    """

    name: str
    find: re.Pattern[str]
    hint: Callable[[str], bool] | None = None
    check: Callable[[re.Match[str]], list[tuple[int, int]]] | None = None
    keys: frozenset[str] = frozenset()


PatternLike: TypeAlias = "Pattern | re.Pattern[str] | str"

# Issuers: first digits, and how many digits there are.
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12,17}|(?:35|50|5[6-9]|6\d|81)\d{14,17}"
)


_DIGITS = re.compile(r"\d{3}[ \d-]{10}", re.ASCII)


def _has_digits(text: str) -> bool:
    return _DIGITS.search(text) is not None


def _cards(found: re.Match[str]) -> list[tuple[int, int]]:
    """Find card numbers in digits that may be grouped: whole groups whose check digit and issuer fit."""
    text = found[0]
    groups = [each.span() for each in re.finditer(r"\d+", text)]
    spans = []
    first = 0
    while first < len(groups):
        end = _card(text, groups, first)
        if end is not None:
            spans.append((groups[first][0], groups[end][1]))
            first = end
        first += 1
    return spans


def _card(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    digits = ""
    for last in range(first, len(groups)):
        start, end = groups[last]
        if len(digits) + end - start > 19:
            break
        digits += text[start:end]
        if len(digits) >= 13 and _ISSUERS.fullmatch(digits) and _luhn(digits):
            return last
        if end - start < 3:  # only the last group of a card is that short
            break
    return None


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(number - 9 * (number > 9) for number in doubled)) % 10 == 0


def _tokens(found: re.Match[str]) -> list[tuple[int, int]]:
    """Find a JSON web token in parts joined by dots: its head and its payload begin with an encoded brace."""
    if found["secret"] is not None:
        start, end = found.span("secret")
        return [(start - found.start(), end - found.start())]
    parts = found[0].split(".")
    position = 0
    for index, part in enumerate(parts[:-1]):
        head = part.find("eyJ")
        if head >= 0 and len(part) - head > 8 and len(parts[index + 1]) > 3:
            return [(position + head, len(found[0]))]
        position += len(part) + 1
    return []


# Each a part of a beginning that the pattern knows; short, so that there are few.
_AWS_HINTS = ("IA", "ACCA", "IQoJ", "oG")


def _has_aws_key(text: str) -> bool:
    for hint in _AWS_HINTS:  # any() would take longer than all of it
        if hint in text:
            return True
    return "secret" in text.lower()


def _has_bearer(text: str) -> bool:
    return "eyJ" in text or "bearer" in text.lower()


EMAIL = Pattern(
    name="email",
    find=re.compile(
        r"[\w.!#$&'*+/?^`{|}~-]{1,64}+(?:@|%40|\\{1,32}+u0040)(?:\[[\d.:a-fA-F]{2,45}\]|[\w-]{1,63}+(?:\.[\w-]{1,63}+){0,8})"
    ),
    hint=lambda text: "@" in text or "%40" in text or "\\u0040" in text,
)
"""E-mail addresses, also where their `@` is written as in URLs, or as JSON may escape it."""

CARD = Pattern(name="card", find=re.compile(r"(?<!\d)\d(?:[ -]?\d){12,}+", re.ASCII), hint=_has_digits, check=_cards)
"""Card numbers: 13 to 19 digits, in groups or not, with the right check digit and an issuer that there is."""

AWS_KEY = Pattern(
    name="aws_key",
    find=re.compile(
        r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])"
        r"|(?:IQoJ|FwoG|FQoG)[A-Za-z0-9+/=_%-]{64,4096}"
        r"|(?i:secret[_-]?access[_-]?key|secret[_-]?key)[\"'\\]*+\s{0,8}[:=]\s{0,8}[\"'\\]*+"
        r"(?P<secret>[A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+])"
    ),
    hint=_has_aws_key,
    keys=frozenset({"awssecretaccesskey", "secretaccesskey", "awssecretkey", "awssessiontoken", "sessiontoken"}),
)
"""AWS access key ids, session tokens, and secret keys, which only what stands before them, or their key, gives away."""

BEARER = Pattern(
    name="bearer",
    find=re.compile(
        r"(?i:bearer)(?:\s|%20|\+){1,8}+(?P<secret>[A-Za-z0-9._~+/=-]{8,}+)"
        r"|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+)++"
    ),
    hint=_has_bearer,
    check=_tokens,
    keys=frozenset({"authorization", "proxyauthorization", "accesstoken", "refreshtoken", "idtoken"}),
)
"""Bearer tokens, JSON web tokens also by themselves, and what stands under the key `Authorization`."""

_READY = (EMAIL, CARD, AWS_KEY, BEARER)
_DEEPEST = 64


def redact(*patterns: PatternLike, replacement: str = "[redacted]", limit: int = 1024 * 1024) -> Named:
    """Replace what must not leave, in body and attributes, in keys as in values, however deeply nested.

    So it is in what somebody wrote for a level that is none, in the type of an error, and in the id of a tenant.

    A record in which it fails is left out, and one in which something was replaced has no raw event any more. What is
    beyond `limit` of a text, or nested deeper than 64 times, is not looked at and therefore replaced as a whole.

    Args:
        *patterns: `EMAIL`, `CARD`, `AWS_KEY`, `BEARER`, a `Pattern`, or a regular expression of your own, whose running
            time is your own too; none at all stands for the four.
        replacement: What stands there instead.
        limit: Characters of one text that are looked at.
    """
    chosen = tuple(_pattern(each) for each in patterns) or _READY
    redaction = _Redaction(chosen, replacement, limit)
    return Named(redaction.apply, f"redact({', '.join(each.name for each in chosen)})", "drop")


def _pattern(given: PatternLike) -> Pattern:
    if isinstance(given, Pattern):
        return given
    find = re.compile(given)
    return Pattern(name=find.pattern, find=find)


# The same keys come again and again; beyond this many, they are looked at anew.
_REMEMBERED = 1000


@attrs.frozen(eq=False)
class _Redaction:
    _patterns: tuple[Pattern, ...]
    _replacement: str
    _limit: int
    # For each key, what is left of it, and whether its value is redacted whole.
    _keys: dict[str, tuple[str, bool]] = attrs.field(factory=dict, init=False)

    # No ready-made pattern finds anything in a number that is smaller.
    _least: int = attrs.field(init=False)

    @_least.default  # pyright: ignore[reportAttributeAccessIssue]  # it is a field until the class is made
    def _of_patterns(self) -> int:
        return 10**12 if all(each in _READY for each in self._patterns) else 0

    def apply(self, record: Record) -> Record:
        """Give the record without what must not leave; the same object when there is nothing of it."""
        changes: dict[str, Any] = {}
        if record.attributes:
            attributes = self._mapping(record.attributes, 1)
            if attributes is not record.attributes:
                changes["attributes"] = attributes
        tenant = record.context.tenant_id
        if tenant is not None and (left := self._text(tenant)) is not tenant:
            changes["context"] = msgspec.structs.replace(record.context, tenant_id=left)
        if type(record) is LogRecord:
            told = record.body
            body = self._text(told) if type(told) is str else self._value(told, 0)
            if body is not told:
                changes["body"] = body
            level = record.severity_text
            if level is not None and level not in SEVERITIES and (left := self._text(level)) is not level:
                changes["severity_text"] = left
            if changes:
                changes["event"] = None
        elif (error := record.error_type) is not None and (text := self._text(error)) is not error:  # type: ignore[union-attr]  # a report
            changes["error_type"] = text
        return record.replace(**changes) if changes else record

    def _value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            if -self._least < value < self._least:
                return value
            text = str(value) if abs(value) < 10**20 else ""
            return value if self._text(text) is text else self._replacement
        if depth >= _DEEPEST:
            return self._replacement
        if kind is dict:
            return self._mapping(value, depth + 1)
        items = [self._value(item, depth + 1) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        keys, least = self._keys, self._least
        found: dict[Any, Any] | None = None
        for key, item in value.items():
            name, whole = (key, False) if type(key) is not str else keys.get(key) or self._key(key)
            kind = type(item)
            if whole and item and kind is not dict:
                new = self._replacement
            elif kind is int and -least < item < least:
                new = item
            else:
                # Once each: what is looked at again at every level takes twice as long for every level.
                new = self._text(item) if kind is str else self._value(item, depth)
            if found is None:
                if new is item and name == key:
                    continue
                found = _before(key, value)
            while name != key and (name in found or name in value):
                name += "_"  # two keys that are the same now
            found[name] = new
        return value if found is None else found

    def _key(self, key: str) -> tuple[str, bool]:
        name = key.lower().replace("_", "").replace("-", "")
        known = self._text(key), any(name in pattern.keys for pattern in self._patterns)
        if len(self._keys) < _REMEMBERED and len(key) < 100:
            self._keys[key] = known
        return known

    def _text(self, text: str) -> str:
        rest = ""
        found = text
        if len(text) > self._limit:
            found, rest = text[: self._limit], self._replacement
        for pattern in self._patterns:
            if pattern.hint is None or pattern.hint(found):
                found = self._replaced(found, pattern)
        return found + rest if rest else found

    def _replaced(self, text: str, pattern: Pattern) -> str:
        pieces: list[str] = []
        position = 0
        for match in pattern.find.finditer(text):
            for start, end in self._spans(match, pattern):
                pieces += (text[position:start], self._replacement)
                position = end
        return text if not pieces else "".join([*pieces, text[position:]])

    def _spans(self, match: re.Match[str], pattern: Pattern) -> list[tuple[int, int]]:
        if pattern.check is not None:
            return [(match.start() + start, match.start() + end) for start, end in pattern.check(match)]
        if "secret" in pattern.find.groupindex and match["secret"] is not None:
            return [match.span("secret")]
        return [match.span()] if match.end() > match.start() else []


def _before(key: Any, value: dict[Any, Any]) -> dict[Any, Any]:
    return dict(takewhile(lambda pair: pair[0] is not key, value.items()))
