"""Plain Markdown of each page and `llms.txt`, beside the HTML: what people's assistants read."""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> None:
    """Nothing yet."""
