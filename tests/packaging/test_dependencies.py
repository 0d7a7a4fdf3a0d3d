"""What an extension needs is installed for Lambda's image, whichever installer is here, or named."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_extension.packaging._dependencies import (
    failure,
    install,
    installer,
    project_requirements,
    project_wheel,
    script_requirements,
)
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._stripping import distributions, drop, strip
from lambda_extension.packaging._target import Target

TARGET = Target("3.13", "arm64")


@pytest.mark.parametrize(
    ("python", "arch", "first", "legacy", "last"),
    [
        ("3.11", "x86_64", "manylinux_2_26_x86_64", "manylinux1_x86_64", "linux_x86_64"),
        ("3.13", "x86_64", "manylinux_2_34_x86_64", "manylinux2010_x86_64", "linux_x86_64"),
        ("3.12", "arm64", "manylinux_2_34_aarch64", "manylinux2014_aarch64", "linux_aarch64"),
    ],
)
def test_tags_are_those_of_the_image(python: str, arch: str, first: str, legacy: str, last: str) -> None:
    platforms = Target(python, arch).platforms  # type: ignore[arg-type]
    assert platforms[0] == first
    assert legacy in platforms
    assert platforms[-1] == last


def test_a_python_that_lambda_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Lambda has no Python 3\.9"):
        Target("3.9", "x86_64")


def test_uv_gets_one_platform_and_pip_every_tag() -> None:
    assert "aarch64-manylinux_2_34" in installer(TARGET, uv="uv")
    assert "x86_64-manylinux_2_17" in installer(Target("3.11", "x86_64"), uv="uv")
    by_pip = installer(TARGET, uv=None)
    assert by_pip.count("--platform") == len(TARGET.platforms)
    assert "--only-binary=:all:" in by_pip


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "Because all versions of psycopg2 have no usable wheels and you require psycopg2,",
            "psycopg2 has no wheel for",
        ),
        ("Because psycopg2==2.9.9 has no wheels with a matching", "psycopg2 has no wheel for Python 3.13 on arm64"),
        ("ERROR: No matching distribution found for psycopg2==1", "psycopg2 has no wheel for Python 3.13 on arm64"),
        ("Because no-such-thing was not found in the package registry and", "no-such-thing is in no package index"),
        ("/usr/bin/python3: No module named pip", "installing wheels needs uv or pip"),
        ("the disk is full", "the dependencies cannot be installed:\nthe disk is full"),
    ],
)
def test_a_failure_is_told_in_words_that_say_what_to_do(stderr: str, reason: str) -> None:
    assert failure(stderr, TARGET).startswith(reason)


def test_inline_metadata_that_is_no_toml_is_refused() -> None:
    assert script_requirements("print()", TARGET) == []
    assert script_requirements("# /// script\n# dependencies = ['a', 'b']\n#\n# ///\n", TARGET) == ["a", "b"]
    with pytest.raises(PackagingError, match="not TOML"):
        script_requirements("# /// script\n# dependencies = [\n# ///\n", TARGET)


@pytest.mark.parametrize(
    ("wanted", "fits"), [(">=3.11", True), (">=3.13.2,<4", True), (">=3.14", False), ("<3.13", False)]
)
def test_a_script_or_project_for_another_python_is_refused(wanted: str, fits: bool, tmp_path: Path) -> None:
    script = f"# /// script\n# requires-python = '{wanted}'\n# dependencies = ['a']\n# ///\n"
    (tmp_path / "pyproject.toml").write_text(f"[project]\nrequires-python = '{wanted}'\ndependencies = ['a']\n")
    asked: list[Callable[[], list[str]]] = [
        lambda: script_requirements(script, TARGET),
        lambda: project_requirements(tmp_path, TARGET, tmp_path / "scratch"),
    ]
    for ask in asked:
        if fits:
            assert ask() == ["a"]
        else:
            with pytest.raises(PackagingError, match=r"and the layer is for 3\.13: say another one by --python"):
                ask()


def test_a_project_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[build-system]\nrequires = []\nbuild-backend = 'missing'\n")
    with pytest.raises(PackagingError, match=r"cannot be built:\n(?s:.*)missing"):
        project_wheel(tmp_path, tmp_path / "scratch")


def test_a_project_with_compiled_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "build.py").write_text(
        "from hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "class Hook(BuildHookInterface):\n"
        "    def initialize(self, version, build_data):\n"
        "        build_data['infer_tag'] = True\n"
        "        build_data['pure_python'] = False\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "shop"\nversion = "2.0"\n[tool.hatch.build.hooks.custom]\npath = "build.py"\n'
    )
    with pytest.raises(PackagingError, match="has compiled code, built for this machine"):
        project_wheel(tmp_path, tmp_path / "scratch")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    install(["hypercorn", "httpx"], folder / "site", TARGET, scratch=folder / "scratch")
    return folder / "site"


def copied(site: Path, into: Path) -> Path:
    subprocess.run(["cp", "-r", str(site), str(into)], check=True)
    return into


def test_what_a_dropped_package_alone_needs_goes_with_it(site: Path, tmp_path: Path) -> None:
    copy = copied(site, tmp_path / "copy")
    drop(copy, "hypercorn", ["hypercorn", "httpx"], TARGET)
    left = set(distributions(copy))
    assert "httpx" in left
    assert "h11" in left  # which httpx needs too
    assert not left & {"hypercorn", "h2", "wsproto", "priority"}
    assert not (copy / "hypercorn").exists()
    before = set(distributions(copy))
    drop(copy, "hypercorn", ["httpx"], TARGET)
    assert set(distributions(copy)) == before


def test_stripping_leaves_entry_points_and_licences(tmp_path: Path) -> None:
    files = [
        "bin/tool",
        "shop/__init__.py",
        "shop/__init__.pyi",
        "shop/py.typed",
        "shop/_fast.c",
        "shop/tests/test_shop.py",
        "shop/inner/tests/used.py",
        "shop/__pycache__/x.pyc",
        "lambda_extension/simulator/x.py",
        "shop-1.dist-info/METADATA",
        "shop-1.dist-info/RECORD",
        "shop-1.dist-info/entry_points.txt",
        "shop-1.dist-info/licenses/LICENSE",
        "shop-1.dist-info/COPYING",
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    strip(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {
        "shop/__init__.py",
        "shop/inner/tests/used.py",
        "shop-1.dist-info/METADATA",
        "shop-1.dist-info/entry_points.txt",
        "shop-1.dist-info/licenses/LICENSE",
        "shop-1.dist-info/COPYING",
    }
