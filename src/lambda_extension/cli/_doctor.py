"""Checks for what goes wrong with extensions once they are deployed."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, Literal

import attrs

from lambda_extension.cli._setup import command_of
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

__all__ = ["Check", "examine"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_IMPORT_TIME: Final = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|( +)(\S+)")
_SLOW_INIT_MS: Final = 2_000
_SLOW_IMPORTS_MS: Final = 1_000
_HOURS: Final = 3 * 3600.0
# Long enough for telemetry to arrive while the function still runs.
_LATENCY: Final = 0.15


@attrs.frozen(kw_only=True)
class Check:
    """What was checked, and how it turned out: `warn` costs something, `skip` could not be checked."""

    name: str
    verdict: Literal["pass", "fail", "warn", "skip"]
    reason: str


async def examine(path: Path) -> AsyncIterator[Check]:
    """Check an extension; those that run it come last, and not at all if it cannot be started.

    Takes some seconds, and at most for the limits that Lambda sets to init, invocations and shutdown.
    """
    yield _name(path)
    for check in _file(path):
        yield check
    if not _can_start(path):
        return
    calm = await _run(path, rough=False)
    yield _starts(calm)
    if calm.init_ms is None:
        return
    yield _imports(calm)
    yield _shuts_down("shuts down in time", calm)
    rough = await _run(path, rough=True)
    yield _survives(rough)
    for check in _rules(calm, rough):
        yield check


def _can_start(path: Path) -> bool:
    state = path.stat()
    return state.st_size > 0 and (path.suffix == ".py" or bool(state.st_mode & stat.S_IXUSR))


def _name(path: Path) -> Check:
    name = "name"
    if not _NAME.fullmatch(path.name):
        reason = f"{path.name!r} has other characters than ASCII letters, digits, '-', '_' and '.', and may be refused"
        return Check(name=name, verdict="fail", reason=reason)
    return Check(name=name, verdict="pass", reason=f"{path.name}; it must register under this, suffix included")


def _file(path: Path) -> Iterator[Check]:
    mode = path.stat().st_mode
    if mode & 0o005 == 0o005 and mode & stat.S_IXUSR:
        yield Check(name="executable", verdict="pass", reason=f"mode {mode & 0o777:o}")
    else:
        reason = f"mode {mode & 0o777:o}: Lambda runs it as another user, and needs 755 (chmod 755 {path.name})"
        yield Check(name="executable", verdict="fail", reason=reason)
    head = path.read_bytes()[:512]
    name = "shebang"
    if head.startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")):
        yield Check(name=name, verdict="pass", reason="a native binary needs none")
        return
    line, newline, _ = head.partition(b"\n")
    if not line.startswith(b"#!"):
        what = "a byte order mark stands before it" if line.startswith(b"\xef\xbb\xbf#!") else "the file has none"
        yield Check(name=name, verdict="fail", reason=f"{what}: the first two bytes must be #!")
    elif line.endswith(b"\r"):
        reason = "its line ends with CR LF, so that the interpreter is not found: save the file with LF"
        yield Check(name=name, verdict="fail", reason=reason)
    elif not newline and len(head) == 512:
        yield Check(name=name, verdict="fail", reason="its line is longer than Linux reads")
    else:
        yield _interpreter(line[2:].decode(errors="replace").split())


def _interpreter(words: list[str]) -> Check:
    name = "shebang"
    if not words:
        return Check(name=name, verdict="fail", reason="it names no interpreter")
    program = words[0]
    wanted = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if Path(program).name == "env" and wanted:
        found = shutil.which(wanted[0])
        if found is None:
            return Check(name=name, verdict="fail", reason=f"{wanted[0]} is not on the search path")
        return Check(name=name, verdict="pass", reason=f"{wanted[0]}, here {found}; the function's image needs it too")
    if not Path(program).exists():
        return Check(name=name, verdict="fail", reason=f"{program} does not exist")
    if program.startswith(("/usr/", "/bin/", "/var/lang/", "/opt/")):
        return Check(name=name, verdict="pass", reason=f"{program}; the function's image needs it too")
    reason = f"{program} exists here, but hardly on Lambda: use /usr/bin/env"
    return Check(name=name, verdict="warn", reason=reason)


# -- checks that run it


@attrs.frozen(kw_only=True)
class _Run:
    """What was seen of one run; `init_ms` is None when init did not end well."""

    name: str
    init_ms: float | None
    results: list[InvocationResult]
    shutdown: ShutdownReport
    findings: list[Finding]
    output: list[str]
    exit_code: int | None


async def _run(path: Path, *, rough: bool) -> _Run:
    """Run two invocations; a rough run freezes for hours in between and sends events of the future."""
    output: list[str] = []
    started: list[float] = []
    ready: list[float] = []
    codes: list[int] = []

    def watch(entry: Entry) -> None:
        if entry.who != path.name:
            return
        if entry.kind == "output":
            output.append(str(entry.detail["text"]))
        elif entry.kind == "process":
            (started if entry.what == "start" else codes).append(entry.detail.get("code", entry.time))
        elif entry.kind == "state" and entry.what == "Ready":
            ready.append(entry.time)

    environment = {} if rough else {"PYTHONPROFILEIMPORTTIME": "1"}
    async with Simulator(
        [ExtensionSpec(command_of(path), name=path.name, environment=environment)],
        ScriptedFunction(latency=_LATENCY, log_lines=["a line", '{"level": "INFO", "message": "another"}']),
        freeze=rough,
        faults=[DeliveryFault(action="unknown-event")] if rough else [],
        watch=watch,
    ) as lambda_:
        await lambda_.ready()
        results: list[InvocationResult] = []
        if ready:
            results.append(await lambda_.invoke({}))
            if rough:
                await lambda_.freeze_for(_HOURS)
            results.append(await lambda_.invoke({}))
        shutdown = await lambda_.shutdown()
    return _Run(
        name=path.name,
        init_ms=(ready[0] - started[0]) * 1000 if ready and started else None,
        results=results,
        shutdown=shutdown,
        findings=list(lambda_.record.findings),
        output=output,
        exit_code=codes[-1] if codes else None,
    )


def _starts(run: _Run) -> Check:
    name = "registers and asks for next in time"
    if run.init_ms is None:
        said = [line for line in run.output if not line.startswith("import time:")][-1:]
        why = " ".join(f"{finding.message} {finding.fix}" for finding in run.findings) or "Init failed."
        last = f" Its last line was: {said[0]}" if said else ""
        return Check(name=name, verdict="fail", reason=f"{why} It exited with {run.exit_code}.{last}")
    reason = f"{run.init_ms:.0f} ms from its start to its first next; Lambda allows 10 s for all, and bills it"
    return Check(name=name, verdict="warn" if run.init_ms > _SLOW_INIT_MS else "pass", reason=reason)


def _imports(run: _Run) -> Check:
    name = "imports"
    found = [match for line in run.output if (match := _IMPORT_TIME.match(line))]
    if not found:
        return Check(name=name, verdict="skip", reason="not a Python program")
    # One space of indentation is an import of the program itself; deeper ones are parts of those.
    outermost = [(int(match[2]) / 1000, match[4]) for match in found if len(match[3]) == 1]
    total = sum(int(match[1]) for match in found) / 1000
    slowest = ", ".join(f"{module} {took:.0f} ms" for took, module in sorted(outermost, reverse=True)[:5])
    verdict: Literal["warn", "pass"] = "warn" if total > _SLOW_IMPORTS_MS else "pass"
    return Check(name=name, verdict=verdict, reason=f"{total:.0f} ms in {len(found)} modules; slowest: {slowest}")


def _shuts_down(name: str, run: _Run) -> Check:
    report = run.shutdown
    if run.name in report.late:
        reason = f"it still ran after {report.budget_ms:.0f} ms, and Lambda kills it then"
        return Check(name=name, verdict="fail", reason=reason)
    if run.exit_code != 0:
        return Check(name=name, verdict="fail", reason=f"it ended with exit code {run.exit_code}")
    return Check(name=name, verdict="pass", reason=f"{report.used_ms:.0f} of {report.budget_ms:.0f} ms")


def _survives(run: _Run) -> Check:
    name = "survives a freeze of hours and unknown events"
    failed = [result for result in run.results if result.status != "success"]
    if failed:
        reason = f"the next invocation ended with {failed[0].status} ({failed[0].error_type})"
        return Check(name=name, verdict="fail", reason=reason)
    return _shuts_down(name, run)


def _rules(*runs: _Run) -> Iterator[Check]:
    broken = {finding.rule: finding for run in runs for finding in run.findings}
    for finding in broken.values():
        yield Check(name=f"rule {finding.rule}", verdict="fail", reason=f"{finding.message} {finding.fix}")
