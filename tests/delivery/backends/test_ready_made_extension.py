"""The ready-made extension against a real server: by three formats at once, which all have each line once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator
from victoria_logs import VictoriaLogs, victoria_logs

pytestmark = pytest.mark.timeout(700)  # where the server has to be built first


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaLogs]:
    with victoria_logs(tmp_path_factory.mktemp("victoria")) as running:
        yield running


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the simulator's; the extension is a process
async def test_every_line_is_there_in_each_format(server: VictoriaLogs, tmp_path: Path) -> None:
    marker = f"m{uuid4().hex}"
    lines = [f'{{"level": "{level}", "message": "{marker} {n} of jane@shop.example"}}'
             for n, level in enumerate(["INFO", "DEBUG", "ERROR"])]  # fmt: skip
    jsonline = "/insert/jsonline?_msg_field=body&_time_field=timestamp&_stream_fields=source"
    variables = {
        "NAME": "ship",
        "DESTINATIONS": "loki,elasticsearch,http,otlp",
        "LOKI_URL": f"{server.url}/insert/loki/api/v1/push",
        "LOKI_LABELS": "by=loki",
        "ELASTICSEARCH_URL": f"{server.url}/insert/elasticsearch/_bulk?_msg_field=message&_time_field=@timestamp",
        "HTTP_URL": server.url + jsonline,
        "HTTP_COMPRESSION": "gzip",
        "OTLP_URL": f"{server.url}/insert/opentelemetry",
        "OTLP_SIGNALS": "logs",
        "LEVEL": "INFO",
        "REDACT": "email",
    }
    environment = {f"LAMBDA_EXTENSION_{name}": text for name, text in variables.items()}
    environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    command = [sys.executable, "-m", "lambda_extension", "ship"]
    spec = ExtensionSpec(command, name="ship", environment=environment)
    async with Simulator(extensions=[spec], function=ScriptedFunction(log_lines=lines)) as lambda_:
        assert (await lambda_.invoke({})).status == "success"
    found = Counter(each["_msg"] for each in server.wait_for(f'"{marker}"', 8))
    assert set(found) == {f"{marker} 0 of [redacted]", f"{marker} 2 of [redacted]"}
    # What a slow server took without an answer in time comes again, and this one keeps both.
    assert min(found.values()) >= 4
