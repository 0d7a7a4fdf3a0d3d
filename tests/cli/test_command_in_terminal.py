"""The command as somebody at a terminal sees it, and what it imports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from command_kit import STREAM, extension_that, write
from rich.cells import cell_len

from lambda_extension.cli._terminal import wrapped
from lambda_extension.simulator._watching._plain import plain


def in_terminal(*arguments: str, columns: int = 120) -> pexpect.spawn[str]:
    command = ["-m", "lambda_extension", *arguments]
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable, command, timeout=60, encoding="utf-8", dimensions=(40, columns), env=environment
    )
    return child


def colourless(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def lines_of(child: pexpect.spawn[str]) -> Iterator[str]:
    child.expect(pexpect.EOF)
    child.close()
    for line in (child.before or "").splitlines():
        yield colourless(line.rstrip())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "EXTENSION"],
        ["simulate", "EXTENSION", "--env", "NOT_SET_ANYWHERE"],
        ["simulate", "--help"],
        ["doctor", "EXTENSION"],
        ["simulate", "EXTENSION", "--strict", "--env", "SOME_NAME_THAT_IS_LONG=1", "--fault", "kill:nobody"],
        ["doctor", "--help"],
        ["serve", "--help"],
        ["package", "--help"],
        ["init", "--help"],
        ["ship", "--help"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_no_word_is_broken_at_the_edge(tmp_path: Path, columns: int, arguments: list[str]) -> None:
    path = write(tmp_path / "x.py", "import sys; sys.exit(3)\n")
    child = in_terminal(*(path if word == "EXTENSION" else word for word in arguments), columns=columns)
    lines = list(lines_of(child))
    assert lines
    # What is wider than the terminal would be broken by it: only a single word may be.
    assert [line for line in lines if cell_len(line) > columns and " " in line.strip()] == []


WORDY = "print('it has', '  two  blanks,', 'many words ' * 30, flush=True)\nimport sys; sys.exit(3)\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_no_word_of_others_is_broken_either(tmp_path: Path, columns: int) -> None:
    child = in_terminal("simulate", write(tmp_path / "x.py", WORDY), columns=columns)
    lines = list(lines_of(child))
    assert lines[0].startswith("[x.py] it has   two  blanks, many words many")
    assert max(map(cell_len, lines)) <= columns


@pytest.mark.parametrize("columns", [80, 120])
def test_serve_breaks_no_word(tmp_path: Path, columns: int) -> None:
    arguments = ["--port", "0", "--api-port", "0", "--follow", "--attach", "somebody"]
    child = in_terminal("serve", write(tmp_path / "x.py", WORDY), *arguments, columns=columns)
    child.expect("Ctrl-C shuts down")
    seen = str(child.before)
    child.expect("platform.extension")  # init has failed
    seen += str(child.before)
    child.sendintr()
    lines = [*colourless(seen).splitlines(), *lines_of(child)]
    assert [line for line in lines if cell_len(line) > columns and " " in line.strip()] == []


def test_a_long_run_in_a_terminal_shows_a_progress_bar() -> None:
    child = in_terminal("simulate", STREAM, "--invocations", "60", "--freeze")
    child.expect("invocations")
    child.expect("60 of 60")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


LASTING = """
import os, subprocess, sys, time
print("child", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, be it that nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


HANGING = """#!/bin/sh
curl -s -o /dev/null http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next
sleep 600
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_at_once_and_everything_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    child = in_terminal("simulate", write(tmp_path / "x.py", LASTING))
    child.expect(r"\[x.py\] child (\d+)")
    assert isinstance(child.match, re.Match)
    grandchild = int(child.match[1])
    if number == signal.SIGINT:
        child.sendintr()  # as Ctrl-C does: to the whole foreground group
    else:
        child.kill(number)
    child.expect(f"ended by {number.name}")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 128 + number
    assert is_gone(grandchild)


def test_a_signal_during_an_invocation_does_not_wait_for_its_end(tmp_path: Path) -> None:
    function = write(tmp_path / "bootstrap", HANGING)
    told = write(tmp_path / "told.py", extension_that('print("told", flush=True)'))
    child = in_terminal("simulate", told, "--function", function, "--timeout", "600")
    child.expect(r"\[told.py\] told")
    child.sendintr()
    child.expect("ended by SIGINT")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_a_signal_ends_the_doctor_too(tmp_path: Path) -> None:
    child = in_terminal("doctor", write(tmp_path / "x", "#!/bin/sh\nsleep 600\n"))
    child.expect("shebang")
    child.sendintr()
    child.expect("ended by SIGINT")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_a_reader_that_leaves_costs_no_traceback() -> None:
    command = f"{sys.executable} -m lambda_extension simulate {STREAM} --invocations 50 | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("[stream.py]")
    assert done.stderr == ""


def test_a_terminal_that_knows_only_ascii_costs_no_traceback(tmp_path: Path) -> None:
    path = write(tmp_path / "x.py", "print('größer \\u4e16', flush=True)\n")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "lambda_extension", "simulate", path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


# -- text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain größe 世界", "plain größe 世界"),
        ("a\tb", "a    b"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\r\n\x00\x7f\x9b", "\\r\\n\\x00\\x7f\\x9b"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\ud800", "\\ud800"),
        ("می‌خواهم\u00a0x", "می‌خواهم\u00a0x"),
        ("[bold]x[/]", "[bold]x[/]"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_text_is_wrapped_between_words_by_its_width_in_columns() -> None:
    assert [line.plain for line in wrapped([("aa bb", ""), ("cc", "bold")], 5, indent=2)] == ["aa bb", "  cc"]
    assert [line.plain for line in wrapped([("  a  b", ""), ("c", "")], 9)] == ["  a  b c"]
    assert [line.plain for line in wrapped([("世界 世界", "")], 8)] == ["世界", "世界"]
    assert [line.plain for line in wrapped([("x" * 30 + " y", "")], 10)] == ["x" * 30, "y"]


# -- what it imports, and what it needs


def loaded_by(*arguments: str) -> set[str]:
    script = (
        f"import sys; sys.argv[1:] = {list(arguments)!r}\n"
        "from lambda_extension.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('\\n', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["simulate", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_that_only_a_run_needs(arguments: list[str]) -> None:
    assert not loaded_by(*arguments) & {"anyio", "asyncio", "attr", "dotenv", "httpx", "hypercorn", "msgspec", "rich"}


def test_the_version_is_that_of_the_distribution() -> None:
    done = subprocess.run([sys.executable, "-m", "lambda_extension", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("lambda-extension, version ")


@pytest.mark.parametrize("missing", ["click", "rich", "dotenv"])
def test_without_the_extra_the_command_says_what_to_install(missing: str, tmp_path: Path) -> None:
    settings = write(tmp_path / "settings", "A=1\n", mode=0o644)
    script = f"import sys; sys.modules['{missing}'] = None; from lambda_extension.cli import main; main()"
    arguments = ["simulate", STREAM, "--env-file", settings]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"this command needs {missing}" in done.stderr
    assert "pip install 'lambda-extension[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_missing_module_is_not_blamed_on_the_extra() -> None:
    script = "import sys; sys.modules['lambda_extension.cli._options'] = None; "
    script += "from lambda_extension.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "ModuleNotFoundError" in done.stderr
    assert "this command needs" not in done.stderr
