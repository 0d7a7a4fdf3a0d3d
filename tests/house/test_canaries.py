"""No secret and no telemetry body in anything that we write: canaries are planted, and looked for, everywhere.

A user's own messages are excepted, so that there are none here.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import traceback
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from http_servers import QuietHandler, free_port, serving
from lambda_extension import telemetry
from lambda_extension._exceptions import DecodeError
from lambda_extension.cli._report import figures_of
from lambda_extension.cli._run import Plan, run
from lambda_extension.cli._setup import Setup
from lambda_extension.cli._tally import Tally
from lambda_extension.delivery import Delivery, HTTPSink, Payload, SinkError, sinks
from lambda_extension.otel import OpenTelemetryProcessor
from lambda_extension.packaging._launcher import Launcher
from lambda_extension.simulator import Entry, ExtensionSpec, ScriptedFunction, Simulator, Timeline

USER, PASSWORD, TOKEN, HEADER, OTLP, CREDENTIAL, LINE = (
    f"canary{name}4711" for name in ("user", "password", "token", "header", "otlp", "credential", "line")
)
CANARIES = [*(USER, PASSWORD, TOKEN, HEADER, OTLP, CREDENTIAL, LINE), b64encode(f"{USER}:{PASSWORD}".encode()).decode()]
VARIABLES = {
    "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
    "AWS_SESSION_TOKEN": CREDENTIAL,
    "DATABASE_PASSWORD": CREDENTIAL,
    "OTEL_EXPORTER_OTLP_HEADERS": f"x-otlp-key={OTLP}",
    "OTEL_RESOURCE_ATTRIBUTES": f"deployment.password={CREDENTIAL}",
    "SECRET_HEADER": HEADER,
}
# What a backend says, one answer after the other; None hangs up.
ANSWERS: dict[str, list[int | None]] = {"failing": [503, 500, None], "refusing": [400, 401, 302], "unreachable": []}


def found_in(text: str) -> set[str]:
    return {canary for canary in CANARIES if canary in text}


@contextmanager
def parrot(answers: list[int | None]) -> Generator[str]:
    """Run a backend that says again all that it was sent; give its `host:port`.

    In the body alone: the headers of answers are logged at DEBUG by httpcore, which is not ours.
    """
    served: list[int] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.read_body()
            status = answers[len(served) % len(answers)]
            served.append(0)
            if status is None:
                self.connection.close()
                return
            said = "; ".join((self.path, *self.headers.values(), body.decode("latin-1")))
            answer = json.dumps({"code": 3, "text": said, "message": said}).encode()
            self.answer(status, answer, Location="/elsewhere")

    if not answers:
        yield f"127.0.0.1:{free_port()}"  # where nobody listens
        return
    with serving(Handler) as url:
        yield url.removeprefix("http://")
        assert served


def extension(place: str, on_error: str, backend: str, tmp_path: Path) -> ExtensionSpec:
    script = Path(__file__).with_name("canaries_extension.py")
    url = f"http://{USER}:{PASSWORD}@{place}"
    variables = {
        **VARIABLES,
        "SECRET_URL": f"{url}/{TOKEN}?token={TOKEN}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{url}/{TOKEN}",
        "ON_ERROR": on_error,
        "BACKEND": backend,
        "NAME": on_error,
        "TMPDIR": str(tmp_path),
    }
    return ExtensionSpec([sys.executable, str(script)], name=on_error, environment=variables)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the simulator's; the extension runs on each
@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("answers", ANSWERS)
async def test_a_life_tells_no_secret(answers: str, backend: str, tmp_path: Path) -> None:
    entries: list[Entry] = []
    timeline, tally = Timeline(), Tally()

    def watch(entry: Entry) -> None:
        entries.append(entry)
        timeline.add(entry)

    with parrot(ANSWERS[answers]) as place:
        specs = [extension(place, on_error, backend, tmp_path) for on_error in ("degrade", "raise")]
        function: Any = ScriptedFunction(log_lines=[LINE, json.dumps({"level": "ERROR", "message": LINE})])
        setup = Setup(extensions=specs, function=function, environment=VARIABLES, timeout=20.0)
        outcome = await run(Plan(setup=setup, invocations=2), tally, watch, tell=str, advance=str)
    said = [entry.detail["text"] for entry in entries if entry.kind == "output" and entry.who in ("degrade", "raise")]
    told = [repr(entry.detail) for entry in entries if entry.kind == "state" and entry.what.endswith("Error")]
    assert any("DEBUG" in line for line in said)
    assert any("ERROR" in line for line in said)
    assert told, "the one that raises tells Lambda so"
    assert not [line for line in said if found_in(line)]
    assert not [text for text in told if found_in(text)]
    told_of_all = outcome.as_dict()
    for failure in told_of_all["failures"]:
        del failure["output"]  # of an invocation that failed, what the function itself has written is told
    assert not found_in(json.dumps(told_of_all))
    page = timeline.html("canaries", figures=figures_of(outcome), findings=outcome.findings)
    assert not found_in(page + timeline.trace())


def ours(root: object) -> Iterator[object]:
    """Give an object and all of the library's that can be reached from it."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting.extend(one)
        elif type(one).__module__.partition(".")[0] == "lambda_extension":
            yield one
            slots = (name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ()))
            waiting.extend(getattr(one, name) for name in slots if name != "__weakref__" and hasattr(one, name))
            waiting.extend(getattr(one, "__dict__", {}).values())


