"""The reference is complete: a name, setting, variable, option, error, log line or finding is in some page."""

from __future__ import annotations

import ast
import fcntl
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import attrs
import click
import pytest
from pages import OF_THE_SITE, ROOT

import lambda_extension
from lambda_extension.cli._commands import commands

# The first test that wants the site waits until it is built: a quarter of a minute, and longer where others work too.
pytestmark = pytest.mark.timeout(600)

SOURCES = ROOT / "src" / "lambda_extension"
REFERENCE = ROOT / "docs" / "reference"

# Public classes with fields that are no settings: what is given out, what travels, and what does work.
NO_SETTINGS = {
    "lambda_extension": {"Environment", "InvokeEvent", "Registration", "Shutdown", "ShutdownEvent", "Tracing"},
    "lambda_extension.telemetry": {"Batch", "Statistics"},
    "lambda_extension.delivery": {"DeliveryStatistics", "JSONArray", "NDJSON", "Payload"},
    "lambda_extension.records": {
        "Context",
        "CorrelatorStatistics",
        "InvocationReport",
        "LogRecord",
        "Named",
        "Pattern",
    },
    "lambda_extension.processing": {"Decision"},
    "lambda_extension.simulator": {"Entry", "Finding", "FunctionContext", "InvocationResult", "ShutdownReport", "Span"},
}
# Formats and faults are described by their fields, in the pages of their packages.
DESCRIBED = ("lambda_extension.delivery.sinks", "lambda_extension.simulator")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site, which DOCS_SITE may name; workers of xdist share one."""
    if built := os.environ.get("DOCS_SITE"):
        return Path(built)
    pytest.importorskip("sphinx", reason="nox -s docs installs what builds the site")
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):
        shared = shared.parent
    out = shared / "site"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "done").exists():
            command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(out)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=500)
            assert done.returncode == 0, done.stdout + done.stderr
            (out / "done").touch()
    return out


def public_packages() -> list[str]:
    """Return the packages and modules that users import: no part of their names is private."""
    found = [module.name for module in pkgutil.walk_packages(lambda_extension.__path__, "lambda_extension.")]
    public = [name for name in found if not any(part.startswith("_") for part in name.split("."))]
    offering = [name for name in public if getattr(importlib.import_module(name), "__all__", None)]
    return ["lambda_extension", *(name for name in offering if name.split(".")[1] not in {"cli", "packaging"})]


def names() -> Iterator[tuple[str, str, object]]:
    for package in public_packages():
        module = importlib.import_module(package)
        for name in module.__all__:
            found = getattr(module, name)
            if not inspect.ismodule(found):
                yield package, name, found


def inventory(site: Path) -> dict[str, str]:
    """Return the page of each documented object."""
    lines = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    entries = (line.split(maxsplit=4) for line in lines)
    return {name: place.partition("#")[0] for name, kind, _, place, _ in entries if kind.startswith("py:")}


def text_of(page: Path) -> str:
    """Return what a reader sees of a page."""
    return unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def every_page(site: Path) -> str:
    return "\n".join(text_of(page) for page in site.rglob("*.html"))


def test_each_public_name_has_a_heading_and_is_found_by_the_search(site: Path) -> None:
    index = json.loads((site / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")"))
    documented, titles = inventory(site), index["alltitles"]
    for package, name, _ in names():
        homes = [home for home in public_packages() if f"{home}.{name}" in documented]
        assert homes, f"{package}.{name} is in no page"
        page = documented[f"{homes[0]}.{name}"].removesuffix(".html")
        assert page in {index["docnames"][place[0]] for place in titles.get(name, [])}, f"{name} has no heading"


def settings_classes() -> list[tuple[str, str, type]]:
    found = []
    for package, name, thing in names():
        if not isinstance(thing, type) or not attrs.has(thing) or thing.__module__ != package:
            continue
        if name not in NO_SETTINGS.get(package, ()):
            found.append((package, name, thing))
    return found


def test_each_setting_has_a_row(site: Path) -> None:
    shown = text_of(site / "reference" / "settings.html")
    everywhere = every_page(site)
    for package, name, thing in settings_classes():
        fields = [field.alias or field.name for field in attrs.fields(thing) if field.init]
        if package not in DESCRIBED:
            assert f"{name} settings" in shown, f"{name} is no section of the settings"
        assert not [field for field in fields if field not in everywhere], name


def variables() -> set[str]:
    """Return the environment variables that the sources name."""
    like = re.compile(
        r"(?:AWS|OTEL|LAMBDA)_[A-Z0-9_]*[A-Z0-9]|_HANDLER|_X_AMZN_TRACE_ID|TMPDIR|VIRTUAL_ENV|[a-z]+_proxy"
    )
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and like.fullmatch(node.value):
                found.add(node.value)
    return found


def test_each_environment_variable_is_in_the_page_of_them(site: Path) -> None:
    shown = text_of(site / "reference" / "environment.html")
    assert "AWS_LAMBDA_RUNTIME_API" in variables()
    assert not [name for name in variables() if name not in shown]


def test_each_option_of_each_command_is_shown(site: Path) -> None:
    shown = text_of(site / "reference" / "command.html")
    for name, command in commands.commands.items():
        section = shown[shown.index(f"lambda-extension {name}") :]
        for option in command.params:
            if isinstance(option, click.Option):
                assert not [spelled for spelled in option.opts if spelled not in section], name


def test_each_error_is_explained(site: Path) -> None:
    shown = text_of(site / "reference" / "errors.html")
    errors = [name for package, name, thing in names() if inspect.isclass(thing) and issubclass(thing, Exception)]
    assert "ConnectError" in errors
    everywhere = every_page(site)
    assert not [name for name in errors if name not in everywhere]
    assert not [
        name
        for name in vars(importlib.import_module("lambda_extension._exceptions"))
        if name.endswith("Error") and name not in shown
    ]


def log_lines() -> Iterator[tuple[str, str]]:
    """Give the constant text of each call that logs, and where it is."""
    for path in SOURCES.rglob("*.py"):
        if path.relative_to(SOURCES).parts[0] in {"cli", "packaging", "simulator", "ship"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                said = ast.unparse(node.func)
                place = {"say": 1, "note": 0, "log": 1}.get(node.func.attr, 0)
                if re.search(r"logger\.\w+$|complaints\.say$|faults\.note$", said) and len(node.args) > place:
                    yield f"{path.name}:{node.lineno}", _constant(node.args[place])


def _constant(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "%s" for each in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_each_log_line_is_explained() -> None:
    shown = " ".join((REFERENCE / "log.md").read_text().split())
    lines = dict(log_lines())
    assert len(lines) > 40
    for where, line in lines.items():
        parts = [part.strip(" :,;()") for part in re.split(r"%[.\d]*[a-z]", line)]
        assert not [part for part in parts if len(part) > 4 and part not in shown], f"{where}: {line}"


def test_each_finding_is_explained() -> None:
    shown = (REFERENCE / "findings.md").read_text()
    source = (SOURCES / "simulator" / "_platform" / "_verdicts.py").read_text()
    rules = set(re.findall(r'"((?:[a-z]+-)+[a-z0-9]+|launch)"', source))
    assert {"launch", "wrong-name", "fails-at-shutdown"} <= rules
    assert not [rule for rule in rules if f"`{rule}`" not in shown]


def test_no_page_of_the_site_is_large(site: Path) -> None:
    sizes = {page.name: page.stat().st_size for page in site.rglob("*.html")}
    assert not {name: size for name, size in sizes.items() if size >= 100_000}


def test_links_within_the_site_lead_somewhere(site: Path) -> None:
    """Pages, and places in them, that links of the built pages name; what is elsewhere is not asked."""
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text())) for page in site.rglob("*.html")}
    broken = []
    for page in anchors:
        for link in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()):
            path, _, anchor = unescape(link).partition("#")
            path = path.partition("?")[0]
            if re.match(r"[a-z]+:", path):
                continue
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and target in anchors and anchor not in anchors[target]):
                broken.append(f"{page.name}: {link}")
    assert not broken


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_files_beside_the_docs_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not re.match(r"[a-z]+:", link)]
    assert not [link for link in links if not (ROOT / link).exists()]


def test_each_page_is_there_as_plain_markdown_and_in_the_list_of_them(site: Path) -> None:
    listed = re.findall(r"\]\((\S+\.md)\)", (site / "llms.txt").read_text())
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in OF_THE_SITE}
    assert set(listed) == pages
    assert len(listed) == len(pages)
    for page in listed:
        text = (site / page).read_text()
        assert text.startswith("#"), page
        assert re.findall(r"(?<!`)<!--", text) == [], page
        prose = re.sub(r"^```\w.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        assert re.findall(r"\{[a-z:-]+\}`|`\{[a-z-]+\}|\[\]\(", prose) == [], page


def test_links_of_the_plain_pages_lead_somewhere(site: Path) -> None:
    broken = []
    for page in OF_THE_SITE:
        there = site / page.relative_to(ROOT / "docs")
        for link in re.findall(r"\]\(([^)\s#]+)", there.read_text()):
            if not re.match(r"[a-z]+:", link) and not (there.parent / link).exists():
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_the_plain_reference_says_what_a_name_is(site: Path) -> None:
    text = (site / "reference" / "lambda-extension.md").read_text()
    assert "**`open_telemetry(" in text
    assert lambda_extension.open_telemetry.__doc__ is not None
    assert lambda_extension.open_telemetry.__doc__.strip().splitlines()[0] in text
    assert "required: bool = False" in text
    assert "max_items: int = 10000," in (site / "reference" / "delivery.md").read_text()


def test_defaults_are_shown_as_values(site: Path) -> None:
    plain = "".join(page.read_text() for page in (site / "reference").glob("*.md"))
    assert not [each for each in ("attr_dict", "NOTHING") if each in plain + every_page(site)]
    assert "max_buffered_batches" in text_of(site / "reference" / "settings.html")
