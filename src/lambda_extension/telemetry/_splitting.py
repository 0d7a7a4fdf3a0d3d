"""Take JSON apart by its structure alone, where no JSON reader will: who the culprit is, and what its neighbours are.

What stands in a string or in a number is of no interest here, only brackets, commas, colons and quotes. Events of the
platform begin with their time, type or record, and such a beginning, raw quotes and all, cannot stand inside a string
of JSON: this is where an array is taken up again after an element that has no structure either.

Everything takes time and memory in proportion to the input, whatever it is: each pattern is possessive, and what was
looked at once is not looked at again. And no body is worth more than a bounded effort, since the event loop waits.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Final, NamedTuple, final

import msgspec

_BLANK = b" \t\r\n"
_BEGINNING = re.compile(rb'\s*+\{\s*+"(?:time|type|record)"\s*+:')
_BOUNDARY = re.compile(rb',\s*+\{\s*+"(?:time|type|record)"\s*+:')
_EVENT = re.compile(rb'\{\s*+"time"\s*+:')
_TOKEN = re.compile(
    rb'[ \t\r\n]*+(?:("(?:[^"\\]++|\\.)*+")|(\[++)|(\{)|(\]++)|(\})|(,)|(:)|([^][{}",: \t\r\n]++))', re.DOTALL
)
_STRING, _ARRAY, _OBJECT, _ARRAY_END, _OBJECT_END, _COMMA, _COLON, _SCALAR = range(1, 9)
# What may come next.
_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _THEN_COLON, _THEN_COMMA = range(6)

_READ = msgspec.json.Decoder(msgspec.Raw)
_READ_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
# After a member's value: another member, or the end of the object, before which some leave a comma.
_MEMBER_END = re.compile(rb'[ \t\r\n]*+(?:,[ \t\r\n]*+(?:["}]|\Z)|\}|\Z)')
_READ_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# A step is one token, or what takes as long: half a microsecond or so on a whole core. Lambda sends 10,000 events at
# most in one batch; this is enough for as many reports each of which is odd.
MOST_STEPS: Final = 1_200_000
ODD_EVENT: Final = 30
_PIECE: Final = 2


@final
class Effort:
    """What may still be done about one body; who runs out of it leaves the rest in one piece.

    Attributes:
        left: Steps.
    """

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps

    def take(self, steps: int = 1) -> bool:
        """Take some steps; False where there are none left."""
        self.left -= steps
        return self.left > 0


class NotAnArrayError(ValueError):
    """There is no array to split."""


class _Value(NamedTuple):
    """One value, as far as it has a structure.

    Attributes:
        end: Where it ends; -1 where its structure breaks first.
        broken: From where the next element may begin, if it breaks.
        events: Start and end of what looks like an event and is whole, inside a value that breaks.
    """

    end: int
    broken: int
    events: list[tuple[int, int]]


def split(body: bytes, effort: Effort) -> Iterator[bytes]:
    """Give the elements of an array, one piece for each; what has no structure ends where the next event begins.

    Where the effort is over, all the rest is one piece.

    Raises:
        NotAnArrayError: The body does not begin and end as an array does.
    """
    inner = body.strip(_BLANK)
    if inner[:1] != b"[" or inner[-1:] != b"]" or len(inner) < 2:
        raise NotAnArrayError
    inner = inner[1:-1]
    position = 0
    while position < len(inner):
        if not effort.take(_PIECE):
            yield from _something(inner[position:])
            return
        if _BEGINNING.match(inner, position):  # the common case: what lies before the next event is one, and whole
            end = _next_event(inner, position)
            piece = inner[position:end].strip(_BLANK)
            if _is_whole(piece):
                yield piece
                position = end + 1
                continue
        value = _scan(inner, position, effort)
        if effort.left <= 0:
            continue
        end = -1 if value.end < 0 else _next_comma(inner, value.end)
        if end < 0:
            end = yield from _split_broken(inner, position, value)
        else:
            yield inner[position:end].strip(_BLANK)
        position = end + 1


def _split_broken(inner: bytes, start: int, value: _Value) -> Generator[bytes, None, int]:
    """Give what is whole inside a value that breaks, and what stands between; return where the next element ends."""
    for first, last in value.events:
        yield from _something(inner[start:first])
        yield inner[first:last]
        start = last
    end = _next_event(inner, max(start, value.broken))
    yield from _something(inner[start:end])
    return end


def _next_event(inner: bytes, position: int) -> int:
    """Give where the comma before the next event is, or the end of the array."""
    found = _BOUNDARY.search(inner, position)
    return len(inner) if found is None else found.start()


def _something(piece: bytes) -> Iterator[bytes]:
    piece = piece.strip(_BLANK + b",")
    if piece:
        yield piece


def _is_whole(piece: bytes) -> bool:
    try:
        _READ.decode(piece)
    except UNREADABLE:
        return False
    return True


def _next_comma(inner: bytes, end: int) -> int:
    """Give where the comma after an element is, or the end of the array; -1 where something else follows."""
    found = _TOKEN.match(inner, end)
    if found is None:
        return -1 if inner[end:].strip(_BLANK) else len(inner)
    return found.start(_COMMA) if found.lastindex == _COMMA else -1


def members(raw: bytes, effort: Effort) -> dict[str, bytes]:
    """Give the members of an object by name, each as its JSON; of one that breaks, those before, and the rest of it."""
    try:
        return {name: bytes(value) for name, value in _READ_MEMBERS.decode(raw).items()}
    except UNREADABLE:
        return _members_by_structure(raw, effort)


def _members_by_structure(raw: bytes, effort: Effort) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    position = 1 + len(raw) - len(raw.lstrip(_BLANK))
    if raw[position - 1 : position] != b"{":
        return found
    while True:
        token = _TOKEN.match(raw, position)
        colon = None if token is None or token.lastindex != _STRING else _TOKEN.match(raw, token.end())
        if token is None or colon is None or colon.lastindex != _COLON:
            return found
        name = token[_STRING][1:-1].decode("utf-8", "replace")
        begin = colon.end()
        value = _scan(raw, begin, effort)
        if value.end < 0 or not _MEMBER_END.match(raw, value.end):
            # What is no member of its own belongs to the one before it: the rest, which is then no value either.
            found[name] = raw[begin:]
            return found
        found[name] = raw[begin : value.end].strip(_BLANK)
        comma = _TOKEN.match(raw, value.end)
        if comma is None or comma.lastindex != _COMMA:
            return found
        position = comma.end()


def count_events(text: bytes) -> int:
    """Count the events that begin in a text, as the platform writes them."""
    return sum(1 for _ in _EVENT.finditer(text))


def elements(raw: bytes, effort: Effort) -> list[bytes]:
    """Give the elements of an array, none where it is not one."""
    try:
        return list(map(bytes, _READ_ELEMENTS.decode(raw)))
    except UNREADABLE:
        pass
    try:
        return list(split(raw, effort))
    except NotAnArrayError:
        return []


def _scan(text: bytes, position: int, effort: Effort) -> _Value:
    """Follow one value from where it begins to where it ends, or breaks, or the effort is over."""
    kinds = bytearray()  # of the brackets that are open
    begun: list[tuple[int, int]] = []  # what looks like an event and is open: how deep, and where
    events: list[tuple[int, int]] = []
    expected = _VALUE
    before = position
    while effort.take() and (token := _TOKEN.match(text, position)) is not None:
        kind = token.lastindex or 0
        start, end = token.span(kind)
        if kind in (_STRING, _SCALAR):
            if expected <= _VALUE_OR_END:
                expected = _THEN_COMMA
            elif kind == _STRING and expected <= _KEY_OR_END:
                expected = _THEN_COLON
            else:
                break
        elif kind == _COMMA:
            if expected != _THEN_COMMA:
                break
            expected = _VALUE if kinds[-1] == _ARRAY else _KEY
        elif kind == _COLON:
            if expected != _THEN_COLON:
                break
            expected = _VALUE
        elif kind == _ARRAY:
            if expected > _VALUE_OR_END:
                break
            kinds += bytes((_ARRAY,)) * (end - start)
            expected = _VALUE_OR_END
        elif kind == _OBJECT:
            if expected > _VALUE_OR_END:
                break
            if kinds and kinds[-1] == _ARRAY and _BEGINNING.match(text, start):
                begun.append((len(kinds), start))
            kinds.append(_OBJECT)
            expected = _KEY_OR_END
        elif kind == _ARRAY_END:
            if expected not in (_THEN_COMMA, _VALUE_OR_END):
                break
            closed = min(end - start, len(kinds))
            if kinds[-closed:] != bytes((_ARRAY,)) * closed:
                break
            del kinds[-closed:]
            end = start + closed
            expected = _THEN_COMMA
        else:
            if expected not in (_THEN_COMMA, _KEY_OR_END) or kinds[-1] != _OBJECT:
                break
            kinds.pop()
            if begun and begun[-1][0] == len(kinds):
                first = begun.pop()[1]
                while events and events[-1][0] > first:
                    events.pop()  # which stood inside this one
                events.append((first, end))
            expected = _THEN_COMMA
        if not kinds:
            return _Value(end, end, [])
        before, position = start, end
    return _Value(-1, before, events)
