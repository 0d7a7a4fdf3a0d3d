"""Answers by httptools, which the direct server is made of too."""

from __future__ import annotations

from typing import final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from lambda_extension._api._parsing import CLOSED, Response


@final
class HttptoolsParser:
    """See `AnswerParser`.

    Attributes:
        keeps_alive: See there.
    """

    def __init__(self) -> None:
        self.keeps_alive = False
        self._parser = HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Begin to read the answer to another request."""
        self._response: Response | None = None
        self._in_head = True
        self.on_message_begin()

    def feed(self, data: bytes) -> Response | None:
        """Take in bytes; give the answer once it is whole."""
        if not data:
            return self._close()
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.keeps_alive = False
            if self._response is None:  # else it is what follows that is wrong
                msg = f"the answer is not HTTP/1.1: {error!r}"
                raise ConnectionError(msg) from error
        return self._response

    def _close(self) -> Response:
        # The parser cannot be told of it: a head that says nothing of a length makes what has come the body.
        if self._in_head or self._headers.keys() & {"content-length", "transfer-encoding"}:
            raise ConnectionError(CLOSED)
        return self._whole()

    def _whole(self) -> Response:
        return Response(self._parser.get_status_code(), self._headers, b"".join(self._chunks))

    # What follows is called by httptools, by these names.

    def on_message_begin(self) -> None:
        """Begin an answer; where one is there already, nobody has asked for this one."""
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self.keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header; one that follows a body is dropped."""
        if self._in_head:
            # It leaves the blanks in that may stand behind a value.
            self._headers[name.decode("ascii").lower()] = value.decode("latin-1").rstrip(" \t")

    def on_headers_complete(self) -> None:
        """End the head, unless it is that of an interim answer."""
        self._in_head = self._parser.get_status_code() < 200

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """End the answer, unless it is an interim one."""
        if self._response is None and not self._in_head:
            self._response = self._whole()
            self.keeps_alive = self._parser.should_keep_alive()
