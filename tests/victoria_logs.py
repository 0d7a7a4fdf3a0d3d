"""VictoriaLogs, a real server that takes most formats: built by Go once, outside of the repository, and asked back."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foreign_builds import fetched, run_build, server_program
from http_servers import free_port
from waiting import wait_until

VERSION = "v1.52.1"
MODULE = "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"


def binary() -> Path:
    """Give the server, built if need be; skip where that cannot be, but not in CI."""

    def build(home: Path) -> None:
        run_build(["go", "install", f"{MODULE}@{VERSION}"], home, GOBIN=str(home), GOFLAGS="-mod=mod")

    return fetched(f"victoria-logs-{VERSION}", ["go"], build) / "victoria-logs"


@contextmanager
def victoria_logs(home: Path) -> Generator[VictoriaLogs]:
    """Run a server of its own until the end of the block."""
    there = VictoriaLogs(free_port(), free_port())
    command = [
        str(binary()),
        f"-storageDataPath={home}",
        f"-httpListenAddr=127.0.0.1:{there.port}",
        f"-syslog.listenAddr.tcp=127.0.0.1:{there.syslog_port}",
        "-retentionPeriod=100y",
        "-insert.maxLineSizeBytes=2MB",
        "-loki.disableMessageParsing",
        "-loggerOutput=stdout",
        "-memory.allowedBytes=200MB",
    ]
    with server_program(command, home / "log", there.answers):
        yield there


class VictoriaLogs:
    """A server that runs."""

    def __init__(self, port: int, syslog_port: int) -> None:
        self.port = port
        self.syslog_port = syslog_port
        self.url = f"http://127.0.0.1:{port}"

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1):
                return True
        except OSError:
            return False

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
