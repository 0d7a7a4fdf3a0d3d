"""The result of one check."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

Verdict: TypeAlias = Literal["pass", "fail", "warn", "skip"]


@attrs.frozen
class Check:
    """What was checked, and how it turned out.

    Attributes:
        name: The check.
        verdict: `warn` costs something or may fail, `skip` could not be checked.
        reason: What was seen, and what to do about it.
        extension: Which extension it is about; None for the whole layer.
    """

    name: str
    verdict: Verdict
    reason: str
    extension: str | None = None
