"""Starts AWS's own emulator, `aws-lambda-rie`, with its fixed paths kept away from the machine.

The emulator runs as the first process of mount and process-id namespaces of its own: /opt/extensions, /var/task and
/var/runtime exist only there, and nothing that it started outlives it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

import anyio
import httpx

from waiting import eventually, listens, obtained

__all__ = ["OUTPUT", "Emulator", "extract_binary", "find_binary", "missing_requirement"]

OUTPUT: Final = Path("/var/out")
"""Where participants may leave files for a test; `Emulator.output` on the outside."""

_INVOKE: Final = "/2015-03-31/functions/function/invocations"
_ARCHITECTURES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_NO_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_SOURCE: Final = Path(__file__).resolve().parents[2] / "src"


def extract_binary(wheel: Path, into: Path) -> Path:
    """Take the emulator for this machine out of aws-sam-cli's wheel."""
    member = f"samcli/local/rapid/aws-lambda-rie-{_ARCHITECTURES[platform.machine().lower()]}"
    binary = into / "aws-lambda-rie"
    with zipfile.ZipFile(wheel) as archive:
        binary.write_bytes(archive.read(member))
    binary.chmod(0o755)
    return binary


def find_binary(into: Path) -> Path | None:
    """Return the emulator that LAMBDA_RIE names, or the one out of the wheel that LAMBDA_RIE_WHEEL names."""
    if binary := os.environ.get("LAMBDA_RIE"):
        return Path(binary)
    if wheel := os.environ.get("LAMBDA_RIE_WHEEL"):
        return extract_binary(Path(wheel), into)
    return None


def missing_requirement() -> str | None:
    """Say what this machine lacks for the emulator."""
    if sys.platform != "linux":
        return "AWS's emulator runs on Linux only"
    if os.geteuid() != 0:
        return "AWS's emulator needs root: it changes user, and its paths are mounted"
    if not (os.environ.get("LAMBDA_RIE") or os.environ.get("LAMBDA_RIE_WHEEL")):
        return "neither LAMBDA_RIE nor LAMBDA_RIE_WHEEL says where AWS's emulator is"
    probe = subprocess.run([*_UNSHARE, "mount", "-t", "tmpfs", "probe", "/mnt"], capture_output=True, timeout=20)
    if probe.returncode:
        return f"no private mounts here: {probe.stderr.decode().strip()}"
    return None


_UNSHARE: Final = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


