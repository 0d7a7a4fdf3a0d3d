"""What exporting by OpenTelemetry costs, by its own goals: `python -m benchmarks.otlp [--rounds N] [--layer FILE]`.

Processor time for 1,000 log records, from the platform's request to the compressed one; start-up and memory of three
signals beside the bare stream's; and what an invocation takes longer than with a delivery alone. With the binary of
OpenTelemetry's collector layer, the same of that, with a span that the function exports in each invocation.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import HERE, Contestant, interpreter, prepare
from benchmarks.corpus import invocation
from benchmarks.fake_lambda import Pusher
from benchmarks.measure import life, startup
from benchmarks.process import MIB, run, sink
from benchmarks.records import body_of, json_line, milliseconds, text_line
from lambda_extension import Environment
from lambda_extension.otel._conversion import Conversion
from lambda_extension.otel._encoders import OTLPEncoder, Protocol, Resource
from lambda_extension.otel._identity import Identities
from lambda_extension.otel._metrics import MetricMaker
from lambda_extension.otel._phases import SpanMaker
from lambda_extension.records import Correlator
from lambda_extension.telemetry import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INVOCATIONS = 60
LAYER_SETTINGS = """
receivers:
  otlp: {{protocols: {{http: {{endpoint: "localhost:{port}"}}}}}}
  telemetryapi: {{export_interval_ms: 0}}
