"""Records of whole lives in the simulator: of several invocations at once, and of such as fail beside a dead sink."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from lambda_extension import Environment, run_telemetry
from lambda_extension.delivery import NDJSON, Delivery, Payload, Spill
from lambda_extension.processing import Continuous, EndOfInvocation
from lambda_extension.records import add, only, redact, sample, truncate, without
from lambda_extension.simulator import ExtensionSpec, FunctionContext, ScriptedFunction, Simulator

TIME = "2026-03-01T10:00:00.750Z"
SECOND = "2026-03-01 10:00:00"


def as_json(**record: Any) -> str:
    return json.dumps({"timestamp": TIME, "level": "INFO", **record})


# What each runtime writes of a message in an invocation.
RUNTIMES: dict[str, Callable[[str, str], str]] = {
    "python": lambda who, message: f"[INFO]\t{TIME}\t{who}\t{message}",
    "node": lambda who, message: f"{TIME}\t{who}\tINFO\t{message}",
    "dotnet": lambda who, message: f"{TIME}\t{who}\tfail\t{message}",
    "ruby": lambda who, message: f"I, [2026-03-01T10:00:00.750000 #8]  INFO {who} -- : {message}",
    "log4j": lambda who, message: f"{SECOND} {who} INFO  Main - {message}",
    "lambda": lambda who, message: as_json(requestId=who, message=message),
    "java": lambda who, message: as_json(AWSRequestId=who, message=message),
    "powertools": lambda who, message: as_json(function_request_id=who, message=message),
}
NAMELESS: dict[str, Callable[[str, str], str]] = {
    "go": lambda _, message: f"2026/03/01 10:00:00 {message}",
    "foreign": lambda _, message: json.dumps({"requestId": "99999999-0000-4000-8000-000000000099", "message": message}),
}


class Taking:
    """A sink that takes everything, over the environments of one life."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.closed = 0

    async def send(self, payload: Payload) -> None:
        self.records += map(json.loads, payload.body.splitlines())

    async def aclose(self) -> None:
        self.closed += 1

    def found(self) -> Counter[tuple[str, str | None]]:
        """Count the marks in lines with the request ids that stand beside them."""
        lines = [record for record in self.records if record["source"] == "function"]
        return Counter((re.findall(r"<\S+>", json.dumps(line))[0], line.get("requestId")) for line in lines)


class Dead:
    async def send(self, payload: Payload) -> None:
        raise ConnectionError


def extension(deliveries: Callable[[], Iterable[Delivery]], **options: Any) -> list[ExtensionSpec]:
    async def run(environment: Mapping[str, str]) -> None:
        variables = Environment.from_mapping(environment)
        await run_telemetry(lambda: list(deliveries()), name="extension", environment=variables, **options)

    return [ExtensionSpec(run, name="extension")]


async def test_where_five_run_at_once_a_line_has_the_id_that_its_runtime_wrote_and_no_other() -> None:
    sink = Taking()
    written: dict[str, str | None] = {}

    async def function(_payload: Any, context: FunctionContext) -> None:
        for name, form in (RUNTIMES | NAMELESS).items():
            mark = f"<{name}-{context.request_id}>"
            written[mark] = context.request_id if name in RUNTIMES else None
            context.log(form(context.request_id, mark))
            await anyio.lowlevel.checkpoint()

    def deliveries() -> list[Delivery]:
        return [Delivery(sink, transforms=[without(source="platform")], encoder=NDJSON(), spill=None)]

    async def invoke(lambda_: Simulator) -> None:
        for _ in range(4):
            assert (await lambda_.invoke()).status == "success"

    extensions = extension(deliveries, flush=Continuous())
    async with Simulator(
        extensions, function, mode="managed-instances", concurrency=5, timeout=30, log_format="JSON"
    ) as lambda_:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(invoke, lambda_)
        await lambda_.shutdown()
    assert len(written) == 20 * len(RUNTIMES | NAMELESS)
    assert sink.found() == Counter(written.items())
    reports = [record for record in sink.records if record["source"] == "report"]
    assert len({report["requestId"] for report in reports}) == len(reports) == 20
    assert not any(report.get("late") or report["coldStart"] for report in reports)


TIMEOUTS, KILLS, ERRORS = {2}, {5: 1, 8: 137}, {1, 9}
FAILED = TIMEOUTS | ERRORS | KILLS.keys()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_sample_keeps_whatever_failed_and_a_dead_sink_beside_it_costs_nothing(tmp_path: Path) -> None:
    sampled, whole = Taking(), Taking()

    def deliveries() -> list[Delivery]:
        transforms = [only(source="function"), sample(0), redact(), truncate(100), add(team="orders")]
        kinds: list[tuple[str, Any, list[Any]]] = [
            ("sampled", sampled, transforms),
            ("whole", whole, [without(source="platform")]),
            ("dead", Dead(), transforms),
        ]
        return [
            Delivery(sink, name=name, transforms=steps, encoder=NDJSON(), spill=Spill(directory=tmp_path / name))
            for name, sink, steps in kinds
        ]

    def turn(number: int) -> ScriptedFunction:
        return ScriptedFunction(
            log_lines=[f"<{number}-a> for ann@example.com", f"ERROR:orders:<{number}-b> {'x' * 200}"],
            never_answers=number in TIMEOUTS,
            exit_code=KILLS.get(number),
            error_type="Function.Bad" if number in ERRORS else None,
        )

    turns = [turn(number) for number in range(12)]
    function = attrs.evolve(turns[0], then=turns[1:])
    extensions = extension(deliveries, flush=EndOfInvocation(), on_error="degrade")
    async with Simulator(extensions, function, timeout=30, init_timeout=30) as lambda_:
        ids = [(await lambda_.invoke(timeout=0.7 if number in TIMEOUTS else None)).request_id for number in range(12)]
        assert (await lambda_.shutdown()).late == ()

    def marks(numbers: Iterable[int]) -> Counter[tuple[str, str | None]]:
        return Counter((f"<{number}-{which}>", ids[number]) for number in numbers for which in "ab")

    assert sampled.found() == marks(FAILED)
    assert whole.found() == marks(range(12))
    assert "example.com" not in json.dumps(sampled.records)
    assert {record["attributes"]["team"] for record in sampled.records} == {"orders"}
    assert max(len(record["body"].encode()) for record in sampled.records) == 100
    outcomes = {record["requestId"]: record["outcome"] for record in whole.records if record["source"] == "report"}
    expected = dict.fromkeys(range(12), "success") | dict.fromkeys(ERRORS, "error") | dict.fromkeys(TIMEOUTS, "timeout")
    expected |= {5: "failure", 8: "out_of_memory"}
    assert outcomes == {ids[number]: outcome for number, outcome in expected.items()}
    environments = 1 + len(TIMEOUTS) + len(KILLS)
    assert sampled.closed == whole.closed == environments
    left = b"".join(path.read_bytes() for path in (tmp_path / "dead").glob("*.spill"))
    assert all(left.count(f"<{number}-a>".encode()) == (number in FAILED) for number in range(12))
