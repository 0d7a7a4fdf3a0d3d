"""Requests on standard output: for a look at what would be sent."""

from __future__ import annotations

import gzip
import sys
from typing import final

from lambda_extension.delivery import Payload


@final
class ConsoleSink:
    """Prints each request on standard output, as one line."""

    async def send(self, payload: Payload) -> None:
        """Print a payload."""
        body = gzip.decompress(payload.body) if payload.content_encoding == "gzip" else payload.body
        sys.stdout.write(body.decode("utf-8", "backslashreplace") + "\n")
        sys.stdout.flush()