exporters:
  otlphttp: {{endpoint: "{url}", encoding: json}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: &all {{receivers: [otlp, telemetryapi], exporters: [otlphttp]}}
    logs: *all
    metrics: *all
"""
PORT = 45318
# A request for traces with one span, as an SDK would send it.
SPAN = bytes.fromhex("0a231221121f0a10") + b"t" * 16 + bytes.fromhex("1208") + b"s" * 8 + bytes.fromhex("2a0177")


def exporting(protocol: Protocol) -> Callable[[bytes], bytes]:
    """Give what makes a compressed request for logs of one of the platform's."""
    encoder = OTLPEncoder(signal="logs", resource=Resource({"service.name": "orders"}), protocol=protocol, version="1")

    def work(body: bytes) -> bytes:
        environment, identities = Environment(function_name="orders", region="eu-west-1"), Identities()
        conversion = Conversion(
            ("traces", "logs", "metrics"),
            Correlator(environment),
            SpanMaker("orders", identities),
            MetricMaker(),
            identities,
            environment,
        )
        _, records = conversion.take(decode(body))
        joined = encoder.join([encoder.encode_event(record) for record in records])
        return gzip.compress(joined, compresslevel=1, mtime=0)

    return work


def processor_time(rounds: int) -> dict[str, dict[str, float]]:
    """Return milliseconds of processor time for 1,000 log records, by protocol and kind of line."""
    lines = {"text": text_line, "json": json_line}
    bodies = {kind: [body_of(line, minute) for minute in range(rounds)] for kind, line in lines.items()}
    protocols: tuple[Protocol, ...] = ("http/json", "http/protobuf")
    return {
        protocol: {kind: milliseconds(exporting(protocol), each) for kind, each in bodies.items()}
        for protocol in protocols
    }


def contestant(name: str, **environment: str) -> Contestant:
    """Give an extension that sends at the end of each invocation."""
    command = (str(interpreter()), str(HERE / "exporting.py"))
    return Contestant(name=name, title=name, command=command, environment={"EXPORTING_LOOP": "asyncio", **environment})


@contextlib.contextmanager
def layer(binary: Path, url: str) -> Iterator[Contestant]:
    """Give the collector layer, with settings of its own."""
    with tempfile.TemporaryDirectory() as home:
        settings = Path(home) / "config.yaml"
        settings.write_text(LAYER_SETTINGS.format(port=PORT, url=url))
        # Of an emulator: there it listens on every address, and not on a name that only Lambda knows.
        environment = {"OPENTELEMETRY_COLLECTOR_CONFIG_URI": str(settings), "AWS_SAM_LOCAL": "true"}
        yield Contestant(name="layer", title="collector layer", command=(str(binary),), environment=environment)


def per_invocation(which: Contestant, *, receives: bool = False) -> dict[str, float]:
    """Return milliseconds from the end of an invocation to the next call, and MiB at the peak."""
    taken = []
    with run(which, "telemetry") as running, contextlib.ExitStack() as stack:
        running.lambda_.wait_next()
        pushers = [stack.enter_context(Pusher(port)) for port in running.lambda_.destinations]
        function = http.client.HTTPConnection("localhost", PORT)
        for number in range(INVOCATIONS):
            batch = invocation(f"r{number}")
            sent = running.lambda_.invoke(f"r{number}")
            if receives:
                _export(function)
            for pusher in pushers:
                pusher.push(batch)
            taken.append(running.lambda_.wait_next() - sent)
        peak = running.memory()[1] / MIB
        cpu = running.cpu_seconds()
    return {
        "invocation_ms": statistics.median(taken[INVOCATIONS // 10 :]) * 1e3,
        "peak_mib": peak,
        "cpu_ms": cpu * 1e3,
    }


def _export(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/v1/traces", SPAN, {"Content-Type": "application/x-protobuf"})
    with connection.getresponse() as answer:
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the receiver answered {answer.status}")


def medians(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: statistics.median(each[name] for each in measured) for name in measured[0]}


def interleaved(rounds: int, works: dict[str, Callable[[], dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Measure in turn, so that what else the machine does meets all of them; return medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return {name: medians(each) for name, each in found.items()}


def start_and_weight(rounds: int) -> None:
    """Print start-up and memory of three signals beside the bare stream's."""

    def measure(which: Contestant) -> dict[str, float]:
        return startup(which) | life(which)

    bare, three = prepare("asyncio-direct"), prepare("otlp")
    found = interleaved(rounds, {"bare": lambda: measure(bare), "three": lambda: measure(three)})
    for figure, limit in (("next_ms", 1.3), ("startup_cpu_ms", 1.3), ("idle_mib", 1.4), ("life_peak_mib", 1.4)):
        ours, theirs = found["three"][figure], found["bare"][figure]
        print(f"{figure}: three signals {ours:.1f}, bare stream {theirs:.1f}: {ours / theirs:.2f} x (goal: {limit})")


def invocations(rounds: int, url: str, binary: Path | None) -> None:
    """Print what an invocation takes, and the collector layer's figures beside ours."""
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
    delivery = contestant("delivery", EXPORTING_DELIVERY=url)
    three = contestant("otlp", **otlp)
    found = interleaved(rounds, {"delivery": lambda: per_invocation(delivery), "three": lambda: per_invocation(three)})
    added = found["three"]["invocation_ms"] - found["delivery"]["invocation_ms"]
    print(
        f"invocation: three signals {found['three']['invocation_ms']:.2f} ms, a delivery alone "
        f"{found['delivery']['invocation_ms']:.2f} ms: {added:.2f} ms more (goal: 3)"
    )
    if binary is None:
        return
    receiving = contestant("otlp", EXPORTING_RECEIVE=str(PORT), **otlp)
    with layer(binary, url) as other:

        def measure(which: Contestant) -> dict[str, float]:
            return startup(which) | per_invocation(which, receives=True)

        beside = interleaved(rounds, {"ours": lambda: measure(receiving), "layer": lambda: measure(other)})
    print("| With the function's own spans | ours | collector layer |\n|---|---|---|")
    figures = {
        "next_ms": "start to first next, ms",
        "startup_cpu_ms": "processor time of that, ms",
        "idle_mib": "resident when idle, MiB",
        "peak_mib": f"peak over {INVOCATIONS} invocations, MiB",
        "cpu_ms": "processor time of all that, ms",
        "invocation_ms": "INVOKE to next, ms",
    }
    for figure, title in figures.items():
        print(f"| {title} | {beside['ours'][figure]:.1f} | {beside['layer'][figure]:.1f} |")


def main() -> None:
    """Print every figure and its goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layer", type=Path, help="the binary of OpenTelemetry's collector layer")
    options = parser.parse_args()
    for protocol, taken in processor_time(options.rounds * 4).items():
        print(
            f"{protocol}: {taken['text']:.1f} ms per 1,000 records of text (goal: 8), "
            f"{taken['json']:.1f} ms of JSON (goal: 12)"
        )
    start_and_weight(options.rounds)
    invocations(options.rounds, sink(), options.layer)


if __name__ == "__main__":
    main()
