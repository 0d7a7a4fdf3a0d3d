"""Why a file cannot be started: what Linux would say, and what its words mean."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

_MACHINES: Final = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_ALIASES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
# What Linux reads of a file to find out how to run it.
_HEAD: Final = 256


@attrs.frozen(kw_only=True)
class Obstacle:
    """Why a file cannot be started.

    Attributes:
        message: What is the matter, one sentence.
        fix: What to do about it.
        permission: Whether it is the permissions.
        certain: Whether it was seen in the file; else the kernel may have means that cannot be seen, such as an
            emulator for other architectures.
    """

    message: str
    fix: str
    permission: bool = False
    certain: bool = True


@attrs.frozen
class _View:
    """The files as a participant sees them: its search path, and its /opt."""

    search: str
    opt: Path | None

    def path(self, name: str) -> Path:
        """Return where a file is for this process."""
        path = Path(name)
        if self.opt is not None and path.is_relative_to("/opt"):
            return self.opt / path.relative_to("/opt")
        return path

    def which(self, name: str) -> str | None:
        """Return where a program is for this process."""
        places = (str(self.path(place)) for place in self.search.split(os.pathsep))
        return shutil.which(name, path=os.pathsep.join(places))


def obstacle(argv: Sequence[str], environment: Mapping[str, str], *, opt: Path | None = None) -> Obstacle | None:
    """Say what keeps a command from being started; None where nothing is to be seen.

    Args:
        argv: The command line.
        environment: Its variables.
        opt: What it will see as /opt, where this process does not.
    """
    view = _View(environment.get("PATH", os.defpath), opt)
    name = argv[0]
    path = view.path(name) if os.sep in name else Path(view.which(name) or name)
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        return Obstacle(message=f"{name} {what}.", fix="Name the file that Lambda is to start.")
    if not os.access(path, os.X_OK):
        fix = f"Make it executable: chmod 755 {path.name}."
        return Obstacle(message=f"{name} is not executable.", fix=fix, permission=True)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except PermissionError:  # pragma: no cover - root may read everything
        return None  # and others may run what they may not read
    if head.startswith(b"\x7fELF"):
        return _foreign(name, head)
    if head.startswith(b"#!"):
        if b"\n" not in head and len(head) == _HEAD:
            return Obstacle(message=f"The #! line of {name} is longer than Linux reads.", fix="Shorten it.")
        return _interpreter(name, head[2:].partition(b"\n")[0], view)
    if sys.platform == "darwin" and head[:4] in {b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"}:  # pragma: no cover - macOS
        return None
    if not head:
        return Obstacle(message=f"{name} is empty.", fix="Build or copy it again.")
    mark = " A byte order mark stands before its #!." if head.startswith(b"\xef\xbb\xbf#!") else ""
    return Obstacle(
        message=f"{name} is neither a native binary of this system nor a script whose first two bytes are #!.{mark}",
        fix="Begin it with a #! line that names its interpreter, such as #!/usr/bin/env python3.",
    )


def _foreign(name: str, head: bytes) -> Obstacle | None:
    (machine,) = struct.unpack_from("<H", head.ljust(20, b"\0"), 18)
    built_for, own = _MACHINES.get(machine, f"machine {machine}"), platform.machine().lower()
    own = _ALIASES.get(own, own)
    if built_for == own:
        return None
    return Obstacle(
        message=f"{name} is built for {built_for}, and this machine is {own}.",
        fix=f"Build it for {own}, or run the simulator on a machine of the function's architecture.",
        certain=False,
    )


def _interpreter(name: str, line: bytes, view: _View) -> Obstacle | None:
    if line.endswith(b"\r"):
        return Obstacle(
            message=f"The #! line of {name} ends with CR LF, so that its interpreter is not found.",
            fix="Save the file with LF line ends.",
        )
    words = line.decode(errors="replace").split()
    if not words:
        return Obstacle(message=f"The #! line of {name} names no interpreter.", fix="Name one: #!/usr/bin/env python3.")
    wanted = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if Path(words[0]).name == "env" and wanted and view.path(words[0]).exists():
        if view.which(wanted[0]) is None:
            return Obstacle(
                message=f"{name} wants {wanted[0]}, which is not on its search path.",
                fix=f"Provide {wanted[0]} where PATH leads, in the function's image too.",
            )
        return None
    if not view.path(words[0]).exists():
        return Obstacle(
            message=f"The interpreter of {name}, {words[0]}, does not exist.",
            fix="Name one that the function's image has, such as #!/usr/bin/env python3.",
        )
    return None


def named_paths(argv: Sequence[str], environment: Mapping[str, str]) -> set[Path]:
    """Return the absolute paths that a command line, its script's #! line and its variables name."""
    found = {word for word in argv if word.startswith("/")}
    for text in environment.values():
        found |= {part for part in text.split(os.pathsep) if part.startswith("/")}
    if argv and argv[0].startswith("/"):
        try:
            with Path(argv[0]).open("rb") as file:
                line = file.readline(_HEAD)
        except OSError:
            line = b""
        if line.startswith(b"#!"):
            found |= {word for word in line[2:].decode(errors="replace").split() if word.startswith("/")}
    return {Path(text) for text in found}
