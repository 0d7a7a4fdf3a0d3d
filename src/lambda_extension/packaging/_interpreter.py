"""An interpreter inside the layer, for functions whose image has none: stripped to what the extension imports."""

from __future__ import annotations

import ast
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._target import Target

# What the interpreter imports by itself, at its start and where it is asked for by name: codecs, tracebacks.
_ALWAYS: Final = frozenset(
    {"codecs", "encodings", "io", "linecache", "os", "site", "traceback", "warnings", "zipimport"}
)
# What is for developers at a terminal, though modules that are needed may import it inside a function.
_NEVER: Final = frozenset(
    {"doctest", "ensurepip", "idlelib", "lib2to3", "pdb", "pydoc", "pydoc_data", "test", "tkinter", "turtle", "venv"}
)
# As the head of a program names processors.
_ELF_MACHINES: Final = {"x86_64": 62, "arm64": 183}


def prefix_of(source: Path, target: Target, scratch: Path) -> Path:
    """Return the folder that a relocatable CPython lies in (the layout of python-build-standalone), unpacked; blocks.

    Args:
        source: Its folder, or its `.tar.gz`, with `bin/python3.x` and `lib/python3.x`, at the top or in one folder.
        target: Which version it is.
        scratch: A folder for what is needed only meanwhile.

    Raises:
        PackagingError: There is no such interpreter in it, or it is for another system or processor.
    """
    prefix = _prefix(_unpacked(source, scratch), target)
    with (prefix / "bin" / f"python{target.python}").open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF" or int.from_bytes(head[18:], "little") != _ELF_MACHINES[target.arch]:
        msg = f"the interpreter of {source} is not for Linux on {target.arch}: take one for {target.machine}-linux-gnu"
        raise PackagingError(msg)
    return prefix


def bundle(prefix: Path, home: Path, target: Target) -> Path:
    """Copy a CPython into a layer.

    Of the standard library go along the modules that the extension and its dependencies import, and what those import;
    what an extension imports by a name that it makes at run time has to be imported somewhere too.

    Args:
        prefix: Its folder, of `prefix_of`.
        home: The extension's folder in the layer, with everything that it brings.
        target: Which version it is.

    Returns:
        The interpreter.
    """
    name = f"python{target.python}"
    library = prefix / "lib" / name
    wanted = _needed(library, home)
    bundled = home / "python"
    (bundled / "bin").mkdir(parents=True)
    # Links are followed: a layer has none, and the extension's file names this one.
    shutil.copy2(prefix / "bin" / name, bundled / "bin" / name)
    for shared in sorted((prefix / "lib").glob(f"libpython{target.python}*.so.*")):
        (bundled / "lib").mkdir(exist_ok=True)
        shutil.copy2(shared, bundled / "lib" / shared.name)
    for path in sorted(library.iterdir()):
        if path.name == "lib-dynload":
            _copy(sorted(path.glob("*.so")), bundled / "lib" / name / path.name, wanted)
        else:
            _copy([path], bundled / "lib" / name, wanted)
    return bundled / "bin" / name


def _unpacked(source: Path, scratch: Path) -> Path:
    if source.is_dir():
        return source
    folder = scratch / "interpreter"
    try:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="tar")  # which lets nothing out of the folder
    except (tarfile.TarError, OSError) as error:
        msg = f"{source} cannot be unpacked: {error}\nOf python-build-standalone, take what ends in install_only.tar.gz"
        raise PackagingError(msg) from error
    return folder


def _prefix(folder: Path, target: Target) -> Path:
    for prefix in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        name = f"python{target.python}"
        if (prefix / "bin" / name).exists() and (prefix / "lib" / name / "os.py").exists():
            return prefix
    msg = f"{folder} has no bin/python{target.python} with its lib/python{target.python}: is it another version?"
    raise PackagingError(msg)


def _copy(paths: Iterable[Path], into: Path, wanted: set[str]) -> None:
    for path in paths:
        if path.name.partition(".")[0] not in wanted:
            continue
        into.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, into / path.name, ignore=shutil.ignore_patterns("__pycache__", "test", "tests"))
        else:
            shutil.copy2(path, into / path.name)


def _needed(library: Path, home: Path) -> set[str]:
    """Return the top-level modules of the standard library that can be reached from what is in the layer."""
    found: set[str] = set()
    waiting = set(_ALWAYS)
    for path in home.rglob("*.py"):
        waiting |= _imports(path)
    while waiting:
        name = waiting.pop()
        if name in _NEVER:
            continue
        found.add(name)
        package = library / name
        files = sorted(package.rglob("*.py")) if package.is_dir() else [library / f"{name}.py"]
        for path in files:
            if path.exists() and not {"test", "tests"} & set(path.relative_to(library).parts):
                waiting |= _imports(path) - found
    return found


def _imports(path: Path) -> set[str]:
    """Return the top-level names that a module imports, wherever in it; none of one that this Python cannot read."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    return imported_names(tree)


def imported_names(tree: ast.Module) -> set[str]:
    """Return the top-level names that are imported, wherever in a module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            names.add(node.module.partition(".")[0])
    return names
