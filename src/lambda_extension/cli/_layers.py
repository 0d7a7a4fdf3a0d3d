"""Layers as Lambda lays them under /opt: folders or zip files, in order, later ones over earlier ones."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from lambda_extension.packaging._target import find_python
from lambda_extension.simulator import ExtensionSpec

# Four times what Lambda takes: enough to say what is wrong with a layer, too little to fill a disk.
_MOST_BYTES: Final = 1024**3
# Where Lambda's images have their interpreters.
_IMAGE: Final = "/var/lang/bin/"
_LONGEST_LINE: Final = 255
_PYTHON: Final = re.compile(r"python(\d+\.\d+)")


class LayerError(Exception):
    """A layer that cannot be unpacked; the message says why."""


def unpack(layer: Path, into: Path) -> None:
    """Lay a layer over what is in `into`; modes and symbolic links are kept.

    Raises:
        LayerError: It is no folder and no zip file, or would be written outside of `into`, or is larger than 1 GiB.
        OSError: It cannot be read.
    """
    if layer.is_dir():
        shutil.copytree(layer, into, symlinks=True, dirs_exist_ok=True)
        return
    try:
        with zipfile.ZipFile(layer) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > _MOST_BYTES:
                msg = f"{layer.name} is larger than 1 GiB when unpacked; Lambda takes 250 MB in all"
                raise LayerError(msg)
            for entry in entries:
                _extract(archive, entry, into)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # RuntimeError: it has a password
        msg = f"{layer.name} is no layer: {error}"
        raise LayerError(msg) from None


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path) -> None:
    name = PurePosixPath(entry.filename)
    target = into / name
    if name.is_absolute() or ".." in name.parts or not target.parent.resolve().is_relative_to(into.resolve()):
        msg = f"{Path(archive.filename or '').name} has an entry that leads out of the layer: {entry.filename!r}"
        raise LayerError(msg)
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        target.symlink_to(os.fsdecode(archive.read(entry)))
        return
    with archive.open(entry) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    target.chmod(stat.S_IMODE(mode) or 0o644)


def extension_files(root: Path) -> list[Path]:
    """Return what Lambda starts of what lies under /opt: every entry of extensions/ that is not a folder."""
    folder = root / "extensions"
    return sorted(path for path in folder.iterdir() if not path.is_dir()) if folder.is_dir() else []


def specs_of(root: Path, search_path: str) -> list[ExtensionSpec]:
    """Return the extensions of what lies in `root`, each run as Lambda does: by itself alone.

    Args:
        root: What is /opt.
        search_path: Where to look for an interpreter of Lambda's image that this machine does not have.
    """
    return [ExtensionSpec(stand_in(path, search_path) or [str(path)], name=path.name) for path in extension_files(root)]


def lacks_interpreter(path: Path) -> bool:
    """Tell whether a file's first line names an interpreter of Lambda's image, and this is no such image."""
    interpreter, _ = _first_line(path)
    return interpreter.startswith(_IMAGE) and not Path(interpreter).exists()


def stand_in(path: Path, search_path: str) -> list[str] | None:
    """Return the command line that runs a file on what this machine has in place of an interpreter of Lambda's image.

    None where that is not needed, or where there is none of that name and version, or where the file could not be
    started on Lambda either.
    """
    if not os.access(path, os.X_OK) or not lacks_interpreter(path):
        return None
    interpreter, _ = _first_line(path)
    name = Path(interpreter).name
    python = _PYTHON.fullmatch(name)
    found = find_python(python[1], search_path) if python else shutil.which(name, path=search_path)
    return None if found is None else by_first_line(path, found)


def by_first_line(path: Path, instead: str | None = None) -> list[str]:
    """Return the command line that a file's first line stands for; empty where it has none.

    Args:
        path: The file.
        instead: The interpreter, where it is not the one that is named.
    """
    interpreter, argument = _first_line(path)
    # Linux hands on all that follows as one argument.
    return [instead or interpreter, *([argument] if argument else []), str(path)] if interpreter else []


def _first_line(path: Path) -> tuple[str, str]:
    """Return the interpreter that a file's first line names, and the argument; empty where it names none."""
    with path.open("rb") as file:
        line = file.readline(_LONGEST_LINE).decode(errors="replace")
    interpreter, _, argument = line.removeprefix("#!").strip().partition(" ") if line.startswith("#!") else ("", "", "")
    return interpreter, argument.strip()


@contextmanager
def laid_out(layers: Sequence[Path]) -> Iterator[Path]:
    """Unpack layers into one folder, which is gone afterwards.

    Raises:
        LayerError: One cannot be unpacked.
        OSError: One cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="lambda-extension-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        for layer in layers:
            unpack(layer, root)
        yield root
