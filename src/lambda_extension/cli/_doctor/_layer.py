"""Checks of a layer as a whole: it is only read."""

from __future__ import annotations

import os
import platform
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lambda_extension.cli._doctor._binaries import Compiled
from lambda_extension.cli._doctor._check import Check
from lambda_extension.cli._doctor._file import named_python
from lambda_extension.cli._layers import extension_files

_MOST_UNZIPPED: Final = 250 * 1024 * 1024
_MOST_UPLOADED: Final = 50 * 1024 * 1024
_MB: Final = 1024 * 1024
# Compiling less than that takes milliseconds.
_MUCH_SOURCE: Final = 64 * 1024
# What nobody writes an extension in, and what build tools and desktops leave behind.
_NO_EXTENSION: Final = {".cfg", ".ini", ".json", ".md", ".pyc", ".rst", ".so", ".toml", ".txt", ".yaml", ".yml"}
_ALIASES: Final = {"aarch64": "arm64", "amd64": "x86_64"}


def check_layer(layer: Path, root: Path, compiled: Compiled) -> Iterator[Check]:
    """Check a layer, a folder or zip file, that has been laid out in `root`, with these compiled modules."""
    yield _layout(root)
    yield _strays(root)
    yield _size(layer, root)
    yield _links(root)
    if layer.is_file():
        yield _twice(layer)
    yield _architecture(compiled)
    yield _python(compiled, root)
    yield _bytecode(compiled, root)


def foreign_machine(compiled: Compiled) -> str | None:
    """Return what compiled modules were built for, where that is not this machine; None where they run here."""
    return None if not compiled.machines or _here() in compiled.machines else next(iter(compiled.machines))


def _here() -> str:
    machine = platform.machine().lower()
    return _ALIASES.get(machine, machine)


# -- where things lie


def _layout(root: Path) -> Check:
    name = "layout"
    files = extension_files(root)
    if files:
        return Check(name, "pass", f"extensions/ has {', '.join(path.name for path in files)}")
    nested = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file() and "extensions" in path.parts)
    inside = [path for path in nested if path.parts[0] == "extensions"]
    if inside:
        reason = f"{inside[0]} lies one level too deep: Lambda starts only the files directly in extensions/"
        return Check(name, "fail", f"{reason}; move it up, and its other files out of extensions/")
    outside = [path for path in nested if "extensions" in path.parts[1:-1]]
    if outside:
        folder = outside[0].parts[0]
        reason = f"extensions/ lies in {folder}/, so that it would be /opt/{folder}/extensions"
        return Check(name, "fail", f"{reason}: zip what is in {folder}/, not {folder}/ itself")
    executable = sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK)
    )
    found = f"; executable are {', '.join(executable[:5])}" if executable else ""
    return Check(name, "fail", f"there is no extensions/ with a file in it, and Lambda starts nothing else{found}")


def _strays(root: Path) -> Check:
    name = "nothing else in extensions/"
    strays = [path.name for path in extension_files(root) if path.suffix in _NO_EXTENSION or path.name[0] == "."]
    if strays:
        reason = f"Lambda starts every file there, {', '.join(strays)} too, and init fails: put them elsewhere"
        return Check(name, "fail", reason)
    return Check(name, "pass", "every file there is started")


def _size(layer: Path, root: Path) -> Check:
    unzipped = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    zipped = layer.stat().st_size if layer.is_file() else 0
    said = f"{unzipped / _MB:.1f} MB" + (f", zipped {zipped / _MB:.1f} MB" if zipped else "")
    if unzipped > _MOST_UNZIPPED:
        reason = f"{said}: function and layers together may have 250 MB; leave out what is not imported"
        return Check("size", "fail", reason)
    if zipped > _MOST_UPLOADED:
        return Check("size", "warn", f"{said}: more than 50 MB must be uploaded by way of S3")
    return Check("size", "pass", f"{said}; function and layers together may have 250 MB")


def _links(root: Path) -> Check:
    broken = []
    for path in sorted(root.rglob("*")):
        if not path.is_symlink():
            continue
        target = path.readlink()
        # What names /opt is right on Lambda, and lies here.
        there = root / target.relative_to("/opt") if target.is_relative_to("/opt") else path.parent / target
        if not there.exists() or not there.resolve().is_relative_to(root.resolve()):
            broken.append(f"{path.relative_to(root)} to {target}")
    if broken:
        reason = f"{', '.join(broken[:5])} will not be there on Lambda: put the files themselves in the layer"
        return Check("links", "fail", reason)
    return Check("links", "pass", "every symbolic link leads to something in the layer")


