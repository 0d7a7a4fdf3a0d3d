"""The bytes of an answer as what they say: by httptools where that is installed, by h11 elsewhere. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Response(NamedTuple):
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Header values by lower-case name.
        content: The body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


class AnswerParser(Protocol):
    """Reads the answers of one connection, one after the other."""

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may be used again, once an answer has been read to its end and nothing follows."""
        ...

    def begin(self) -> None:
        """Begin to read the answer to another request."""
        ...

    def feed(self, data: bytes) -> Response | None:
        """Take in bytes; give the answer once it is whole.

        Args:
            data: What has come; b"" says that the peer has closed, which ends a body that has no other end.

        Raises:
            ConnectionError: This is no answer, or the peer has closed in the middle of it.
        """
        ...


CLOSED = "the connection was closed before the answer"


def answer_parser() -> AnswerParser:
    """Make a parser, by httptools if it can be: h11 takes milliseconds to import, and far longer for an answer."""
    try:
        from lambda_extension._api._parsing_httptools import HttptoolsParser
    except ImportError:
        from lambda_extension._api._parsing_h11 import H11Parser

        return H11Parser()
    return HttptoolsParser()