URL = f"https://{USER}:{PASSWORD}@backend.example/{TOKEN}?token={TOKEN}"


SPEC = ExtensionSpec("x", environment=VARIABLES)
OBJECTS: dict[str, Callable[[], object]] = {
    "http": lambda: HTTPSink(URL, headers={"X-Api-Key": HEADER}),
    "delivery": lambda: Delivery(HTTPSink(URL, headers={"X-Api-Key": HEADER})),
    "otel by variables": lambda: OpenTelemetryProcessor(variables={**VARIABLES, "OTEL_EXPORTER_OTLP_ENDPOINT": URL}),
    "otel": lambda: OpenTelemetryProcessor(endpoint=URL, headers={"x-key": HEADER}, variables={}),
    "payload": lambda: Payload(id="1", body=LINE.encode(), items=1, content_type="text/plain", pieces=(LINE.encode(),)),
    "error": lambda: SinkError("refused", answer=LINE),
    "simulator": lambda: Simulator([SPEC], environment=VARIABLES),
    "setup": lambda: Setup(extensions=[SPEC], environment=VARIABLES),
    "launcher": lambda: Launcher(script="x.py", folder="x", interpreter="python", environment=VARIABLES),
}


def sinks_with_secrets() -> Iterator[tuple[str, Callable[[], object]]]:
    """Give what makes each sink that takes a URL or a credential."""
    given = {"url": URL, "token": TOKEN, "api_key": TOKEN, "license_key": TOKEN, "authorization": TOKEN}
    others = {"dataset": "d", "index": "i", "labels": {"app": "a"}, "subject": "s"}
    for name in sorted(dir(sinks)):
        make = getattr(sinks, name)
        if not name.startswith("_") and callable(make):
            parameters = inspect.signature(make).parameters
            if given.keys() & parameters:
                told = {key: value for key, value in {**given, **others}.items() if key in parameters}
                yield name, functools.partial(make, **told)


SINKS = dict(sinks_with_secrets())


@pytest.mark.parametrize("make", [*OBJECTS.values(), *SINKS.values()], ids=[*OBJECTS, *SINKS])
def test_no_repr_tells_a_secret(make: Callable[[], object]) -> None:
    parts = list(ours(make()))
    assert parts
    assert [part for part in parts if found_in(f"{part!r} {part!s}")] == []


def test_the_sinks_of_all_backends_that_have_secrets_are_looked_at() -> None:
    assert {"axiom", "datadog", "elasticsearch", "honeycomb", "loki", "new_relic", "splunk", "sumo"} <= SINKS.keys()


@pytest.mark.parametrize(
    "url",
    [
        f"{USER}:{PASSWORD}@backend.example:4318",
        f"ftp://{USER}:{PASSWORD}@backend.example/?token={TOKEN}",
        f"ftp://{USER}:a@{PASSWORD}@backend.example/#{TOKEN}",
        f"https://{USER}:a/{PASSWORD}@backend.example",
        f"https://{USER}:{PASSWORD}@[backend.example",
        f"https://{USER}:{PASSWORD}@back\u2100end.example/{TOKEN}",
        f"https:///{TOKEN}",
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_it(url: str) -> None:
    for make in (
        lambda: HTTPSink(url),
        lambda: OpenTelemetryProcessor(endpoint=url, variables={}),
        lambda: OpenTelemetryProcessor(variables={"OTEL_EXPORTER_OTLP_ENDPOINT": url}),
        lambda: OpenTelemetryProcessor(variables={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url}),
    ):
        with pytest.raises(ValueError, match="URL such as") as raised:
            make()
        assert not found_in("".join(traceback.format_exception(raised.value)))


def test_what_is_wrong_with_headers_is_said_without_their_values() -> None:
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_HEADERS") as raised:
        OpenTelemetryProcessor(variables={"OTEL_EXPORTER_OTLP_HEADERS": f"x-otlp-key {OTLP}"})
    assert not found_in("".join(traceback.format_exception(raised.value)))


@pytest.mark.parametrize("body", [LINE, f'"{LINE}"', f'{{"time": "{LINE}"}}', f'[{{"type": "{LINE}"}}, {LINE}'])
def test_what_is_wrong_with_a_body_is_said_without_it(body: str) -> None:
    with pytest.raises(DecodeError) as raised:
        telemetry.decode(body.encode())
    assert not found_in("".join(traceback.format_exception(raised.value)))
