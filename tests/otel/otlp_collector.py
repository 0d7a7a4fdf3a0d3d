"""rotel, a real OTLP collector, and behind it a server of ours that decodes what the collector passes on."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from foreign_builds import server_program
from http_servers import QuietHandler, free_port, serving
from waiting import listens

REQUESTS: dict[str, type[Any]] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Backend:
    """Takes OTLP over HTTP; answers with `status`, after `delay` seconds."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.status = 200
        self.delay = 0.0
        self.refuses = ""
        self.url = ""

    def take(self, path: str, body: bytes) -> int:
        time.sleep(self.delay)  # a backend that is slow
        if self.refuses and self.refuses.encode() in body:
            return 400
        if self.status == 200:
            self.requests.append(REQUESTS[path].FromString(body))
        return self.status

    @property
    def spans(self) -> list[Any]:
        found = [request for request in list(self.requests) if isinstance(request, ExportTraceServiceRequest)]
        return [
            span
            for request in found
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[Any]:
        """What the spans are about."""
        found = [request for request in list(self.requests) if isinstance(request, ExportTraceServiceRequest)]
        return [each.resource for request in found for each in request.resource_spans]

    @property
    def logs(self) -> list[Any]:
        found = [request for request in list(self.requests) if isinstance(request, ExportLogsServiceRequest)]
        return [
            record
            for request in found
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def sums(self) -> Counter[str]:
        """Add up the points of each counter, which are deltas."""
        total: Counter[str] = Counter()
        for request in list(self.requests):
            if isinstance(request, ExportMetricsServiceRequest):
                for resource in request.resource_metrics:
                    for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
                        total[metric.name] += sum(int(_value(point)) for point in metric.sum.data_points)
        return total

    @property
    def metrics(self) -> set[str]:
        found = [request for request in list(self.requests) if isinstance(request, ExportMetricsServiceRequest)]
        return {
            metric.name
            for request in found
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def _value(point: Any) -> float:
    return float(getattr(point, point.WhichOneof("value")))


def attribute(item: Any, name: str) -> Any:
    """Give the value of an attribute; None where it is not there."""
    for each in item.attributes:
        if each.key == name:
            return getattr(each.value, each.value.WhichOneof("value"))
    return None


@contextmanager
def otlp_backend() -> Generator[Backend]:
    """Run a backend on a port of its own."""
    backend = Backend()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            self.answer(backend.take(self.path, self.read_body()))

    with serving(Handler) as backend.url:
        yield backend


def find_rotel() -> Path:
    """Find the collector. Where it cannot be had the test is skipped; in CI it fails."""
    library = Path(sysconfig.get_config_var("LIBDIR") or "", str(sysconfig.get_config_var("INSTSONAME")))
    if not (sysconfig.get_config_var("Py_ENABLE_SHARED") and library.exists()):
        pytest.skip("rotel needs the shared library of Python, which this one was built without")
    found = importlib.util.find_spec("rotel")
    if found is not None and found.origin is not None:
        return Path(found.origin).with_name("rotel-agent")
    if os.environ.get("CI") and sys.version_info < (3, 14):
        pytest.fail("rotel is not installed")
    pytest.skip("there is no rotel for this Python")


@contextmanager
def collecting(backend: Backend, tmp_path: Path) -> Generator[str]:
    """Run rotel in front of a backend; give its URL."""
    rotel = find_rotel()
    port = free_port()
    command = [
        str(rotel), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{port}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
        "--exporter", "otlp",
        "--otlp-exporter-protocol", "http",
        "--otlp-exporter-endpoint", backend.url,
        "--disable-batching",
        "--pid-file", str(tmp_path / "rotel.pid"),
    ]  # fmt: skip
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR"),
    }
    with server_program(command, tmp_path / "rotel.log", lambda: listens(port), env=environment):
        yield f"http://127.0.0.1:{port}"