@final
class Emulator:
    """One run of the emulator; entering starts it, leaving kills it and all that it started.

    Args:
        binary: Path of aws-lambda-rie.
        root: Directory for its files.
        managed: Managed Instances mode in place of the standard one.
        extensions: Executables of /opt/extensions, text or a file by name.
        bootstrap: Text of the executable that is the runtime, or a file.
        task: Files of /var/task, text by name.
        handler: Handler string.
        timeout: Function time-out in seconds.
        concurrency: Invocations at once, in Managed Instances mode.
        environment: The function's configured variables.
        layer: A folder that becomes /opt; `extensions` is empty then.
        interpreters: Where Lambda's image has interpreters, and what stands for them here.
    """

    def __init__(
        self,
        binary: Path,
        root: Path,
        *,
        managed: bool = False,
        extensions: Mapping[str, str | Path] | None = None,
        bootstrap: str | Path,
        task: Mapping[str, str] | None = None,
        handler: str = "function.handler",
        timeout: int = 5,
        concurrency: int = 4,
        environment: Mapping[str, str] | None = None,
        layer: Path | None = None,
        interpreters: Mapping[str, str] | None = None,
    ) -> None:
        self._layer, self._interpreters = layer, dict(interpreters or {})
        self.managed = managed
        self.output = root / "out"
        self._binary, self._root, self._handler = binary, root, handler
        files: dict[str, dict[str, str | Path]] = {
            "extensions": dict(extensions or {}),
            "runtime": {"bootstrap": bootstrap},
            "task": dict(task or {}),
            "out": {},
        }
        for directory, content in files.items():
            (root / directory).mkdir(parents=True)
            for name, text in content.items():
                (root / directory / name).parent.mkdir(parents=True, exist_ok=True)
                data = text.read_bytes() if isinstance(text, Path) else text.encode()
                (root / directory / name).write_bytes(data)
                (root / directory / name).chmod(0o755)
        self.output.chmod(0o777)
        self._api, self._front = _free_ports(2)
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": "test",
            "AWS_REGION": "eu-west-1",
            **(environment or {}),
        }
        if managed:
            self._environment["AWS_LAMBDA_MAX_CONCURRENCY"] = str(concurrency)
        self._process: anyio.abc.Process | None = None

    @property
    def log(self) -> str:
        """What the emulator and, in its standard mode, the function and the extensions printed so far."""
        return (self._root / "log").read_text(errors="replace")

    async def __aenter__(self) -> Emulator:
        # Made before anything runs: it keeps the event loop from telemetry for a while.
        self._client = httpx.AsyncClient(trust_env=False, verify=False, limits=_NO_LIMITS)
        script = self._root / "start.sh"
        script.write_text(self._script())
        try:
            with (self._root / "log").open("wb") as log:
                self._process = await anyio.open_process(
                    [*_UNSHARE, "sh", str(script)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    cwd="/",
                    start_new_session=True,
                )
            await self._listening()
        except BaseException:
            await self._kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kill()

    async def invoke(
        self, payload: Any = None, *, headers: Mapping[str, str] | None = None, within: float = 30.0
    ) -> httpx.Response:
        """Invoke the function and wait for the answer, `within` seconds at most.

        In Managed Instances mode an invocation is refused while no worker of the runtime waits for one: it is repeated
        until one does, as Lambda's front end would.
        """
        url = f"http://127.0.0.1:{self._front}{_INVOKE}"

        async def attempt() -> httpx.Response | None:
            answer = await self._client.post(url, content=json.dumps(payload), headers=headers, timeout=within)
            return None if self.managed and b"Runtime.Unavailable" in answer.content else answer

        return await obtained(attempt, within=within)

    def terminate(self) -> None:
        """Ask the emulator to end the environment."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._inner_pid(), signal.SIGTERM)

    async def wait(self, *, within: float = 10.0) -> int:
        """Wait until the emulator has ended; return its exit code."""
        assert self._process is not None
        with anyio.fail_after(within):
            return await self._process.wait()

    @property
    def ended(self) -> bool:
        """Whether the emulator has ended by itself."""
        return self._process is not None and self._process.returncode is not None

    async def _kill(self) -> None:
        with anyio.CancelScope(shield=True), anyio.fail_after(10):
            await self._client.aclose()
            if self._process is None:
                return
            with contextlib.suppress(ProcessLookupError):
                # --kill-child ends the namespace's first process, and the kernel then everything in it.
                os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            await self._process.aclose()

    async def _listening(self) -> None:
        await eventually(lambda: self.ended or listens(self._front), within=10)
        if self.ended:
            message = f"the emulator did not start:\n{self.log}"
            raise RuntimeError(message)

    def _inner_pid(self) -> int:
        assert self._process is not None
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    stat = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(stat[1]) == self._process.pid:
                        return int(entry.name)
        raise ProcessLookupError

    def _script(self) -> str:
        """Return the commands that mount what the emulator sees, and then become it."""
        kept = _needed_paths(*self._interpreters.values())
        hidden = {Path("/opt"), Path("/var"), *(closed for path in kept if (closed := _closed_ancestor(path)))}
        given = {Path("/opt/extensions"): "extensions", Path("/var/task"): "task"}
        given |= {Path("/var/runtime"): "runtime", OUTPUT: "out"}
        mounts = {target: self._root / name for target, name in given.items()}
        if self._layer is not None:
            mounts = {target: source for target, source in mounts.items() if target != Path("/opt/extensions")}
            mounts[Path("/opt")] = self._layer
        mounts |= {path: path for path in kept if any(path.is_relative_to(parent) for parent in hidden)}
        mounts[Path("/mnt/rie")] = self._binary
        # Staged first, since what is to be mounted may itself lie in a directory that gets hidden.
        lines = ["set -eu", "mount -t tmpfs -o mode=755 stage /mnt", "mkdir /mnt/stage", "touch /mnt/rie"]
        for number, source in enumerate(mounts.values()):
            stage = f"/mnt/stage/{number}"
            lines.append(f"touch {stage}" if source.is_file() else f"mkdir {stage}")
            lines.append(f"mount --bind {shlex.quote(str(source))} {stage}")
        lines += [f"mount -t tmpfs -o mode=755 hidden {shlex.quote(str(path))}" for path in sorted(hidden)]
        for number, target in enumerate(mounts):
            quoted = shlex.quote(str(target))
            if target != Path("/mnt/rie"):
                lines.append(f"mkdir -p {quoted}")
            lines.append(f"mount --bind /mnt/stage/{number} {quoted}")
        addresses = f"--runtime-api-address 127.0.0.1:{self._api}"
        addresses += f" --runtime-interface-emulator-address 127.0.0.1:{self._front}"
        for name, path in self._interpreters.items():
            lines.append(
                f"mkdir -p {shlex.quote(str(Path(name).parent))}; ln -s {shlex.quote(path)} {shlex.quote(name)}"
            )
        lines += ["mkdir -m 1777 /var/tmp", "cd /var/task"]
        lines.append(f"exec /mnt/rie {addresses} --log-level debug /var/runtime/bootstrap {shlex.quote(self._handler)}")
        return "\n".join(lines) + "\n"


def _needed_paths(*interpreters: str) -> set[Path]:
    """Return what a participant must be able to read: this Python and others, its packages, the library."""
    executables = {Path(sys.executable), *map(Path, interpreters)}
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), *(path.resolve().parent.parent for path in executables)}
    return {*prefixes, *(path.resolve() for path in prefixes), _SOURCE}


def _closed_ancestor(path: Path) -> Path | None:
    """Return the topmost directory on the way to `path` that other users may not pass."""
    ways = [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
    return ways[0] if ways else None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
