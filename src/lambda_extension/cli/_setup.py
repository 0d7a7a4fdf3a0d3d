"""What is to run, as a simulation: extensions, layers, function, environment variables."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from lambda_extension._environment import names_alone
from lambda_extension.simulator import (
    Entry,
    ExtensionSpec,
    Fault,
    Function,
    ScriptedFunction,
    Simulator,
    hosts_line,
)

# What the function does where none is given.
_STAND_IN: Final = ScriptedFunction(
    latency=0.01, log_lines=["order accepted", '{"level": "INFO", "message": "order shipped"}']
)
# Names that any shell script may have, and that a function has of its own.
_EVERYWHERE: Final = frozenset(
    {"HOME", "HOSTNAME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "SHLVL", "TERM"}
    | {"TMPDIR", "USER"}
)
_VARIABLE: Final = re.compile(rb"[A-Z][A-Z0-9_]{2,}")
_SEARCHED_BYTES: Final = 64 * 1024 * 1024


def command_of(path: Path) -> list[str]:
    """Give the command line of an extension's file.

    An executable runs by its own `#!`; a `.py` file without one by this Python, so that it finds what this one has.
    """
    with path.open("rb") as file:
        own = file.read(2) == b"#!"
    return [sys.executable, str(path)] if path.suffix == ".py" and not own else [str(path)]


def search_path() -> str:
    """Give PATH as processes see it.

    That of this process; without an active virtual environment, the folder of this Python comes first, so that
    `#!/usr/bin/env python3` finds what this Python has.
    """
    known = os.environ.get("PATH", os.defpath)
    return known if "VIRTUAL_ENV" in os.environ else os.pathsep.join([str(Path(sys.executable).parent), known])


def unpassed(files: Sequence[Path], environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield file and name of each variable that a file names, that is set outside, and that is not passed."""
    for path in filter(Path.is_file, files):
        with path.open("rb") as file:
            named = {match.decode() for match in _VARIABLE.findall(file.read(_SEARCHED_BYTES))}
        kept = {name for name in named & os.environ.keys() if not name.startswith("AWS_LAMBDA_")}
        for name in sorted(kept - environment.keys() - _EVERYWHERE):
            yield path.name, name


def tell_unresolved(simulator: Simulator, tell: Callable[[str], object]) -> None:
    """Tell what to do where processes of a simulation cannot resolve `sandbox.localdomain`."""
    surroundings = simulator.surroundings
    if surroundings.address is not None or not simulator.settings.commands():
        return
    why = surroundings.why_not
    tell(
        f"sandbox.localdomain does not resolve here, and a namespace of its own cannot be had ({why}): an extension "
        f"that listens on it fails, until /etc/hosts has this line: {hosts_line()}"
    )


@attrs.frozen(kw_only=True)
class Setup:
    """An environment to simulate.

    Attributes:
        function: `module:handler`, the path or the command line of a bootstrap, or None for the stand-in.
        handler: What a bootstrap is told.
        environment: Variables of the function and its extensions.
        opt: Where the layers have been laid out.
    """

    extensions: Sequence[ExtensionSpec]
    function: str | Sequence[str] | None = None
    handler: str | None = None
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=names_alone)
    mode: Literal["on-demand", "provisioned-concurrency", "snap-start", "managed-instances"] = "on-demand"
    concurrency: int = 1
    memory: int = 128
    log_format: Literal["Text", "JSON"] | None = None
    freeze: bool = False
    timeout: float = 3.0
    faults: Sequence[Fault] = ()
    opt: Path | None = None
    init_timeout: float | None = None
    api_port: int = 0

    @property
    def names(self) -> list[str]:
        """The extensions' names."""
        return [spec.resolved_name for spec in self.extensions]

    @property
    def files(self) -> list[Path]:
        """The extensions' files."""
        return [Path(spec.argv[-1]) for spec in self.extensions if spec.argv is not None]

    def simulator(self, watch: Callable[[Entry], object]) -> Simulator:
        """Make the simulation; `watch` is called with each entry.

        Raises:
            ValueError: Two extensions have one name, or a fault is for what nobody has.
            ModuleNotFoundError: A Python handler is given, and awslambdaric is not installed.
        """
        about: dict[str, Any] = {}
        if self.handler is not None:
            about["about"] = Function(handler=self.handler)
        return Simulator(
            self.extensions,
            self.function or _STAND_IN,
            mode=self.mode,
            timeout=self.timeout,
            init_timeout=self.init_timeout,
            api_port=self.api_port,
            memory_mb=self.memory,
            log_format=self.log_format,
            concurrency=self.concurrency,
            freeze=self.freeze,
            faults=self.faults,
            environment={"PATH": search_path(), **self.environment},
            opt=self.opt,
            watch=watch,
            **about,
        )
