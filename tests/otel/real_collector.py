"""The OpenTelemetry Collector itself, in front of a backend: built by its builder once, outside of the repository."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from otlp_collector import Backend

from foreign_builds import fetched, run_build, server_program
from http_servers import free_port
from waiting import listens

VERSION = "v0.165.0"
STABLE = "v1.71.0"  # of the parts that have another version, in the same release
BUILDER = "go.opentelemetry.io/collector/cmd/builder"

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

    def build(home: Path) -> None:
        (home / "parts.yaml").write_text(PARTS)
        run_build(["go", "install", f"{BUILDER}@{VERSION}"], home, GOBIN=str(home), GOFLAGS="-mod=mod")
        run_build([str(home / "builder"), "--config", "parts.yaml"], home, GOFLAGS="-mod=mod")
        (home / "build" / "collector").rename(home / "collector")
        shutil.rmtree(home / "build")

    return fetched(f"otelcol-{VERSION}", ["go"], build) / "collector"


@contextmanager
def collecting(backend: Backend, home: Path) -> Generator[str]:
    """Run the collector in front of a backend; give its URL."""
    port = free_port()
    (home / "collector.yaml").write_text(SETTINGS.format(port=port, backend=backend.url))
    command = [str(binary()), "--config", str(home / "collector.yaml")]
    with server_program(command, home / "collector.log", lambda: listens(port)):
        yield f"http://127.0.0.1:{port}"
