"""What of installed distributions a layer can do without."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lambda_extension.packaging._target import Target

# What is only read by compilers, type checkers and installers.
_SUFFIXES: Final = frozenset({".a", ".c", ".cc", ".cpp", ".h", ".hpp", ".pxd", ".pyi", ".pyx", ".rs"})
# What of a distribution's metadata is read at run time, or has to go along by its licence.
_METADATA: Final = frozenset({"METADATA", "entry_points.txt"})
_LICENSES: Final = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
# What of this library is for the machine of a developer.
_TOOLS: Final = tuple(f"lambda_extension/{room}" for room in ("simulator", "packaging", "cli"))
_TESTS: Final = frozenset({"test", "tests"})


def distributions(site: Path) -> dict[str, Distribution]:
    """Return what is installed in a folder, by canonical name."""
    found = (PathDistribution(path) for path in sorted(site.glob("*.dist-info")))
    return {canonicalize_name(distribution.metadata["Name"]): distribution for distribution in found}


def drop(site: Path, name: str, roots: Collection[str], target: Target) -> None:
    """Remove a distribution, and what was installed for it alone.

    Args:
        site: Where it is installed.
        name: Its name; nothing happens where it is not installed.
        roots: Requirements that were asked for, and stay.
        target: For what the requirements' markers hold.
    """
    installed: Mapping[str, Distribution] = distributions(site)
    needed: set[str] = set()
    waiting = [requirement for root in roots if canonicalize_name((requirement := Requirement(root)).name) != name]
    while waiting:
        requirement = waiting.pop()
        key: str = canonicalize_name(requirement.name)
        extras = {f"{key}[{extra}]" for extra in requirement.extras} | {key}
        if key not in installed or key == name or extras <= needed:
            continue
        needed |= extras
        waiting += _requirements(installed[key], requirement.extras, target)
    for key, distribution in installed.items():
        if key not in needed:
            _remove(site, distribution)


def _requirements(distribution: Distribution, extras: Collection[str], target: Target) -> Iterator[Requirement]:
    environment = {"python_version": target.python, "python_full_version": f"{target.python}.0"}
    environment |= {"platform_machine": target.machine, "sys_platform": "linux", "platform_system": "Linux"}
    environment |= {"os_name": "posix", "platform_python_implementation": "CPython", "implementation_name": "cpython"}
    for line in distribution.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate(environment | {"extra": extra}) for extra in (*extras, "")):
            yield requirement


def _remove(site: Path, distribution: Distribution) -> None:
    for file in distribution.files or []:
        (site / file).unlink(missing_ok=True)
    for folder in sorted((path for path in site.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def strip(site: Path) -> None:
    """Remove tests, caches, headers, stubs, scripts, the metadata that only installers read, and our own tools."""
    for folder in ("bin", *_TOOLS):
        shutil.rmtree(site / folder, ignore_errors=True)
    for path in sorted(site.rglob("*"), reverse=True):
        inside = path.relative_to(site)
        if path.is_dir():
            # Of a package's own top level alone: further down, `tests` may be a package that is used.
            is_tests = path.name in _TESTS and len(inside.parts) == 2
            if path.name == "__pycache__" or is_tests or not any(path.iterdir()):
                shutil.rmtree(path)
        elif path.suffix in _SUFFIXES or path.name in {".lock", "py.typed"} or _is_noise(inside):
            path.unlink()


def _is_noise(inside: Path) -> bool:
    head, *rest = inside.parts
    if not head.endswith(".dist-info"):
        return False
    is_license = rest[0] in {"licenses", "license_files"} or rest[0].upper().startswith(_LICENSES)
    return not is_license and rest[0] not in _METADATA
