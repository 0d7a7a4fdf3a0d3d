"""What an extension registers, learned by letting it try."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import attrs

from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._hints import hint_for_package

_LIMIT: Final = 30.0
_ENVIRONMENT: Final = {
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_REGION": "us-east-1",
}


@attrs.frozen
class RegistrationCall:
    """A call of register.

    Attributes:
        name: The extension's name.
        events: What it asks to be told of.
        account_id: Whether it asks for the account id.
    """

    name: str
    events: tuple[str, ...]
    account_id: bool


def learn_registration(argv: Sequence[str], environment: Mapping[str, str]) -> RegistrationCall:
    """Start an extension, take its register call, and end it; blocks, for 30 seconds at most.

    Args:
        argv: Its command line.
        environment: More environment variables for it.

    Raises:
        PackagingError: It made no such call; the message has the last line that it printed.
    """
    with _Listener() as server, tempfile.TemporaryFile() as output:
        variables = {**os.environ, **_ENVIRONMENT, **environment, "AWS_LAMBDA_RUNTIME_API": server.address}
        # Lambda starts it in its own process group too, so that its children end with it.
        process = subprocess.Popen(  # noqa: S603 - the extension that the user packages
            argv, env=variables, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            deadline = time.monotonic() + _LIMIT
            while server.call is None and process.poll() is None and time.monotonic() < deadline:
                server.handle_request()
            server.handle_request()  # it may have ended as soon as its call was on the wire
        finally:
            process.kill()
            process.wait()
        if server.call is not None:
            return server.call
        output.seek(0)
        lines = [line for line in output.read().decode(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else "it printed nothing"
        todo = hint_for_package(last, Path(argv[-1])) or "Mend that, or say --events"
        msg = f"the extension did not register when it was tried ({' '.join(argv)}): {last}\n{todo}"
        raise PackagingError(msg)


class _Listener(HTTPServer):
    """Takes the first register call."""

    timeout = 0.1
    address_family = socket.AF_INET

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.call: RegistrationCall | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Listener  # pyright: ignore[reportIncompatibleVariableOverride]  # it is what it is given

    def do_POST(self) -> None:
        """Note the call; no answer is needed, since the extension is ended."""
        if self.path.endswith("/extension/register"):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            self.server.call = RegistrationCall(
                self.headers.get("Lambda-Extension-Name", ""),
                tuple(body.get("events", [])),
                "accountId" in self.headers.get("Lambda-Extension-Accept-Feature", ""),
            )
        self.send_response(HTTPStatus.INTERNAL_SERVER_ERROR)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the names are given
        """Print nothing."""
