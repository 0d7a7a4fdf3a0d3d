"""Two short lives of extensions in the simulator, and what was seen of them."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import attrs

from lambda_extension.cli._layers import by_first_line
from lambda_extension.simulator import (
    DeliveryFault,
    Entry,
    ExtensionSpec,
    Finding,
    InvocationResult,
    ScriptedFunction,
    ShutdownReport,
    Simulator,
)

_HOURS: Final = 3 * 3600.0
# Long enough for telemetry to arrive while the function still runs.
_LATENCY: Final = 0.15
_IMPORT_TIME: Final = "import time:"
# Options of Python by which it ignores the variables that are its own.
_DEAF: Final = re.compile(r"-[A-Za-z]*[IE]")


@attrs.define(eq=False)
class Life:
    """What was seen of one extension.

    Attributes:
        init_ms: From its start to its first next; None when it did not get there.
        events: What it registered for; None when it never did.
        imports: Lines of `-X importtime`.
        early: Lines that it wrote before it was shut down.
        late: Lines that it wrote afterwards.
        exit_code: None while it has not ended, and where it could not be started.
        killed: Whether the platform has killed it.
        twice: Whether its name was registered again, by whomever.
    """

    init_ms: float | None = None
    events: Sequence[str] | None = None
    imports: list[str] = attrs.field(factory=list)
    early: list[str] = attrs.field(factory=list)
    late: list[str] = attrs.field(factory=list)
    exit_code: int | None = None
    killed: bool = False
    twice: bool = False
    _started: float = 0.0
    _ending: bool = False

    @property
    def said(self) -> list[str]:
        """All that it wrote itself."""
        return self.early + self.late

    def see(self, entry: Entry) -> None:
        """Take in an entry about it, or about everybody."""
        match (entry.kind, entry.what):
            case ("phase", "shutdown-start"):
                self._ending = True
            case ("process", "start"):
                self._started = entry.time
            case ("process", "exit"):
                self.exit_code, self.killed = entry.detail["code"], entry.detail["killed"]
            case ("state", "Registered"):
                self.events = list(entry.detail["events"])
            case ("call", what) if what.endswith("/register") and self.events is not None:
                self.twice = entry.detail["status"] == HTTPStatus.FORBIDDEN
            case ("state", "Ready") if self.init_ms is None:
                self.init_ms = (entry.time - self._started) * 1000
            case ("output", _):
                text = str(entry.detail["text"])
                lines = self.imports if text.startswith(_IMPORT_TIME) else self.late if self._ending else self.early
                lines.append(text)


@attrs.frozen(kw_only=True)
class Observation:
    """One life of an environment."""

    lives: Mapping[str, Life]
    results: Sequence[InvocationResult]
    shutdown: ShutdownReport
    findings: Sequence[Finding]

    @property
    def started(self) -> bool:
        """Whether every extension got as far as its first next."""
        return all(life.init_ms is not None for life in self.lives.values())


async def observe(
    extensions: Sequence[ExtensionSpec], *, environment: Mapping[str, str], opt: Path | None, rough: bool
) -> Observation:
    """Run two invocations.

    A calm life measures imports, and Python writes at once in it. A rough one is as on Lambda, freezes for hours
    between the invocations, and sends events of the future.
    """
    lives = {spec.resolved_name: Life() for spec in extensions}

    def watch(entry: Entry) -> None:
        for name, life in lives.items():
            if entry.who in {name, "platform"}:
                life.see(entry)

    async with Simulator(
        extensions if rough else [_measured(spec) for spec in extensions],
        ScriptedFunction(latency=_LATENCY, log_lines=["a line", '{"level": "INFO", "message": "another"}']),
        environment=environment,
        opt=opt,
        freeze=rough,
        faults=[DeliveryFault(action="unknown-event")] if rough else [],
        watch=watch,
    ) as lambda_:
        await lambda_.ready()
        results: list[InvocationResult] = []
        if all(life.init_ms is not None for life in lives.values()):
            results.append(await lambda_.invoke({}))
            if rough:
                await lambda_.freeze_for(_HOURS)
            results.append(await lambda_.invoke({}))
        shutdown = await lambda_.shutdown()
    return Observation(lives=lives, results=results, shutdown=shutdown, findings=list(lambda_.record.findings))


def _measured(spec: ExtensionSpec) -> ExtensionSpec:
    """Let an extension tell its imports, and write at once; a Python that ignores variables is told by an option."""
    variables = {**spec.environment, "PYTHONPROFILEIMPORTTIME": "1", "PYTHONUNBUFFERED": "1"}
    assert spec.argv is not None  # they are all files
    program, *arguments = spec.argv if len(spec.argv) > 1 else by_first_line(Path(spec.argv[0])) or spec.argv
    if Path(program).name.startswith("python") and arguments and _DEAF.match(arguments[0]):
        return attrs.evolve(spec, command=[program, "-X", "importtime", *arguments], environment=variables)
    return attrs.evolve(spec, environment=variables)


@contextmanager
def bare_python() -> Iterator[str]:
    """Make an interpreter that has the standard library and nothing else, as Lambda's; yield PATH with it first."""
    with tempfile.TemporaryDirectory(prefix="lambda-extension-") as folder:
        venv.create(folder, symlinks=True, with_pip=False)
        binaries = Path(folder, "bin")
        # Names of a version too: a launcher may ask for python3.13 by way of env.
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        if not (binaries / version).exists():  # pragma: no cover - from Python 3.12 on, venv makes it
            (binaries / version).symlink_to("python3")
        yield os.pathsep.join([str(binaries), os.environ.get("PATH", os.defpath)])
