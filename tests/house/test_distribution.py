"""What wheel and source distribution hold: all that they should, and nothing else. `nox -s package` builds them."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
AT_THE_TOP = {
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "SECURITY.md",
    "benchmarks",
    "docs",
    "examples",
    "noxfile.py",
    "pyproject.toml",
    "src",
    "tests",
    "typing_tests",
}

pytestmark = pytest.mark.skipif("DISTRIBUTION" not in os.environ, reason="nothing was built: run nox -s package")


def built(pattern: str) -> Path:
    (found,) = Path(os.environ["DISTRIBUTION"]).glob(pattern)
    return found


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *folders], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split())


def test_the_wheel_holds_the_package_and_its_metadata_alone() -> None:
    names = set(zipfile.ZipFile(built("*.whl")).namelist())
    metadata = {name.partition("/")[2] for name in names if ".dist-info/" in name}
    assert metadata == METADATA
    package = {f"src/{name}" for name in names if ".dist-info/" not in name}
    assert package == tracked("src")


def test_the_source_distribution_holds_what_is_tracked_in_its_folders() -> None:
    with tarfile.open(built("*.tar.gz")) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name.partition("/")[0] for name in names} == AT_THE_TOP
    folders = {name for name in AT_THE_TOP if (ROOT / name).is_dir()}
    assert {name for name in names if name.partition("/")[0] in folders} == tracked(*sorted(folders))


def test_what_a_package_index_shows_links_to_no_file_of_the_repository() -> None:
    with zipfile.ZipFile(built("*.whl")) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        _, _, description = archive.read(metadata).decode().partition("\n\n")
    assert description.startswith("# lambda-extension")
    assert not re.findall(r"\]\((?!https?:)[^)]*\)|<!--", description)
