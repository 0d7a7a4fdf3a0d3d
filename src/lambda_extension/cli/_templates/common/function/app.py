"""A function for the extension to run beside."""

from typing import Any


def handler(event: Any, context: Any) -> dict[str, str]:
    print("order accepted")
    return {"status": "accepted"}
