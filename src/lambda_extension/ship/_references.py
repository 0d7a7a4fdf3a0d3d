"""References to secrets: what a variable may have instead of its value. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, final

import attrs

_ARN: Final = re.compile(r"arn:[\w-]+:(?P<service>secretsmanager|ssm):(?P<region>[a-z0-9-]+):\d{12}:\S+")


@final
@attrs.frozen
class Reference:
    """What names a secret.

    Attributes:
        service: Who keeps it: AWS Secrets Manager, or the parameter store of AWS Systems Manager.
        name: Its name or ARN.
        key: Of a secret that is a JSON object, the key whose value is meant.
        region: The region that its ARN names; None for the function's own.
    """

    service: Literal["secretsmanager", "ssm"]
    name: str
    key: str | None
    region: str | None

    def __str__(self) -> str:
        key = "" if self.key is None else f"#{self.key}"
        return f"{self.name if self.region else f'{self.service}:{self.name}'}{key}"


def reference_of(text: str) -> Reference | None:
    """Return what a text refers to; None where it is the value itself.

    Args:
        text: An ARN of either service, `secretsmanager:NAME`, or `ssm:NAME`; each with `#KEY` behind it or not.
    """
    head, mark, tail = text.partition("#")
    key = tail if mark else None
    if arn := _ARN.fullmatch(head):
        return Reference("ssm" if arn["service"] == "ssm" else "secretsmanager", head, key, arn["region"])
    service, _, name = head.partition(":")
    if service == "secretsmanager" and name:
        return Reference("secretsmanager", name, key, None)
    return Reference("ssm", name, key, None) if service == "ssm" and name else None
