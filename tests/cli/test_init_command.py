"""`init` makes projects whose own tests, checkers and README commands do what they promise, as real processes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from http_servers import QuietHandler, serving
from lambda_extension.cli._commands import commands

TEMPLATES = ["stream", "per-invocation", "delivery", "otlp", "cache", "internal"]
EXTERNAL = [template for template in TEMPLATES if template != "internal"]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
SILENT = ["-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:trio"]  # of our own environment, not the project's


def init(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["init", *arguments])


@pytest.fixture
def project(template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    result = init("order-audit", "--template", template)
    assert result.exit_code == 0, result.output
    monkeypatch.chdir(tmp_path / "order-audit")
    return tmp_path / "order-audit"


def run(*command: str, cwd: Path) -> str:
    """Run a command as somebody types it, with the tools of this environment."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_tests_of_a_new_project_pass_on_both_backends(project: Path) -> None:
    said = run(sys.executable, "-m", "pytest", "-v", *SILENT, cwd=project)
    passed = re.findall(r"::(\w+)\[(asyncio|trio)\] PASSED", said)
    tests = {name for name, _ in passed}
    assert tests
    assert sorted(passed) == [(name, backend) for name in sorted(tests) for backend in ("asyncio", "trio")]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_project_is_clean_to_ruff_and_mypy(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.getbasetemp() / "mypy"  # of all projects: what they import is the same
    if find_spec("ruff") is None or find_spec("mypy") is None:
        assert not os.environ.get("DEPLOYMENT_REQUIRED")
        pytest.skip("ruff or mypy is not here: nox -s deployment has them")
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=project)
    run(sys.executable, "-m", "ruff", "format", "--check", "--no-cache", ".", cwd=project)
    run(sys.executable, "-m", "mypy", "--cache-dir", str(cache), cwd=project)


@pytest.mark.parametrize("template", TEMPLATES)
def test_nothing_of_the_templates_own_name_is_left(project: Path, template: str) -> None:
    files = [path for path in project.rglob("*") if path.is_file()]
    names = {path.relative_to(project).as_posix() for path in files}
    assert names >= {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "template.yaml",
        "tests/test_extension.py",
        "function/app.py",
        "function/extension.py" if template == "internal" else "extension.py",
    }
    assert not [path for path in files if "my-extension" in path.read_text()]
    assert 'name = "order-audit"' in (project / "pyproject.toml").read_text()


class Endpoint(QuietHandler):
    """Takes and gives whatever is asked, in place of the one that README names, which is somebody else's."""

    def do_GET(self) -> None:
        self.read_body()
        self.answer(body=b"{}")

    do_POST = do_GET


@pytest.fixture
def endpoint() -> Iterator[str]:
    with serving(Endpoint) as url:
        yield url


def commands_of_readme(project: Path, endpoint: str) -> list[list[str]]:
    """Return the commands of `lambda-extension` in a project's README, as a shell would split them."""
    text = (project / "README.md").read_text().replace("https://example.com", endpoint)
    assert len(text.splitlines()) <= 10
    lines = [line.partition("uv run ")[2] for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("lambda-extension ")]


@pytest.mark.parametrize("template", EXTERNAL)
def test_the_commands_of_its_readme_do_what_they_say(project: Path, endpoint: str) -> None:
    simulate, package, doctor = commands_of_readme(project, endpoint)
    assert "3 of 3 succeeded" in run(*simulate, cwd=project)
    assert "Tried in the simulator" in " ".join(run(*package, "--python", HERE, cwd=project).split())
    with zipfile.ZipFile(project / "order-audit.zip") as layer:
        early = b"early" in layer.read("extensions/order-audit")
    assert early == ("--no-early" not in package)
    assert "order-audit" in run(*doctor, cwd=project)


@pytest.mark.parametrize("template", ["internal"])
def test_an_internal_extension_is_simulated_with_its_function(project: Path, endpoint: str) -> None:
    (simulate,) = commands_of_readme(project, endpoint)
    assert "3 of 3 succeeded" in run(*simulate, cwd=project / "function")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "use ASCII letters"),
        ("two words", "use ASCII letters"),
        ("é", "use ASCII letters"),
        (".", "use ASCII letters"),
        ("a/b", "use ASCII letters"),
        ("audit.py", "use ASCII letters"),
        ("-x", "use ASCII letters"),
        ("audit-", "use ASCII letters"),
        ("x" * 129, "no extension's name"),
        ("extensions", "Lambda gives /opt/extensions a meaning of its own"),
        ("Lambda_Extension", "no project can need itself"),
        ("pytest", "no project can need itself"),
    ],
)
def test_a_name_that_no_extension_can_have_is_refused(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = init("--", name)
    assert result.exit_code == 1
    assert reason in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "extension.py").write_text("mine\n")
    (tmp_path / "notes").write_text("mine\n")
    for name in ("audit", "notes"):
        result = init(name)
        assert result.exit_code == 1
        assert "choose another name, or move it away" in " ".join(result.output.split())
    assert (tmp_path / "audit" / "extension.py").read_text() == "mine\n"
    assert (tmp_path / "notes").read_text() == "mine\n"


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audit").mkdir()
    assert init("audit").exit_code == 0
    assert (tmp_path / "audit" / "extension.py").exists()
