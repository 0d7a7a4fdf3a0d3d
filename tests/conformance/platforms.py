"""What the suite asks of a platform, and how a test says where it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, final

import anyio
import anyio.abc
import attrs
import pytest

from conformance.puppets import Call, Puppet, Stage

__all__ = ["Environment", "Mode", "Outcome", "Pending", "Platform", "holds", "parametrize"]

Mode: TypeAlias = Literal["on-demand", "managed"]
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

BOTH: Final[tuple[Mode, ...]] = ("on-demand", "managed")


@attrs.frozen(kw_only=True)
class Outcome:
    """What the caller of an invocation learned; `error` is empty when it succeeded."""

    payload: Any = None
    error: str = ""


@final
class Pending:
    """Something under way in the background."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self._value: Any = None

    async def run(self, action: Callable[[], Awaitable[Any]]) -> None:
        """Do it."""
        self._value = await action()
        self.done.set()

    async def value(self, *, within: float = 20.0) -> Any:
        """Wait for what comes of it."""
        with anyio.fail_after(within):
            await self.done.wait()
        return self._value


class Environment(ABC):
    """A running execution environment whose participants are puppets.

    Attributes:
        first: The invocation that began with the environment; the emulator's standard mode inits within it, so every
            on-demand environment has one. A managed one has none.
    """

    def __init__(self, stage: Stage, tasks: anyio.abc.TaskGroup, *, managed: bool) -> None:
        self.stage, self.managed = stage, managed
        self.first: Pending | None = None
        self._tasks = tasks

    async def extension(self, name: str = "one.py", *, number: int = 0) -> Puppet:
        """Wait for process `number`, counted from 0, of an extension."""
        return await self.stage.puppet(name, number=number)

    async def runtime(self, *, number: int = 0) -> Puppet:
        """Wait for process `number`, counted from 0, of the runtime."""
        return await self.stage.puppet("bootstrap", number=number)

    async def settled(
        self, name: str = "one.py", *events: str, number: int = 0, subscribe: Any = None
    ) -> tuple[Puppet, Call]:
        """Bring an extension through its init; return it and its first call of next."""
        puppet = await self.extension(name, number=number)
        assert (await puppet.register(*(events or self.events))).status == 200
        if subscribe is not None:
            answer = await puppet.subscribe(subscribe)
            assert (answer.status, answer.body) == (200, b'"OK"')
        return puppet, await puppet.next()

    @property
    def events(self) -> tuple[str, ...]:
        """What an extension may ask for here."""
        return ("SHUTDOWN",) if self.managed else ("INVOKE", "SHUTDOWN")

    def begin(self, payload: Any = None, *, trace: str | None = None) -> Pending:
        """Invoke in the background, with a trace header if there is one; the value is an `Outcome`."""
        return self._begin(lambda: self.invoke(payload, trace=trace))

    def begin_shutdown(self) -> Pending:
        """Shut down in the background; done when everything has ended."""
        return self._begin(self.shut_down)

    def _begin(self, action: Callable[[], Awaitable[Any]]) -> Pending:
        pending = Pending()
        self._tasks.start_soon(pending.run, action)
        return pending

    @abstractmethod
    async def invoke(self, payload: Any = None, *, trace: str | None = None) -> Outcome:
        """Invoke the function, with a trace header if there is one."""

    async def invoked(self, payload: Any = None) -> Outcome:
        """Have one invocation succeed: the one that began with the environment, or one with `payload`."""
        outcome: Outcome = await (self.first or self.begin(payload)).value()
        assert outcome.error == ""
        return outcome

    async def jump(self, seconds: float) -> None:
        """Freeze everybody, and let the platform's own clock jump, where it has one."""
        raise NotImplementedError

    @abstractmethod
    async def shut_down(self) -> None:
        """End the environment."""

    @abstractmethod
    async def init_failure(self) -> str:
        """Wait for init to fail; return text that holds the error type."""


class Platform(Protocol):
    """The simulator or the emulator, in one mode."""

    name: str
    mode: Mode

    def open(
        self,
        *extensions: str,
        first: Any = None,
        timeout: int = 5,
        concurrency: int = 4,
        telemetry: bool = True,
        tracing: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Environment]:
        """Start an environment with these extensions, `one.py` by default; everything is killed at the end.

        Args:
            extensions: Names; each is a puppet.
            first: Payload of the first invocation.
            timeout: Function time-out in seconds.
            concurrency: Invocations at once in managed mode.
            telemetry: Whether telemetry is supported, where that is a choice.
            tracing: Whether each invocation begins a trace, where that is a choice.
            environment: The function's configured variables.
        """


def holds(*, emulator: tuple[Mode, ...] = BOTH, simulator: tuple[Mode, ...] = BOTH) -> Callable[[F], F]:
    """Say in which modes of which platform a test of the suite can run."""

    def mark(test: F) -> F:
        test.where = {"emulator": emulator, "simulator": simulator}  # type: ignore[attr-defined]
        return test

    return mark


def parametrize(
    metafunc: pytest.Metafunc, kind: str, differences: Mapping[tuple[str, Mode], str], *, strict: bool = True
) -> None:
    """Run a test of the suite in the modes in which it holds; known differences are expected to fail."""
    where: tuple[Mode, ...] = metafunc.function.where[kind]
    name = metafunc.function.__name__
    params = []
    for mode in where:
        reason = differences.get((name, mode))
        marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=strict)]
        params.append(pytest.param(mode, id=mode, marks=marks))
    if where:
        metafunc.parametrize("mode", params)
    else:
        metafunc.parametrize("mode", [pytest.param("none", marks=pytest.mark.skip(reason=f"not on the {kind}"))])
