"""Checks of the one file that Lambda starts: it is only read."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambda_extension.cli._doctor._binaries import machine_of
from lambda_extension.cli._doctor._check import Check, Verdict

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PYTHON: Final = re.compile(r"python(\d\.\d+)$")
# What runs a file of this kind, where it does not say so itself.
_PROGRAMS: Final = {".js": "node", ".mjs": "node", ".cjs": "node", ".sh": "bash", ".rb": "ruby"}
# Linux reads that much of the first line.
_HEAD: Final = 255


def check_file(path: Path, root: Path | None = None) -> Iterator[Check]:
    """Check name, permissions and first line; `root` is the layer that the file lies in."""
    yield _name(path)
    if path.is_symlink() and not path.exists():
        yield Check("executable", "fail", f"it is a link to {path.readlink()}, which is not there", path.name)
        return
    yield _executable(path)
    yield _start(path, root)


def can_start(path: Path) -> bool:
    """Tell whether there is something to start, be it that starting it fails."""
    if not path.exists():
        return False
    state = path.stat()
    return state.st_size > 0 and (path.suffix == ".py" or bool(state.st_mode & stat.S_IXUSR))


def _name(path: Path) -> Check:
    if not _NAME.fullmatch(path.name):
        reason = f"{path.name!r} has other characters than ASCII letters, digits, '-', '_' and '.', and may be refused"
        return Check("name", "fail", f"{reason}: rename the file", path.name)
    return Check("name", "pass", f"{path.name}; it must register under this, suffix included", path.name)


def _executable(path: Path) -> Check:
    mode = path.stat().st_mode
    if mode & 0o005 == 0o005 and mode & stat.S_IXUSR:
        return Check("executable", "pass", f"mode {mode & 0o777:o}", path.name)
    reason = f"mode {mode & 0o777:o}: Lambda runs it as another user, and needs 755 (chmod 755 {path.name})"
    return Check("executable", "fail", reason, path.name)


def _start(path: Path, root: Path | None) -> Check:
    """Check the first bytes: a native binary, or a line that names an interpreter."""
    with path.open("rb") as file:
        head = file.read(_HEAD + 1)
    machine = machine_of(head)
    if machine is not None:
        verdict: Verdict = "fail" if machine in {"macOS", "Windows"} else "pass"
        more = ": Lambda runs Linux, so build it for that" if verdict == "fail" else "; the function's must be the same"
        return Check("shebang", verdict, f"a native binary for {machine}{more}", path.name)
    line, newline, _ = head.partition(b"\n")
    problem = None
    if line.startswith(b"\xef\xbb\xbf#!"):
        problem = "a byte order mark stands before it: the first two bytes must be #!; save the file without one"
    elif not head:
        problem = "the file is empty: build or copy it again"
    elif not line.startswith(b"#!"):
        program = _PROGRAMS.get(path.suffix, "python3")
        problem = f"the file has none: the first two bytes must be #!, as in #!/usr/bin/env {program}"
    elif line.endswith(b"\r"):
        problem = "its line ends with CR LF, so that the interpreter is not found: save the file with LF"
    elif not newline and len(head) > _HEAD:
        problem = "its line is longer than Linux reads"
    if problem is not None:
        return Check("shebang", "fail", problem, path.name)
    verdict, reason = _interpreter(line[2:].decode(errors="replace").split(), root)
    return Check("shebang", verdict, reason, path.name)


def _interpreter(words: list[str], root: Path | None) -> tuple[Verdict, str]:
    if not words:
        return "fail", "it names no interpreter: #!/usr/bin/env python3 does"
    program = words[0]
    wanted = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if Path(program).name == "env" and wanted:
        found = shutil.which(wanted[0])
        if found is None:
            return "fail", f"{wanted[0]} is not on the search path"
        return "pass", f"{wanted[0]}, here {found}; the function's image needs it too"
    if program.startswith("/var/lang/"):
        return "pass", f"{program}, of Lambda's image"
    if root is not None and program.startswith("/opt/"):
        own = root / program.removeprefix("/opt/")
        if not own.is_file():
            return "fail", f"{program} is not in the layer, and is there only if another one has it: put it in"
        if not own.stat().st_mode & stat.S_IXUSR:
            return "fail", f"{program} is in the layer, and cannot be executed: it needs mode 755"
        return "pass", f"{program}, of the layer itself"
    if not Path(program).exists():
        return "fail", f"{program} does not exist here, and is no part of Lambda's images"
    if program.startswith(("/usr/", "/bin/", "/opt/")):
        return "pass", f"{program}; the function's image needs it too"
    return "warn", f"{program} exists here, but hardly on Lambda: use /usr/bin/env"


def named_python(path: Path) -> str | None:
    """Return the version of Python that a script's first line names, such as `3.13`."""
    if not path.exists():  # a link that leads nowhere
        return None
    with path.open("rb") as file:
        line = file.readline(_HEAD).decode(errors="replace")
    if not line.startswith("#!"):
        return None
    found = [match[1] for word in line[2:].split() if (match := _PYTHON.search(word))]
    return found[0] if found else None
