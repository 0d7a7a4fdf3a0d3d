"""Enumerations of the platform are open: what AWS adds tomorrow must not raise today."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class OpenStrEnum(StrEnum):
    """A string enumeration that takes any string.

    Known values are matched regardless of case (the platform sends `timeout`, its emulator `Timeout`); any other
    string becomes a member-like value that equals that string, is kept exactly as it came, and is not remembered.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        folded = value.casefold()
        for member in cls:
            if member.value.casefold() == folded:
                return member
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this library has a name for the value."""
        return self._value_ in type(self)._value2member_map_
