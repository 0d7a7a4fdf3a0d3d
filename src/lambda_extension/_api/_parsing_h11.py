"""Answers by h11, which is there wherever hypercorn is."""

from __future__ import annotations

from typing import final

import h11

from lambda_extension._api._parsing import CLOSED, Response

# It reads an answer as that to a request, whose bytes it does not mind losing.
_REQUEST = h11.Request(method="GET", target="/", headers=[("Host", "localhost")])


@final
class H11Parser:
    """See `AnswerParser`."""

    def __init__(self) -> None:
        self.begin()

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may be used again."""
        return self._http.their_state is h11.DONE and self._http.trailing_data == (b"", False)

    def begin(self) -> None:
        """Begin to read the answer to another request."""
        self._http = h11.Connection(h11.CLIENT)
        self._http.send(_REQUEST)
        self._http.send(h11.EndOfMessage())
        self._head: h11.Response | None = None
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Response | None:
        """Take in bytes; give the answer once it is whole."""
        if not data and self._head is None:
            raise ConnectionError(CLOSED)
        try:
            self._http.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as error:
            msg = f"the answer is not HTTP/1.1: {error}"
            raise ConnectionError(msg) from error

    def _read(self) -> Response | None:
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._chunks.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert self._head is not None
                headers = {name.decode("ascii"): value.decode("latin-1") for name, value in self._head.headers}
                return Response(self._head.status_code, headers, b"".join(self._chunks))
        return None
