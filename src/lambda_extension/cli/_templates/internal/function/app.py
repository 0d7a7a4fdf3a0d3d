"""A function with an extension in its own process."""

from typing import Any

import extension

extension.start()


def handler(event: Any, context: Any) -> dict[str, str]:
    return {"status": "accepted"}
