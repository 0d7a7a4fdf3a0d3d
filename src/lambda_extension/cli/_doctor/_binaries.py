"""What compiled files were built for, from their first bytes and their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

_MACHINES: Final = {3: "i386", 40: "arm", 62: "x86_64", 183: "arm64", 243: "riscv64"}
_MACOS: Final = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_TAG: Final = re.compile(r"\.cpython-(\d)(\d+)[a-z]*-")
_SUFFIXES: Final = {".so", ".pyd", ".dylib"}


@attrs.define
class Compiled:
    """Compiled modules of a layer.

    Attributes:
        machines: Files by what they were built for.
        pythons: Files by the one version of Python that can import them.
        musl: Files that were built for Alpine's libc.
    """

    machines: Mapping[str, list[Path]]
    pythons: Mapping[str, list[Path]]
    musl: list[Path]


def machine_of(head: bytes) -> str | None:
    """Return the architecture of a native file for Linux, `macOS`, `Windows`, or None for no native file."""
    if head.startswith(b"\x7fELF"):
        number = int.from_bytes(head[18:20], "little")
        return _MACHINES.get(number, f"machine {number}")
    if head.startswith(_MACOS):
        return "macOS"
    return "Windows" if head.startswith(b"MZ") else None


def compiled_in(root: Path) -> Compiled:
    """Look at every compiled module of a layer, at its interpreters, and at what Lambda starts; or at one file."""
    machines: dict[str, list[Path]] = defaultdict(list)
    pythons: dict[str, list[Path]] = defaultdict(list)
    musl: list[Path] = []
    for path in [root] if root.is_file() else _modules(root):
        with path.open("rb") as file:
            machine = machine_of(file.read(20))
        if machine is None:
            continue
        name = path.relative_to(root)
        machines[machine].append(name)
        tag = _TAG.search(path.name)
        if tag:
            pythons[f"{tag[1]}.{tag[2]}"].append(name)
        if "-musl" in path.name:
            musl.append(name)
    return Compiled(machines=machines, pythons=pythons, musl=musl)


def _modules(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        interpreter = path.parent.name == "bin" and path.name.startswith("python")
        started = path.parent == root / "extensions"
        compiled = started or interpreter or path.suffix in _SUFFIXES or ".so." in path.name
        if compiled and path.is_file() and not path.is_symlink():
            yield path
