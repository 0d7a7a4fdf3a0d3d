"""The function under simulation: scripted in this process, or a process of its own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import attrs

from lambda_extension._environment import names_alone


@attrs.frozen(kw_only=True)
class ScriptedFunction:
    """A function that does as told, in this process.

    Attributes:
        latency: Seconds until it answers.
        init_latency: Seconds its init takes.
        log_lines: Lines it prints at the start of each invocation.
        response: JSON value to answer; `None` answers the payload itself.
        response_size: Answer this many bytes instead.
        error_type: Answer with this error type.
        init_error_type: Fail init with this error type.
        never_answers: Wait for the time-out.
        exit_code: Exit instead of answering; 137 is what running out of memory looks like.
        then: Behaviours of the following invocations, the last one for all that remain; an init that fails counts as
            one. A reset does not begin again.
    """

    latency: float = 0.0
    init_latency: float = 0.0
    log_lines: Sequence[str] = ()
    response: Any = None
    response_size: int | None = None
    error_type: str | None = None
    init_error_type: str | None = None
    never_answers: bool = False
    exit_code: int | None = None
    then: Sequence[ScriptedFunction] = ()

    def turn(self, number: int) -> ScriptedFunction:
        """Return the behaviour of invocation `number`, counted from 0."""
        steps = (self, *self.then)
        return steps[min(number, len(steps) - 1)]


@final
class Script:
    """Where a scripted function is in its script, whatever happens to its environment."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._turns = 0

    def coming(self) -> ScriptedFunction:
        """Return the behaviour of the next turn."""
        scripted: ScriptedFunction = self._function
        return scripted.turn(self._turns)

    def take(self) -> ScriptedFunction:
        """Return the behaviour of the next turn, and go on."""
        turn = self.coming()
        self._turns += 1
        return turn


@attrs.frozen(kw_only=True)
class FunctionContext:
    """What an in-process function learns of its invocation.

    Attributes:
        log: Writes a line, as print does in a function that is a process.
    """

    request_id: str
    deadline_ms: int
    invoked_function_arn: str
    trace_header: str | None
    log: Callable[[str], None]


@attrs.frozen
class ExtensionSpec:
    """An extension to start: its command or async callable, its name, more environment variables."""

    command: Any
    name: str | None = attrs.field(default=None, kw_only=True)
    environment: dict[str, str] = attrs.field(factory=dict, kw_only=True, repr=names_alone)

    @property
    def argv(self) -> list[str] | None:
        """The command line; `None` for a callable."""
        if callable(self.command):
            return None
        if isinstance(self.command, (str, Path)):
            return [str(Path(self.command).absolute())]
        return [str(part) for part in self.command]

    @property
    def resolved_name(self) -> str:
        """The given name, or the file name of the command, or the callable's name."""
        if self.name is not None:
            return self.name
        if self.argv is None:
            return str(getattr(self.command, "__name__", type(self.command).__name__))
        return Path(self.argv[0]).name


def function_argv(function: Any) -> tuple[list[str], str | None]:
    """Return the command line of a function that is a process, and the handler that it is told if it is a Python one.

    Raises:
        ModuleNotFoundError: A Python handler is asked for and awslambdaric is not installed.
    """
    if isinstance(function, str) and ":" in function:
        if importlib.util.find_spec("awslambdaric") is None:
            message = "running a Python handler needs awslambdaric: pip install 'lambda-extension[simulator]'"
            raise ModuleNotFoundError(message, name="awslambdaric")
        handler = function.replace(":", ".")
        return [sys.executable, "-m", "awslambdaric", handler], handler
    if isinstance(function, (str, Path)):
        return [str(Path(function).absolute())], None
    return [str(part) for part in function], None