def _twice(layer: Path) -> Check:
    with zipfile.ZipFile(layer) as archive:
        counted = Counter(entry.filename for entry in archive.infolist() if not entry.is_dir())
    twice = [name for name, times in counted.items() if times > 1]
    if twice:
        reason = f"{', '.join(twice[:5])} is in the zip file more than once, and only one of them will be there"
        return Check("one file of a name", "fail", f"{reason}: write the zip file anew")
    return Check("one file of a name", "pass", f"{len(counted)} files")


# -- compiled modules


def _architecture(compiled: Compiled) -> Check:
    name = "architecture of compiled modules"
    machines = compiled.machines
    here = _here()
    wrong = [kind for kind in ("macOS", "Windows") if kind in machines]
    if wrong:
        example = machines[wrong[0]][0]
        reason = f"{example} is for {wrong[0]}, and Lambda runs Linux: install with --platform manylinux2014_x86_64"
        return Check(name, "fail", f"{reason} or manylinux2014_aarch64, and --only-binary=:all:")
    if compiled.musl:
        reason = f"{compiled.musl[0]} is for Alpine's libc, and Lambda has glibc: install manylinux wheels"
        return Check(name, "fail", reason)
    if len(machines) > 1:
        reason = " and ".join(f"{paths[0]} is for {machine}" for machine, paths in sorted(machines.items()))
        return Check(name, "fail", f"{reason}: a function has one architecture; make one layer for each")
    if (other := foreign_machine(compiled)) is not None:
        reason = f"{other}, and this machine is {here}: right for functions of {other}, and not to be run here"
        return Check(name, "warn", reason)
    if machines:
        return Check(name, "pass", f"{here}; the function's must be the same")
    return Check(name, "pass", "there are none, so that it runs on either architecture")


def _python(compiled: Compiled, root: Path) -> Check:
    """Compare what compiled modules and folders are for with what launchers name, or else with this Python."""
    name = "Python of compiled modules"
    wanted: dict[str, str] = {version: str(paths[0]) for version, paths in compiled.pythons.items()}
    for home in homes_of_packages(root):
        for part in home.relative_to(root).parts:
            if part.startswith("python3."):
                wanted.setdefault(part.removeprefix("python"), str(home.relative_to(root)))
    if not wanted:
        return Check(name, "pass", "none needs a certain version")
    if len(wanted) > 1:
        reason = " and ".join(f"{example} is for {version}" for version, example in sorted(wanted.items()))
        return Check(name, "fail", f"{reason}: one of them cannot be imported; install all for one version")
    (version, example), *_ = wanted.items()
    named = {found for path in extension_files(root) if (found := named_python(path)) is not None}
    if named - {version}:
        reason = f"{example} is for {version}, and the first line of the extension names {', '.join(sorted(named))}"
        return Check(name, "fail", f"{reason}: install with --python-version of the function's runtime")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not named and version != here:
        reason = f"{example} is for {version}, and this is {here}: right where the function's runtime is {version}"
        return Check(name, "warn", reason)
    return Check(name, "pass", f"{version}; the function's runtime must be the same")


def _bytecode(compiled: Compiled, root: Path) -> Check:
    """Look for sources that every start compiles anew, since /opt cannot be written to."""
    name = "bytecode"
    named = {found for path in extension_files(root) if (found := named_python(path)) is not None}
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = min(named | set(compiled.pythons), default=here)
    lacking: list[Path] = []
    others: set[str] = set()
    for path in root.rglob("*.py"):
        tags = {found.suffixes[-2] for found in (path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc")}
        if f".cpython-{version.replace('.', '')}" not in tags:
            lacking.append(path)
            others |= {f"{tag[9]}.{tag[10:]}" for tag in tags}
    if sum(path.stat().st_size for path in lacking) < _MUCH_SOURCE:
        return Check(name, "pass", f"next to nothing is to be compiled at each start by Python {version}")
    instead = f", but some of {', '.join(sorted(others))}" if others else ""
    reason = f"{len(lacking)} modules have none of Python {version}{instead}, so that each cold start compiles them"
    how = f"python{version} -m compileall -q --invalidation-mode unchecked-hash FOLDER"
    return Check(name, "warn", f"{reason}, since /opt cannot be written to: run {how} before it is zipped")


# -- packages


def homes_of_packages(root: Path) -> Sequence[Path]:
    """Return the folders that packages were installed into."""
    return sorted({path.parent for path in root.rglob("*.dist-info") if path.is_dir()})


def where_is(module: str, root: Path) -> Path | None:
    """Return the folder of the layer that a search path needs for a module to be found; None if it is nowhere."""
    top = module.partition(".")[0]
    found = [*root.rglob(f"{top}/__init__.py"), *root.rglob(f"{top}.py"), *root.rglob(f"{top}.*.so")]
    homes = sorted((path.parent.parent if path.name == "__init__.py" else path.parent for path in found), key=_depth)
    return homes[0].relative_to(root) if homes else None


def _depth(path: Path) -> int:
    return len(path.parts)
