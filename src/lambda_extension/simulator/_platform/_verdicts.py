"""The rules, and what is said of who breaks them: what was seen, and advice that fits the cause."""

from __future__ import annotations

import json
import signal
from collections.abc import Collection
from typing import Any, Final, final

import attrs

from lambda_extension.simulator._apis._extensions import ApiError, ExtensionState
from lambda_extension.simulator._platform._executables import Obstacle
from lambda_extension.simulator._platform._participants import Invocation, Participant
from lambda_extension.simulator._watching._record import Record

_POLL: Final = "Keep asking for the next event until SHUTDOWN arrives, and only then exit."
_REGISTER: Final = "POST /2020-01-01/extension/register at start."
_OUT_OF_MEMORY: Final = (137, -signal.SIGKILL)


@attrs.frozen(kw_only=True)
class _Refusal:
    call: str
    status: int
    error_type: str


@final
class Verdicts:
    """Findings about the participants of one environment, put into the record."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._refusals: dict[str, _Refusal] = {}

    def _find(self, who: str, rule: str, message: str, fix: str, **more: Any) -> None:
        self._record.finding(who, rule, message, fix=fix, **more)

    # -- the start

    def not_started(self, who: str, obstacle: Obstacle) -> None:
        """Say why the file of a participant could not be started."""
        self._find(who, "launch", f"It cannot be started: {obstacle.message}", obstacle.fix)

    def wrong_name(self, sent: str, expected: Collection[str]) -> None:
        """Say that somebody registered under a name that no file has, while these have not registered."""
        names = " or ".join(map(repr, expected))
        for who in expected:
            self._find(
                who,
                "wrong-name",
                f"It registered as {sent!r}, which is no file name of an extension; expected is {names}.",
                f"Send {names} as Lambda-Extension-Name: the launcher's complete file name, suffix included. A "
                "launcher that starts another program passes it on, as an argument or in a variable.",
            )

    def init_timed_out(self, states: Collection[ExtensionState]) -> None:
        """Blame those that kept init from ending in time."""
        for item in states:
            if item.state == "Started":
                self._unregistered(item.name, "It never registered, so init timed out.")
            elif not item.asked_next:
                message = "It never asked for next, so init timed out."
                fix = "GET /2020-01-01/extension/event/next once its own init is done."
                self._find(item.name, "never-calls-next", message, fix)

    def _unregistered(self, who: str, message: str) -> None:
        self._find(who, "never-registers", message, _REGISTER, output=self._record.last_words(who))

    def refused(self, who: str, call: str, error: ApiError) -> None:
        """Remember a call that was refused: it may be what an extension dies of."""
        self._refusals[who] = _Refusal(call=call, status=error.status, error_type=error.error_type)

    # -- telemetry

    def subscribes_late(self, who: str, api: str) -> None:
        """Say that an extension subscribed once init was over."""
        message = f"It subscribed to {api} after init, when subscriptions are closed."
        self._find(who, "subscribes-late", message, "Subscribe between register and the first next.")

    def wrong_host(self, who: str, api: str) -> None:
        """Say that a destination is none inside the environment."""
        message = f"It asked for {api} at a host other than sandbox.localdomain."
        self._find(who, "wrong-host", message, "Subscribe with http://sandbox.localdomain:PORT.")

    def taken_port(self, who: str) -> None:
        """Say that a destination has the port that the platform itself has."""
        message = "It asked for telemetry at port 9001, which Lambda's own API has."
        self._find(who, "port-9001", message, "Listen on another port; 0 lets the kernel choose one.")

    def listens_on(self, who: str, port: int, found: Collection[str], wanted: str) -> None:
        """Judge the addresses on which an extension listens.

        Args:
            who: The extension.
            port: That it subscribed with.
            found: Addresses that listen there.
            wanted: The address of `sandbox.localdomain`.
        """
        fix = "Listen on the address that sandbox.localdomain resolves to."
        if {"0.0.0.0", "::"} & set(found):  # noqa: S104 - it is looked for
            message = f"It listens on every address at port {port}, for the whole network of this machine too."
            self._find(who, "listens-everywhere", message, fix, level="warning")
        elif found and wanted not in found and all(address.startswith("127.") for address in found):
            message = f"It listens on {', '.join(sorted(found))} at port {port}, where Lambda delivers nothing."
            self._find(who, "loopback-only", message, fix)

    def undelivered(self, who: str, port: int, events: int, problem: str) -> None:
        """Say that a subscriber got nothing at all."""
        message = f"Nothing could be delivered at port {port}: {events} events were undelivered at the end ({problem})."
        fix = "Listen on that port, at the address of sandbox.localdomain, before subscribing, and answer 200."
        self._find(who, "listener-unreachable", message, fix)

    def feedback(self, who: str) -> None:
        """Say that an extension writes when its own output is delivered."""
        self._find(
            who,
            "feedback-loop",
            "It writes when its own output is delivered to it, which is output again, without end.",
            "Leave `extension` out of the types, or do not print per received event.",
        )

    # -- the end

    def reported(self, who: str, target: str, error_type: str, body: bytes) -> str:
        """Say that an extension reported an error; return its message."""
        rule = "init-error" if target == "InitError" else "exit-error"
        message = _message(body)
        said = f"{error_type}: {message}" if message else error_type
        self._find(
            who,
            rule,
            f"It reported {rule.replace('-', '/')}: {said}",
            "Mend what it reports.",
            output=self._record.last_words(who),
        )
        return message

    def exits_early(self, participant: Participant, state: ExtensionState) -> None:
        """Say that an extension ended although nobody had asked it to."""
        who, code = participant.name, participant.exit_code
        if any(finding.who == who and finding.rule in {"launch", "wrong-name"} for finding in self._record.findings):
            return  # it has said so already, and with the cause
        how = f"It was ended by {_signal(-code)}" if code and code < 0 else f"It exited with code {code}"
        if not code and not participant.real:
            how = "It ended"  # a code is what processes have
        when = {"Started": "before it registered", "Registered": "before it asked for next"}
        message = f"{how} {when.get(state.state, 'although it was not shut down')}"
        refusal = self._refusals.get(who)
        if refusal is not None:
            message += f", after {refusal.call} was refused with {refusal.status} {refusal.error_type}"
            fix = "Mend that call."
        elif code:
            fix = "See the end of its output for the reason."
        else:
            fix = _REGISTER if state.state == "Started" else _POLL
        self._find(who, "exits-early", f"{message}.", fix, output=self._record.last_words(who) if code else None)

    def exceeds_deadline(self, who: str) -> None:
        """Say that the function was done in time and the extension was not."""
        self._find(
            who,
            "exceeds-deadline",
            "It did not ask for next before the function's deadline, so the invocation timed out.",
            "Finish the work of an invocation before its deadlineMs, then ask for next.",
        )

    def late_at_shutdown(self, who: str, budget_ms: float) -> None:
        """Say that an extension had to be killed at the end."""
        self._find(
            who,
            "late-at-shutdown",
            f"It still ran at the end of the {budget_ms:.0f} ms of shutdown and was killed.",
            "Flush within deadlineMs less a margin of 200 ms, then exit.",
        )

    def asks_after_shutdown(self, who: str, budget_ms: float) -> None:
        """Say that an extension asked for another event, of which there is none, in place of exiting."""
        self._find(
            who,
            "next-after-shutdown",
            f"It asked for next after SHUTDOWN, and was killed at the end of the {budget_ms:.0f} ms.",
            "Exit once the work of the shutdown is done.",
            level="warning",
        )

    def fails_at_shutdown(self, participant: Participant) -> None:
        """Say that an extension ended with an error once it was shut down."""
        code = participant.exit_code or 0
        how = f"was ended by {_signal(-code)}" if code < 0 else f"exited with code {code}"
        self._find(
            participant.name,
            "fails-at-shutdown",
            f"It {how} after SHUTDOWN.",
            "See the end of its output for the reason.",
            output=self._record.last_words(participant.name),
        )

    # -- the function

    def function_failed(self, invocation: Invocation) -> None:
        """Note what the function answered in place of a result."""
        self._record.add(
            "state",
            "runtime",
            "error",
            request_id=invocation.request_id,
            # A runtime need not name the type but in the body.
            error_type=_said(invocation.response, "errorType") or invocation.error_type,
            message=_message(invocation.response),
            output=tuple(invocation.logs),
        )

    def function_init_failed(self, error_type: str, body: bytes) -> None:
        """Say why the function could not be initialised."""
        message = _message(body)
        said = f"{error_type}: {message}" if message else error_type
        output = self._record.last_words("runtime")
        self._find("runtime", "function-init", f"Its init failed: {said}", "Mend the function.", output=output)

    def runtime_ended(self, participant: Participant, *, ready: bool) -> str:
        """Return the error type of a runtime's end, and say what is to be said of it."""
        code = participant.exit_code
        if participant.starved or (code in _OUT_OF_MEMORY and not participant.killed):
            return "Runtime.OutOfMemory"
        if not ready and not participant.killed and participant.real and not participant.unstarted:
            self._find(
                "runtime",
                "function-init",
                f"The function's process exited with code {code} before it asked for an invocation.",
                "See the end of its output for the reason.",
                output=self._record.last_words("runtime"),
            )
        return "Runtime.ExitError"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _message(body: bytes) -> str:
    return _said(body, "errorMessage")


def _said(body: bytes, name: str) -> str:
    """Return a field of an error's body; empty if it has none."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return ""
    return str(parsed.get(name, "")) if isinstance(parsed, dict) else ""
