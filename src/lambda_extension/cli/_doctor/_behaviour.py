"""What two lives of an extension say about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from lambda_extension.cli._doctor._check import Check, Verdict
from lambda_extension.cli._doctor._layer import homes_of_packages, where_is
from lambda_extension.cli._doctor._observe import Life, Observation
from lambda_extension.packaging._hints import hint
from lambda_extension.simulator._watching._record import Level

_IMPORT_TIME: Final = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|( +)(\S+)")
_NO_MODULE: Final = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]+)'")
_SLOW_INIT_MS: Final = 2_000
_SLOW_IMPORTS_MS: Final = 1_000
_VERDICTS: Final[Mapping[Level, Verdict]] = {"error": "fail", "warning": "warn", "note": "pass"}
_RULING: Final = re.compile(r"[\W_]*")


def check_calm(name: str, run: Observation, root: Path | None) -> Iterator[Check]:
    """Check a life in which nothing goes wrong; `root` is the layer that the extension lies in."""
    life = run.lives[name]
    if root is not None:
        yield _packages(name, life, root)
    yield _starts(name, life, run)
    if life.twice:
        reason = f"{name} was registered twice, and the second call refused: each file of extensions/ registers under"
        yield Check("registers once", "fail", f"{reason} its own name, once", name)
    if life.init_ms is None:
        return
    yield _registers(name, life)
    yield _imports(name, life)
    yield _shuts_down("shuts down in time", name, run)


def check_rough(name: str, calm: Observation, rough: Observation) -> Iterator[Check]:
    """Check a life of hours, with events of the future."""
    yield _survives(name, rough)
    if calm.lives[name].early:
        yield _buffers(name, rough.lives[name])


def check_rules(*runs: Observation) -> Iterator[Check]:
    """Give each rule that was broken, once."""
    broken = {(finding.who, finding.rule): finding for run in runs for finding in run.findings}
    for finding in broken.values():
        yield Check(f"rule {finding.rule}", _VERDICTS[finding.level], f"{finding.message} {finding.fix}", finding.who)


# -- start


def _packages(name: str, life: Life, root: Path) -> Check:
    """Say whether the interpreter of a layer finds what it imports, on the search path that it has on Lambda."""
    check = "packages"
    missing = [match[1] for line in life.said if (match := _NO_MODULE.search(line))]
    homes = ", ".join(str(home.relative_to(root)) for home in homes_of_packages(root))
    if not missing:
        return Check(check, "pass", f"found by it; installed in {homes}" if homes else "none are installed", name)
    module = missing[-1]
    lies = where_is(module, root)
    if lies is None:
        reason = f"it imports {module}, which the layer does not have: install it into the layer"
        return Check(check, "fail", reason, name)
    reason = f"it imports {module}, which lies in {lies}/, where an extension's interpreter does not look"
    if lies.parts[:1] == ("python",):
        reason += " (/opt/python is on the runtime's search path alone)"
    return Check(check, "fail", f"{reason}: put /opt/{lies} into sys.path, or in the launcher into PYTHONPATH", name)


def _starts(name: str, life: Life, run: Observation) -> Check:
    check = "registers and asks for next in time"
    if life.init_ms is not None:
        reason = f"{life.init_ms:.0f} ms from its start to its first next; Lambda allows 10 s for all, and bills it"
        return Check(check, "warn" if life.init_ms > _SLOW_INIT_MS else "pass", reason, name)
    findings = [finding for finding in run.findings if finding.who == name]
    why = " ".join(f"{finding.message} {finding.fix}" for finding in findings) or "Init failed."
    if life.exit_code is None:  # it was never started
        return Check(check, "fail", why, name)
    ended = "" if life.killed or f"code {life.exit_code} " in why else f" It exited with {life.exit_code}."
    said = [line for line in life.said if not _RULING.fullmatch(line)][-1:]
    last = f"Its last line was: {said[0]}" if said else "It printed nothing: let it say what it does (sh -x, a print)."
    todo = hint(last, variables="doctor --env {name}=VALUE gives it one here, as the function's configuration does")
    more = f". {todo}" if todo else ""
    return Check(check, "fail", f"{why}{ended} {last}{more}", name)


def _registers(name: str, life: Life) -> Check:
    events = life.events or ()
    if "SHUTDOWN" in events:
        return Check("registers for SHUTDOWN", "pass", f"for {', '.join(events)}", name)
    reason = "it does not: Lambda kills it as soon as the environment ends, and what it still holds is lost"
    return Check("registers for SHUTDOWN", "warn", f"{reason}; register for SHUTDOWN too", name)


def _imports(name: str, life: Life) -> Check:
    found = [match for line in life.imports if (match := _IMPORT_TIME.match(line))]
    if not found:
        reason = "it told none: it is no Python program, or starts one that ignores variables (python -I, or env -i)"
        return Check("imports", "skip", reason, name)
    # One space of indentation is an import of the program itself; deeper ones are parts of those.
    outermost = [(int(match[2]) / 1000, match[4]) for match in found if len(match[3]) == 1]
    total = sum(int(match[1]) for match in found) / 1000
    slowest = ", ".join(f"{module} {took:.0f} ms" for took, module in sorted(outermost, reverse=True)[:5])
    verdict: Verdict = "warn" if total > _SLOW_IMPORTS_MS else "pass"
    return Check("imports", verdict, f"{total:.0f} ms in {len(found)} modules; slowest: {slowest}", name)


# -- life and end


def _shuts_down(check: str, name: str, run: Observation) -> Check:
    report, life = run.shutdown, run.lives[name]
    if name in report.late:
        reason = f"it still ran after {report.budget_ms:.0f} ms, and Lambda kills it then"
        return Check(check, "fail", reason, name)
    if "SHUTDOWN" not in (life.events or ()):
        return Check(check, "skip", "it is killed", name)
    if life.exit_code != 0:
        return Check(check, "fail", f"it ended with exit code {life.exit_code}", name)
    return Check(check, "pass", f"{report.used_ms:.0f} of {report.budget_ms:.0f} ms", name)


def _survives(name: str, run: Observation) -> Check:
    check = "survives a freeze of hours and unknown events"
    failed = [result for result in run.results if result.status != "success"]
    if failed or not run.started:
        why = f"{failed[0].status} ({failed[0].error_type})" if failed else "a failed init"
        return Check(check, "fail", f"the next invocation ended with {why}", name)
    return _shuts_down(check, name, run)


def _buffers(name: str, life: Life) -> Check:
    """Compare with a life in which Python wrote at once: it said something before the end of that one."""
    check = "writes at once"
    if life.late and not life.early:
        reason = "what it prints is kept until it exits: it has the time of its end in the log, and a crash loses it"
        return Check(check, "warn", f"{reason}; run python -u, or set PYTHONUNBUFFERED=1 in the launcher", name)
    return Check(check, "pass", "its output is not kept until it exits", name)
