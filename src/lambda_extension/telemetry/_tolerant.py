"""Make a struct of JSON that does not quite fit it: what is odd or missing is left at its default."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from lambda_extension.telemetry._splitting import ODD_EVENT, UNREADABLE, Effort, elements, members


class MisfitError(ValueError):
    """A value cannot be made into what it should be."""


def read_struct(kind: type[msgspec.Struct], raw: bytes, effort: Effort) -> Any:
    """Make a struct field by field.

    Args:
        kind: The struct.
        raw: An object's JSON; it may break off, or hold what is no JSON.
        effort: What it may take; if that is over afterwards, something may be missing.

    Raises:
        MisfitError: A field that has no default is missing, or cannot be read.
    """
    given = members(raw, effort)
    read = {}
    for field in _fields(kind):
        try:
            read[field.name] = _read(field.type, given[field.encode_name], effort)
        except (KeyError, MisfitError):
            if field.required:
                msg = f"Object has no readable `{field.encode_name}`"
                raise MisfitError(msg) from None
    return kind(**read)


def read_text(raw: bytes) -> str:
    """Read a string, or a number as one; what no string can hold is replaced.

    Raises:
        MisfitError: It is neither.
    """
    try:
        found = json.loads(raw.decode("utf-8", "replace"), strict=False, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, str):
        raise MisfitError
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# Analysing a type takes longer than reading a value of it, and a platform that is odd once is odd a thousand times.
_fields = cache(msgspec.structs.fields)
_decoder: Callable[[Any], msgspec.json.Decoder[Any]] = cache(msgspec.json.Decoder)


def _read(kind: Any, raw: bytes, effort: Effort) -> Any:
    """Read a value of one of the types that the structs' fields have."""
    try:
        return _decoder(kind).decode(raw)
    except UNREADABLE:
        pass
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for part in parts:
        try:
            return _read_as(part, raw, effort)
        except MisfitError:
            continue
    raise MisfitError


def _read_as(kind: Any, raw: bytes, effort: Effort) -> Any:
    if get_origin(kind) is tuple:
        (item, _) = get_args(kind)
        return tuple(_readable(item, elements(raw, effort), effort))
    if issubclass(kind, msgspec.Struct):
        return read_struct(kind, raw, effort)
    if kind in (int, float):
        number = _number(raw)
        return round(number) if kind is int else number
    if issubclass(kind, str):
        return kind(read_text(raw))
    raise MisfitError


def _number(raw: bytes) -> float:
    """Read a number, or a string that is one."""
    try:
        number = msgspec.json.decode(raw, type=float, strict=False)
    except UNREADABLE:
        raise MisfitError from None
    if not math.isfinite(number):
        raise MisfitError
    return number


def _readable(kind: Any, pieces: list[bytes], effort: Effort) -> Any:
    for piece in pieces:
        if not effort.take(ODD_EVENT):
            return
        try:
            yield _read(kind, piece, effort)
        except MisfitError:
            continue
