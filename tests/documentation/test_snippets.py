"""What README and docs show runs: scripts as extensions in the simulator, and all else in order, a folder per page."""

from __future__ import annotations

import doctest
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pages import PAGES, ROOT, RUNNABLE, Block, Command, blocks_of, commands_of, matches

from http_servers import QuietHandler, serving
from lambda_extension.serving import serve
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator
from script_backends import command_on

# Blocks that cannot be run here, each with its reason in the page. Raise it only for what needs another machine.
NOT_RUN = 13

# The backend that the docs write of; here it is a server on loopback that takes everything.
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TUTORIAL = "docs/tutorial"
BACKEND = "https://logs.example.com"
BLOCKS = {page.relative_to(ROOT).as_posix(): blocks_of(page) for page in PAGES}
EXTENSIONS = {page: [block for block in blocks if block.kind == "extension"] for page, blocks in BLOCKS.items()}
STEPS = {
    page: [block for block in blocks if block.kind in {"program", "pytest", "file", "console", "pycon"}]
    for page, blocks in BLOCKS.items()
}
AT_ONCE = 6  # extensions in one environment; Lambda takes ten


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@asynccontextmanager
async def backend(taken: Counter[str]) -> AsyncIterator[str]:
    """Serve what takes everything, and count by the first part of the path."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        taken[scope["path"].split("/")[1]] += 1
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, app)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


def groups() -> list[Any]:
    return [
        pytest.param(blocks[at : at + AT_ONCE], id=f"{page}-{at // AT_ONCE}")
        for page, blocks in EXTENSIONS.items()
        for at in range(0, len(blocks), AT_ONCE)
    ]


@pytest.mark.parametrize("blocks", groups())
async def test_the_scripts_of_a_page_run_as_extensions(blocks: list[Block], anyio_backend: str, tmp_path: Path) -> None:
    """All of them in one environment: each exits with 0, sends or else says something, and breaks no rule."""
    taken: Counter[str] = Counter()
    where = {f"line-{block.line}.py": block.where for block in blocks}
    async with backend(taken) as url:
        specs = []
        for name, block in zip(where, blocks, strict=True):
            script = tmp_path / name
            script.write_text(block.script.replace(BACKEND, f"{url}/{name}"))
            specs.append(ExtensionSpec(command_on(anyio_backend, script), name=name))
        with anyio.fail_after(60):
            function = ScriptedFunction(log_lines=["order accepted"])
            async with Simulator(specs, function, timeout=30, environment={"LOGS_TOKEN": "a-token"}) as lambda_:
                results = await lambda_.invoke_many(3)
                shutdown = await lambda_.shutdown()
    story = lambda_.record.story()
    assert [result.status for result in results] == ["success"] * 3, story
    assert lambda_.record.findings == [], story
    assert shutdown.late == (), story
    assert {where[name]: shutdown.exit_codes[name] for name in where} == dict.fromkeys(where.values(), 0), story
    printed = {entry.who for entry in lambda_.record.find("output")}
    # What says that it cannot send has said something, too.
    sending = {name for name, block in zip(where, blocks, strict=True) if BACKEND in block.script}
    assert [where[name] for name in sending if not taken[name]] == [], story
    assert [where[name] for name in where.keys() - sending if name not in printed] == [], story


@contextmanager
def backend_of_commands() -> Iterator[str]:
    """Serve what takes everything, for programs and commands, whose test knows no event loop."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            self.read_body()
            self.do_GET()

        def do_GET(self) -> None:
            self.answer(body=b"{}")

    with serving(Handler) as url:
        yield url


def steps() -> list[Any]:
    """Give the steps of each page; the pages of the tutorial follow each other, as for whoever reads them."""
    tutorial = [block for page, blocks in STEPS.items() if page.startswith(TUTORIAL) for block in blocks]
    pages = {page: blocks for page, blocks in STEPS.items() if blocks and not page.startswith(TUTORIAL)}
    return [pytest.param(blocks, id=page) for page, blocks in {TUTORIAL: tutorial, **pages}.items()]


