"""A function that asks the extension, as its module is imported and in each invocation."""

from typing import Any
from urllib.request import urlopen


def ask() -> str:
    with urlopen("http://127.0.0.1:2773/", timeout=2) as response:
        text: bytes = response.read()
    return text.decode()


AT_START = ask()


def handler(event: Any, context: Any) -> dict[str, str]:
    return {"at start": AT_START, "now": ask()}
