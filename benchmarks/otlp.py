"""What exporting by OpenTelemetry costs, by its own goals: `python -m benchmarks.otlp [--rounds N] [--layer FILE]`.

Processor time for 1,000 log records, from the platform's request to the compressed one; start-up and memory of three
signals beside the bare stream's; and what an invocation takes longer than with a delivery alone. With the binary of
OpenTelemetry's collector layer, the same of that, with a span that the function exports in each invocation. Each figure
is the least of all rounds, in which both sides take turns; one run takes about two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import statistics
import sys
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


def interleaved(rounds: int, works: dict[str, Callable[[], dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Measure in turn; return the least of each figure, since whatever else the machine does only adds to it."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return {name: {figure: min(each[figure] for each in all_) for figure in all_[0]} for name, all_ in found.items()}


def tell(text: str, measured: float, goal: float, unit: str) -> bool:
    """Print a figure beside its goal, which is an upper bound; return whether it is met."""
    met = measured <= goal
    print(f"{text}: {measured:.2f} {unit} (goal: at most {goal:g}): {'met' if met else 'missed'}", flush=True)
    return met


def processing(rounds: int) -> bool:
    """Measure processor time for log records."""
    goals = {"text": 8.0, "json": 12.0}
    verdicts = [
        tell(f"{protocol}, 1,000 records of {kind}", taken[kind], goal, "ms of processor time")
        for protocol, taken in processor_time(rounds).items()
        for kind, goal in goals.items()
    ]
    return all(verdicts)


def start_and_weight(rounds: int) -> bool:
    """Measure start-up and memory of three signals beside the bare stream's."""

    def measure(which: Contestant) -> dict[str, float]:
        return startup(which) | life(which)

    bare, three = prepare("asyncio-direct"), prepare("otlp")
    found = interleaved(rounds, {"bare": lambda: measure(bare), "three": lambda: measure(three)})
    figures = {
        "register_ms": ("start to register, ms", 1.3),
        "next_ms": ("start to first next, ms", 1.3),
        "startup_cpu_ms": ("processor time of that, ms", 1.3),
        "idle_mib": ("resident when idle, MiB", 1.4),
        "life_peak_mib": ("peak of a life with one batch, MiB", 1.4),
    }
    verdicts = []
    for figure, (title, goal) in figures.items():
        ours, theirs = found["three"][figure], found["bare"][figure]
        text = f"{title}: three signals {ours:.1f}, bare stream {theirs:.1f}"
        verdicts.append(tell(text, ours / theirs, goal, "x"))
    return all(verdicts)


def invocations(rounds: int, url: str) -> bool:
    """Measure what an invocation takes longer than with a delivery alone."""
    delivery = contestant("delivery", EXPORTING_DELIVERY=url)
    three = contestant("otlp", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    found = interleaved(rounds, {"delivery": lambda: per_invocation(delivery), "three": lambda: per_invocation(three)})
    ours, theirs = found["three"]["invocation_ms"], found["delivery"]["invocation_ms"]
    text = f"INVOKE to next: three signals {ours:.2f} ms, a delivery alone {theirs:.2f} ms; more"
    return tell(text, ours - theirs, 3.0, "ms")


def beside_the_layer(rounds: int, url: str, binary: Path) -> None:
    """Print the collector layer's figures beside ours; there is no goal."""
    receiving = contestant("otlp", EXPORTING_RECEIVE=str(PORT), OTEL_EXPORTER_OTLP_ENDPOINT=url)
    with layer(binary, url) as other:

        def measure(which: Contestant) -> dict[str, float]:
            return startup(which) | per_invocation(which, receives=True)

        beside = interleaved(rounds, {"ours": lambda: measure(receiving), "layer": lambda: measure(other)})
    print("| With the function's own spans | ours | collector layer |\n|---|---|---|")
    figures = {
        "register_ms": "start to register, ms",
        "next_ms": "start to first next, ms",
        "startup_cpu_ms": "processor time of that, ms",
        "idle_mib": "resident when idle, MiB",
        "peak_mib": f"peak over {INVOCATIONS} invocations, MiB",
        "cpu_ms": "processor time of all that, ms",
        "invocation_ms": "INVOKE to next, ms",
    }
    for figure, title in figures.items():
        print(f"| {title} | {beside['ours'][figure]:.1f} | {beside['layer'][figure]:.1f} |")


def main() -> int:
    """Print every figure, its goal, and whether it is met; fail where one is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layer", type=Path, help="the binary of OpenTelemetry's collector layer")
    options = parser.parse_args()
    verdicts = [
        processing(options.rounds * 4),
        start_and_weight(options.rounds),
        invocations(options.rounds, sink()),
    ]
    if options.layer is not None:
        beside_the_layer(options.rounds, sink(), options.layer)
    return int(not all(verdicts))


if __name__ == "__main__":
    sys.exit(main())
