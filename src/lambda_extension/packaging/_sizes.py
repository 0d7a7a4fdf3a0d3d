"""What a layer weighs, package by package, against Lambda's limits."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

import attrs

# AWS's developer guide, "Lambda quotas": of a direct upload, and of a function with all of its layers.
MOST_ZIPPED: Final = 50 * 1024 * 1024
MOST_UNZIPPED: Final = 250 * 1024 * 1024

# What is no distribution.
OWN: Final = "the extension itself"
INTERPRETER: Final = "the interpreter"


@attrs.frozen
class Size:
    """What one package takes.

    Attributes:
        name: The distribution, or what else it is.
        files: Number of files.
        unzipped: Bytes.
        zipped: Bytes once compressed; the zip file's own directory comes on top.
        modules: The top-level modules that it brings.
    """

    name: str
    files: int
    unzipped: int
    zipped: int
    modules: frozenset[str] = frozenset()


def sizes(root: Path, name: str, owners: Mapping[str, str]) -> list[Size]:
    """Measure the files of an extension in a layer, the heaviest package first.

    Args:
        root: The layer's folder.
        name: The extension.
        owners: The package of each file, by its path from the root; what none owns is the extension's own.
    """
    found: defaultdict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    modules: defaultdict[str, set[str]] = defaultdict(set)
    inside = sorted(path for path in (root / name).rglob("*") if path.is_file())
    for path in (root / "extensions" / name, *inside):
        source = path.with_suffix(".py") if path.suffix == ".pyc" else path
        if source.parent.name == "__pycache__":
            source = source.parent.parent / f"{path.name.partition('.')[0]}.py"
        content = path.read_bytes()
        owner = owners.get(source.relative_to(root).as_posix(), OWN)
        files, unzipped, zipped = found[owner]
        found[owner] = (files + 1, unzipped + len(content), zipped + len(zlib.compress(content, 9)))
        if source.suffix in {".py", ".so"} and owner not in {OWN, INTERPRETER}:
            modules[owner].add(source.relative_to(root).parts[1].partition(".")[0])
    rows = [Size(name, *sums, frozenset(modules[name])) for name, sums in found.items()]
    return sorted(rows, key=lambda size: (-size.unzipped, size.name))


def owners_of(installed: Mapping[str, Distribution], folder: str) -> dict[str, str]:
    """Return the distribution of each file that was installed into a folder of the layer."""
    return {
        f"{folder}/{file.as_posix()}": name
        for name, distribution in installed.items()
        for file in distribution.files or []
    }


def too_heavy(zipped: int, unzipped: int) -> list[str]:
    """Return what Lambda will refuse, or may refuse, in sentences; empty where everything fits."""
    found = []
    if unzipped > MOST_UNZIPPED:
        found.append(f"unzipped it is {unzipped:,} bytes: a function with all of its layers may have {MOST_UNZIPPED:,}")
    if zipped > MOST_ZIPPED:
        found.append(f"the zip file has {zipped:,} bytes: more than {MOST_ZIPPED:,} can only be uploaded through S3")
    return found
