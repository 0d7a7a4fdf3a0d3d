"""What a layer is built for: a Python, a processor, and the image of Lambda that has both."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Literal

import attrs

# Lambda's Python runtimes and the C library of their image: Amazon Linux 2 has glibc 2.26, Amazon Linux 2023 has 2.34.
GLIBC_MINOR: Final = {"3.11": 26, "3.12": 34, "3.13": 34, "3.14": 34}
_MACHINES: Final = {"x86_64": "x86_64", "arm64": "aarch64"}
# The oldest glibc that the tags of wheels name, by processor.
_OLDEST_GLIBC_MINOR: Final = {"x86_64": 5, "arm64": 17}
_LEGACY_TAGS: Final = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


def _known(_: object, __: attrs.Attribute[Any], value: str) -> None:
    if value not in GLIBC_MINOR:
        msg = f"Lambda has no Python {value} that this library supports; it has {', '.join(GLIBC_MINOR)}"
        raise ValueError(msg)


@attrs.frozen
class Target:
    """A Python of Lambda on a processor of Lambda.

    Attributes:
        python: Its version, such as `3.13`.
        arch: The processor, as Lambda calls it.
    """

    python: str = attrs.field(validator=_known)
    arch: Literal["x86_64", "arm64"] = attrs.field(validator=attrs.validators.in_(_MACHINES))

    @property
    def interpreter(self) -> str:
        """Where Lambda's image of this Python has its interpreter."""
        return f"/var/lang/bin/python{self.python}"

    @property
    def machine(self) -> str:
        """The processor, as wheels and Linux call it."""
        return _MACHINES[self.arch]

    @property
    def cache_tag(self) -> str:
        """What the names of its bytecode files have before `.pyc`."""
        return f"cpython-{self.python.replace('.', '')}"

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that run there, best first."""
        tags = []
        for minor in range(GLIBC_MINOR[self.python], _OLDEST_GLIBC_MINOR[self.arch] - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _LEGACY_TAGS:
                tags.append(f"{_LEGACY_TAGS[minor]}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]

    @property
    def runs_here(self) -> bool:
        """Whether what is made for it starts on this machine, given its Python."""
        return sys.platform == "linux" and platform.machine() == self.machine

    def find_python(self, prefix: Path | None = None) -> str | None:
        """Return an interpreter of this version on this machine; None where there is none that starts.

        Args:
            prefix: The folder of one to take if it starts.
        """
        if prefix is not None and _starts(own := str(prefix / "bin" / f"python{self.python}")):
            return own
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        return sys.executable if here == self.python else find_python(self.python)


def find_python(version: str, search_path: str | None = None) -> str | None:
    """Return an interpreter of a version, such as `3.13`; None where there is none that starts.

    Args:
        version: Which.
        search_path: Where to look before pyenv is asked; by default PATH.
    """
    for candidate in (shutil.which(f"python{version}", path=search_path), *_pyenv(version)):
        if candidate is not None and _starts(candidate):
            return candidate
    return None


def _pyenv(version: str) -> list[str]:
    """Return what pyenv has of a version: its shims refuse versions that are installed but not selected."""
    root = Path(os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser())
    return sorted(map(str, root.glob(f"versions/{version}.*/bin/python{version}")))


def _starts(interpreter: str) -> bool:
    try:
        done = subprocess.run([interpreter, "-c", ""], capture_output=True, check=False)  # noqa: S603
    except OSError:  # it is for another processor, or no program
        return False
    return done.returncode == 0
