"""VictoriaLogs, a real server that takes most formats: built by Go once, outside of the repository, and asked back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest

from waiting import wait_until

VERSION = "v1.52.1"
MODULE = "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lambda-extension-tests"


def binary() -> Path:
    """Give the server, built if need be; skip where that cannot be, but not in CI."""
    home = CACHE / f"victoria-logs-{VERSION}"
    found = home / "victoria-logs"
    if found.exists():
        return found
    if shutil.which("go") is None:
        missing = "VictoriaLogs is not tested against: there is no Go to build it with"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    # Each process builds in a folder of its own, and the last rename wins.
    building = CACHE / f"building-{os.getpid()}"
    building.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(
            ["go", "install", f"{MODULE}@{VERSION}"],
            check=True,
            env={**os.environ, "GOBIN": str(building), "GOFLAGS": "-mod=mod"},
            capture_output=True,
            timeout=600,
        )
        home.mkdir(parents=True, exist_ok=True)
        (building / "victoria-logs").replace(found)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class VictoriaLogs:
    """A server of its own; a context manager that ends it."""

    def __init__(self, program: Path, home: Path) -> None:
        self.port = free_port()
        self.syslog_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            str(program),
            f"-storageDataPath={home}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-syslog.listenAddr.tcp=127.0.0.1:{self.syslog_port}",
            "-retentionPeriod=100y",
            "-insert.maxLineSizeBytes=2MB",
            "-loki.disableMessageParsing",
            "-loggerOutput=stdout",
            "-memory.allowedBytes=200MB",
        ]
        self._log = home / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self) -> Self:
        wait_until(self._answers, within=30)
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1):
                return True
        except OSError:
            return False

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def query(self, query: str) -> list[dict[str, Any]]:
        """Give what the server has, once it can be found."""
        asked = urllib.parse.urlencode({"query": query, "limit": "100000"})
        with urllib.request.urlopen(f"{self.url}/select/logsql/query?{asked}", timeout=10) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def wait_for(self, query: str, count: int) -> list[dict[str, Any]]:
        """Give what the server has once it is so much."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            with urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=10):
                pass
            found[:] = self.query(query)
            return len(found) >= count

        wait_until(enough)
        return found
