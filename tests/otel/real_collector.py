"""The OpenTelemetry Collector itself, in front of a backend: built by its builder once, outside of the repository."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from otlp_collector import Backend, free_port

from waiting import listens, wait_until

VERSION = "v0.165.0"
STABLE = "v1.71.0"  # of the parts that have another version, in the same release
BUILDER = "go.opentelemetry.io/collector/cmd/builder"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lambda-extension-tests"

PARTS = f"""
dist: {{name: collector, output_path: ./build, module: example.com/collector}}
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver {VERSION}
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter {VERSION}
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider {STABLE}
"""
# Without a queue it answers once the backend has answered: what it acknowledges is there, once.
SETTINGS = """
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  otlp_http:
    endpoint: {backend}
    sending_queue: {{enabled: false}}
    retry_on_failure: {{enabled: false}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: &all {{receivers: [otlp], exporters: [otlp_http]}}
    logs: *all
    metrics: *all
"""


def binary() -> Path:
    """Give the collector, built if need be; skip where that cannot be, but not in CI."""
    home = CACHE / f"otelcol-{VERSION}"
    found = home / "collector"
    if found.exists():
        return found
    if shutil.which("go") is None:
        missing = "the OpenTelemetry Collector is not tested against: there is no Go to build it with"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    home.mkdir(parents=True, exist_ok=True)
    # It takes minutes and all processors: whoever else wants it waits for the first.
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            (home / "parts.yaml").write_text(PARTS)
            _run(["go", "install", f"{BUILDER}@{VERSION}"], home)
            _run([str(home / "builder"), "--config", "parts.yaml"], home)
            (home / "build" / "collector").replace(found)
            shutil.rmtree(home / "build")
    return found


def _run(command: list[str], home: Path) -> None:
    environment = {**os.environ, "GOBIN": str(home), "GOFLAGS": "-mod=mod"}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.fail(f"`{' '.join(command)}` failed: {done.stderr[-2000:]}")


@contextmanager
def collecting(backend: Backend, home: Path) -> Generator[str]:
    """Run the collector in front of a backend; give its URL."""
    port = free_port()
    (home / "collector.yaml").write_text(SETTINGS.format(port=port, backend=backend.url))
    log = home / "collector.log"
    with log.open("w") as out:
        process = subprocess.Popen([str(binary()), "--config", str(home / "collector.yaml")], stdout=out, stderr=out)
    try:
        wait_until(lambda: process.poll() is not None or listens(port), within=30)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
