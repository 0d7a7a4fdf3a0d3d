"""A folder as a layer: a zip file, or a folder to copy into an image; the same input gives the same bytes."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import Final

# The first moment that a zip file can name.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3


def write_zip(root: Path, path: Path) -> None:
    """Write the files of a folder, with their modes, sorted, and all of the same age."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        for name, file in sorted(files.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = _UNIX
            member.external_attr = (stat.S_IFREG | file.stat().st_mode & 0o777) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, file.read_bytes(), compresslevel=9)


def settle_modes(root: Path) -> None:
    """Make everything readable for the other user that Lambda may run extensions as; executables stay executable."""
    for path in root.rglob("*"):
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if executable else 0o644)
    root.chmod(0o755)
