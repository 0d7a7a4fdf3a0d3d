"""What processes of a simulation find around them: a `/tmp` of its own, `/opt`, and a host named `sandbox`.

Where Linux allows it, that is a mount namespace, inside a user namespace unless this process is root; a small process
holds it, and each participant enters it when it is started. Elsewhere only TMPDIR leads to the directory.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, final

import anyio
import anyio.abc
import anyio.to_thread

from lambda_extension.simulator._platform._executables import named_paths

LOOPBACK: Final = "127.0.0.1"
# A loopback address that is not 127.0.0.1: who listens on that one alone gets nothing, as on Lambda.
_SANDBOX: Final = "127.0.0.2"
_NAMES: Final = ("sandbox.localdomain", "sandbox")
_TMP: Final = Path("/tmp")  # noqa: S108 - Lambda's
_OPT: Final = Path("/opt")
_HOSTS: Final = Path("/etc/hosts")
_HOLDER: Final = Path(__file__).with_name("_holder.py")
_PATIENCE: Final = 5.0
_RESOLVE_LIMIT: Final = 1.0


def hosts_line() -> str:
    """Return the line of /etc/hosts that lets `sandbox.localdomain` resolve on this machine."""
    # Elsewhere the rest of 127.0.0.0/8 cannot be bound unless it is configured.
    return f"{_SANDBOX if sys.platform == 'linux' else LOOPBACK} {' '.join(_NAMES)}"


@final
class Surroundings:
    """Where processes of one simulation run.

    Attributes:
        tmp: The directory that is their /tmp.
        mounted: Whether they see it as /tmp; else TMPDIR says where it is.
        opt: The directory that is their /opt.
        address: What `sandbox.localdomain` resolves to for them; None where it does not.
        why_not: Why there is no namespace; empty where there is one.
    """

    def __init__(self, root: Path, opt: Path | None) -> None:
        self.tmp: Path = root / "tmp"
        self.opt = opt
        self.mounted: bool = False
        self.address: str | None = None
        self.why_not = ""
        self._root = root
        self._enter: list[str] = []

    @property
    def opt_path(self) -> str | None:
        """Where processes find the layers."""
        return None if self.opt is None else str(_OPT) if self.mounted else str(self.opt)

    @property
    def hidden_opt(self) -> Path | None:
        """The directory that processes see as /opt, where this process does not."""
        return self.opt if self.mounted else None

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` in here."""
        moved = [self._moved(word) for word in argv]
        return [*self._enter, *moved]

    def _moved(self, word: str) -> str:
        if self.opt is not None and self.mounted and Path(word).is_relative_to(self.opt):
            return str(_OPT / Path(word).relative_to(self.opt))
        return word

    def prepare(self, named: Iterable[Path]) -> list[tuple[str, str]]:
        """Return what is to be mounted where, in that order; what is named of the host's /tmp stays visible."""
        mounts: list[tuple[str, str]] = []
        # Into the new /tmp while the old one can still be seen; they go along when that is mounted.
        for name in sorted({path.relative_to(_TMP).parts[0] for path in named if _inside_tmp(path)}):
            source, target = _TMP / name, self.tmp / name
            if source.is_dir():
                target.mkdir()
            elif source.exists():
                target.touch()
            else:
                continue
            mounts.append((str(source), str(target)))
        hosts = self._root / "hosts"
        known = _HOSTS.read_text(encoding="utf-8", errors="replace") if _HOSTS.is_file() else ""
        hosts.write_text(f"{_SANDBOX} {' '.join(_NAMES)}\n{known}", encoding="utf-8")
        mounts.append((str(hosts), str(_HOSTS)))
        if self.opt is not None:
            mounts.append((str(self.opt), str(_OPT)))
        # Last of all: it hides where the others come from.
        mounts.append((str(self.tmp), str(_TMP)))
        return mounts

    def empty(self) -> None:
        """Take back what was prepared."""
        shutil.rmtree(self.tmp)
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)

    def enter(self, nsenter: str, pid: int, *, user: bool) -> None:
        """Put every process from now on into the namespaces that process `pid` holds."""
        self.mounted, self.address = True, _SANDBOX
        kept = ["--user", "--preserve-credentials"] if user else []
        self._enter = [nsenter, f"--target={pid}", "--mount", *kept, "--wd", "--"]


def _inside_tmp(path: Path) -> bool:
    return path.is_relative_to(_TMP) and path != _TMP


@asynccontextmanager
async def open_surroundings(
    commands: Sequence[tuple[Sequence[str], Mapping[str, str]]], *, opt: Path | None
) -> AsyncGenerator[Surroundings]:
    """Make the directory, and the namespaces if processes are to be run; both end with the block.

    Args:
        commands: Command lines and variables of the processes: what they name under /tmp stays visible to them.
        opt: What is to be seen as /opt.
    """
    with tempfile.TemporaryDirectory(prefix="lambda-", ignore_cleanup_errors=True) as directory:
        found = Surroundings(Path(directory), opt)
        found.tmp.mkdir()
        found.tmp.chmod(0o1777)
        if not commands:
            yield found
            return
        holder = await _hold(found, commands)
        if holder is None:
            with anyio.move_on_after(_RESOLVE_LIMIT):
                found.address = await anyio.to_thread.run_sync(_resolve, abandon_on_cancel=True)
        try:
            yield found
        finally:
            if holder is not None:
                await _end(holder)


async def _hold(
    found: Surroundings, commands: Sequence[tuple[Sequence[str], Mapping[str, str]]]
) -> anyio.abc.Process | None:
    """Start the process that holds the namespaces; None, and `why_not`, where that cannot be."""
    nsenter = shutil.which("nsenter")
    if sys.platform != "linux" or nsenter is None:
        found.why_not = "Linux namespaces need nsenter, of util-linux" if sys.platform == "linux" else "no Linux"
        return None
    user = os.geteuid() != 0
    order = {"user": user, "cwd": _cwd(), "mounts": found.prepare(_named(commands))}
    holder = await anyio.open_process(
        [sys.executable, "-I", "-S", str(_HOLDER), json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert holder.stdout is not None  # it is piped
    assert holder.stderr is not None
    found.why_not = f"no namespaces within {_PATIENCE:.0f} s"
    try:
        with anyio.move_on_after(_PATIENCE):
            try:
                await holder.stdout.receive()
                found.why_not = ""
            except anyio.EndOfStream:
                found.why_not = (await holder.stderr.receive()).decode(errors="replace").strip()
    finally:
        if found.why_not:
            await _end(holder)
    if found.why_not:
        found.empty()
        return None
    found.enter(nsenter, holder.pid, user=user)
    return holder


async def _end(holder: anyio.abc.Process) -> None:
    with anyio.move_on_after(_PATIENCE, shield=True):
        if holder.returncode is None:
            holder.kill()
        await holder.aclose()


def _cwd() -> str:
    return str(Path.cwd())


def _named(commands: Sequence[tuple[Sequence[str], Mapping[str, str]]]) -> set[Path]:
    """Return the paths of this Python and those that the commands name, with what their links lead to."""
    paths = {Path.cwd(), Path(sys.prefix), Path(sys.base_prefix), *(Path(entry) for entry in sys.path if entry)}
    for argv, variables in commands:
        paths |= named_paths(argv, variables)
    return paths | {path.resolve() for path in paths}


def _resolve() -> str | None:
    try:
        found = str(socket.getaddrinfo(_NAMES[0], None, socket.AF_INET)[0][4][0])
    except OSError:
        return None
    # A name server that answers to any name leads elsewhere: nothing is sent off this machine.
    return found if found.startswith("127.") else None