@pytest.mark.parametrize("blocks", steps())
def test_the_steps_of_a_page_do_what_it_shows(blocks: list[Block], tmp_path: Path) -> None:
    """Files, programs, tests and commands in the order of the page, as whoever follows it has them."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    with backend_of_commands() as url, closing(Shell(folder, tmp_path, url)) as shell:
        for block in blocks:
            _follow(block, shell, tmp_path)


def _follow(block: Block, shell: Shell, scratch: Path) -> None:
    match block.kind:
        case "file":
            file = shell.folder / block.directives["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(shell.as_typed(block.code))
        case "program":
            for backend in ("asyncio", "trio"):
                script = scratch / f"line_{block.line}.py"
                script.write_text(shell.as_typed(block.script))
                shell.run(command_on(backend, script), block)
        case "pytest":
            script = shell.folder / f"test_line_{block.line}.py"
            script.write_text(shell.as_typed(block.script))
            shell.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", script.name], block)
        case "pycon":
            _doctest(block)
        case _:
            _console(block, shell)


def _doctest(block: Block) -> None:
    test = doctest.DocTestParser().get_doctest(block.code, {}, block.where, block.page, block.line)
    report: list[str] = []
    done = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert not done.failed, "".join(report)


def _console(block: Block, shell: Shell) -> None:
    if "before" in block.directives:
        shell.type(block.directives["before"], block)
    commands = commands_of(block)
    status = int(block.directives.get("exit", 0))
    if "background" in block.directives:
        (command,) = commands
        shell.start(command, block)
        return
    for command in commands:
        printed = shell.type(command.text, block, status=status if command is commands[-1] else 0)
        if command.shown is not None:
            assert matches(command.shown, printed), f"{block.where}: $ {command.text}\n{printed}"


class Shell:
    """Runs what a page says; the folder and the variables that one command leaves are there for the next.

    `lambda-extension serve` takes a port of its own instead of 8080, so that several pages may be run at once, and
    `package` makes a layer for the Python that runs the tests instead of 3.13, so that it can be tried.
    """

    def __init__(self, folder: Path, scratch: Path, backend: str) -> None:
        self._folder = folder
        self._scratch = scratch
        self._backend = backend
        self._background: list[tuple[Block, subprocess.Popen[str]]] = []
        home = scratch / "home"
        home.mkdir()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        looks = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
        self._variables = {**os.environ, **looks, "HOME": str(home), "PATH": path, "VIRTUAL_ENV": sys.prefix}
        # What `package` downloads and unpacks is the same for all pages, and for whoever runs the tests.
        self._variables.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
        self._variables.pop("PYTEST_CURRENT_TEST", None)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = str(free.getsockname()[1])

    @property
    def folder(self) -> Path:
        """Where the last command has left off."""
        left = self._scratch / "folder"
        return Path(left.read_text().strip()) if left.exists() else self._folder

    def _remembering(self, text: str) -> list[str]:
        """Return what runs a command in bash where the one before it has left off."""
        around = f"""
            cd {self._scratch} && if [ -e variables ]; then . ./variables; cd "$(cat folder)"; else cd page; fi
            eval "$1"
            status=$?
            export -p > {self._scratch}/variables
            pwd > {self._scratch}/folder
            exit $status
            """
        text = self.as_typed(text)
        own = f"lambda-extension serve --port {self._port} --api-port 0 "
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self._port}").replace("lambda-extension serve ", own)
        text = text.replace("--python 3.13", f"--python {HERE}")
        return ["bash", "-c", textwrap.dedent(around), "bash", text]

    def _process(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def as_typed(self, text: str) -> str:
        """Return code or a command with the address that the backend of the docs has here."""
        return text.replace(BACKEND, self._backend)

    def _as_shown(self, printed: str) -> str:
        return printed.replace(f"127.0.0.1:{self._port}", "127.0.0.1:8080").replace(self._backend, BACKEND)

    def type(self, text: str, block: Block, *, status: int = 0) -> str:
        """Run a command as it is typed, and return what it printed."""
        return self.run(self._remembering(text), block, status=status)

    def run(self, command: list[str], block: Block, *, status: int = 0) -> str:
        process = self._process(command)
        printed = self._end(process, block)
        assert process.returncode == status, f"{block.where}: {command[-1]}\n{printed}"
        return self._as_shown(printed)

    def start(self, command: Command, block: Block) -> None:
        """Run a command until the page ends; return once it has printed what is shown."""
        process = self._process(self._remembering(command.text))
        self._background.append((block, process))
        assert process.stdout is not None
        printed = ""
        killing = threading.Timer(30, os.killpg, (process.pid, signal.SIGKILL))
        killing.daemon = True
        killing.start()
        try:
            for line in process.stdout:
                printed += line
                if matches(f"{command.shown or ''}\n…", self._as_shown(printed)):
                    return
            pytest.fail(f"{block.where}: {command.text} does not print what is shown\n{printed}")
        finally:
            killing.cancel()

    def close(self) -> None:
        """End what still runs, as Ctrl-C does."""
        for block, process in self._background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            printed = self._end(process, block)
            status = int(block.directives.get("exit", 0))
            assert process.returncode == status, f"{block.where}\n{printed}"

    def _end(self, process: subprocess.Popen[str], block: Block) -> str:
        try:
            return process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            pytest.fail(f"{block.where}: it does not end\n{printed}")


def test_what_is_not_run_says_why_and_is_little() -> None:
    left = [block for blocks in BLOCKS.values() for block in blocks if block.kind == "not run"]
    reasons = [block.directives["not run"] for block in left if block.language in RUNNABLE]
    assert all(reasons)
    assert len(reasons) <= NOT_RUN, [block.where for block in left]
