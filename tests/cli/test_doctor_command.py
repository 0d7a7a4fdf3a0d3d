"""`lambda-extension doctor`."""

from __future__ import annotations

import json
import platform
import re
import stat
import sys
import zipfile
from pathlib import Path

import pytest
from command_kit import PLAIN, ROOT, STREAM, extension_that, lambda_extension, write


def checks(path: str) -> dict[str, tuple[str, str]]:
    result = lambda_extension("doctor", path, "--json")
    found = json.loads(result.stdout)
    assert found["ok"] == (result.exit_code == 0)
    return {check["name"]: (check["verdict"], check["reason"]) for check in found["checks"]}


def test_doctor_finds_nothing_wrong_with_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_SLOW_INIT_MS", "_SLOW_IMPORTS_MS"):  # a busy machine is slow, and no example is to blame for that
        monkeypatch.setattr(f"lambda_extension.cli._doctor._behaviour.{limit}", 60_000)
    result = lambda_extension("doctor", STREAM)
    assert result.exit_code == 0, result.output
    assert "fail" not in result.stdout
    found = checks(str(ROOT / "examples/per_invocation/per_invocation.py"))
    assert {verdict for name, (verdict, _) in found.items() if name != "writes at once"} == {"pass"}
    assert re.match(r"\d+ ms in \d+ modules; slowest: \S+ \d+ ms, ", found["imports"][1])


@pytest.mark.parametrize(
    ("name", "head", "mode", "check", "verdict", "reason"),
    [
        ("two words", "#!/bin/sh\n", 0o755, "name", "fail", "other characters"),
        ("x", "#!/bin/sh\n", 0o644, "executable", "fail", "chmod 755 x"),
        ("x", "#!/bin/sh\n", 0o700, "executable", "fail", "another user"),
        ("x", "", 0o755, "shebang", "fail", "the file is empty"),
        (
            "x",
            "exit\n",
            0o755,
            "shebang",
            "fail",
            "the file has none: the first two bytes must be #!, as in #!/usr/bin/env py",
        ),
        ("x.js", "next()\n", 0o755, "shebang", "fail", "as in #!/usr/bin/env node"),
        ("x", "\ufeff#!/bin/sh\n", 0o755, "shebang", "fail", "a byte order mark"),
        ("x", "#!/bin/sh\r\n", 0o755, "shebang", "fail", "CR LF"),
        ("x", "#!/bin/" + "x" * 600, 0o755, "shebang", "fail", "longer than Linux reads"),
        ("x", "#!\n", 0o755, "shebang", "fail", "names no interpreter"),
        ("x", "#!/no/such\n", 0o755, "shebang", "fail", "/no/such does not exist"),
        ("x", "#!/usr/bin/env nosuch\n", 0o755, "shebang", "fail", "nosuch is not on the search path"),
        ("x", "#!/usr/bin/env -S A=1 sh\n", 0o755, "shebang", "pass", "sh, here"),
        ("x", f"#!{sys.executable}\n", 0o755, "shebang", "warn", "hardly on Lambda"),
        ("x", "#!/bin/sh\necho gone; exit 3\n", 0o755, "registers and asks for next in time", "fail", "line was: gone"),
    ],
)
def test_doctor_names_what_is_wrong_with_a_file(
    tmp_path: Path, name: str, head: str, mode: int, check: str, verdict: str, reason: str
) -> None:
    found = checks(write(tmp_path / name, head, mode=mode))
    assert found[check][0] == verdict, found
    assert reason in found[check][1]


def test_doctor_takes_a_native_binary_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "native"
    path.write_bytes(Path(sys.executable).resolve().read_bytes())
    path.chmod(0o755)
    found = checks(str(path))
    assert found["shebang"] == ("pass", f"a native binary for {platform.machine()}; the function's must be the same")
    assert found["registers and asks for next in time"][0] == "fail"


@pytest.mark.parametrize(
    ("end", "verdict", "reason"),
    [("exit 0", "pass", "of 2000 ms"), ("exit 4", "fail", "exit code 4"), ("sleep 9", "fail", "after 2000 ms")],
)
def test_doctor_watches_how_an_extension_ends(tmp_path: Path, end: str, verdict: str, reason: str) -> None:
    found = checks(write(tmp_path / "plain.sh", PLAIN % end))
    assert found["imports"][0] == "skip"
    assert found["imports"][1].startswith("it told none: it is no Python program, or ")
    assert found["shuts down in time"][0] == verdict, found
    assert reason in found["shuts down in time"][1]
    assert ("rule late-at-shutdown" in found) == (end == "sleep 9")


def test_doctor_finds_an_extension_that_unknown_events_kill(tmp_path: Path) -> None:
    fragile = """import anyio
from lambda_extension import open_telemetry
from lambda_extension.telemetry import UnknownEvent

async def main():
    async with open_telemetry() as telemetry:
        async for event in telemetry:
            assert not isinstance(event, UnknownEvent)

anyio.run(main)
"""
    found = checks(write(tmp_path / "fragile.py", fragile))
    assert found["shuts down in time"][0] == "pass"
    verdict, reason = found["survives a freeze of hours and unknown events"]
    assert verdict == "fail"
    assert "the next invocation ended with" in reason


def test_doctor_warns_of_a_slow_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.cli._doctor._behaviour._SLOW_INIT_MS", 1)
    monkeypatch.setattr("lambda_extension.cli._doctor._behaviour._SLOW_IMPORTS_MS", 1)
    found = checks(STREAM)
    assert found["registers and asks for next in time"][0] == "warn"
    assert found["imports"][0] == "warn"


# -- what an extension does


def test_doctor_warns_of_an_extension_that_is_killed_at_the_end(tmp_path: Path) -> None:
    text = extension_that("pass").replace('"INVOKE", "SHUTDOWN"', '"INVOKE"')
    found = checks(write(tmp_path / "x.py", "#!/usr/bin/env python3" + text))
    assert found["registers for SHUTDOWN"][0] == "warn"
    assert "is lost" in found["registers for SHUTDOWN"][1]


@pytest.mark.parametrize(("flush", "verdict"), [(False, "warn"), (True, "pass")])
def test_doctor_finds_output_that_is_kept_until_exit(tmp_path: Path, flush: bool, verdict: str) -> None:
    text = extension_that(f'print(event["eventType"], flush={flush})')
    found = checks(write(tmp_path / "x.py", "#!/usr/bin/env python3" + text))
    assert found["writes at once"][0] == verdict
    assert ("PYTHONUNBUFFERED=1" in found["writes at once"][1]) is not flush


def test_doctor_says_that_a_script_printed_nothing(tmp_path: Path) -> None:
    found = checks(write(tmp_path / "x", "#!/bin/sh\nexit 0\n"))
    verdict, reason = found["registers and asks for next in time"]
    assert verdict == "fail"
    assert "It printed nothing: let it say what it does" in reason


@pytest.mark.parametrize(
    ("script", "begins", "ends"),
    [
        ("next()\n", "It cannot be started: ", "such as #!/usr/bin/env python3."),
        ("#!/bin/sh\necho gone; exit 3\n", "It exited with code 3 before it registered. ", "Its last line was: gone"),
        (
            f"#!{sys.executable}\nraise SystemExit('two words')\n",
            "It exited with code 1 ",
            "Its last line was: two words",
        ),
    ],
)
def test_doctor_says_once_why_an_extension_never_registered(
    tmp_path: Path, script: str, begins: str, ends: str
) -> None:
    """And nothing of how it exited, or what it printed, where it never ran."""
    _, reason = checks(write(tmp_path / "x", script))["registers and asks for next in time"]
    assert reason.startswith(begins), reason
    assert reason.endswith(ends), reason
    assert reason.count("exited") == begins.count("exited"), reason


def test_strict_lets_warnings_fail(tmp_path: Path) -> None:
    path = write(tmp_path / "x", f"#!{sys.executable}" + extension_that("pass"))
    assert lambda_extension("doctor", path).exit_code == 0
    assert lambda_extension("doctor", path, "--strict").exit_code == 1


def test_doctor_takes_a_name_with_dots_and_says_what_to_register_under(tmp_path: Path) -> None:
    found = checks(write(tmp_path / "my.ext.v2", "#!/usr/bin/env python3" + extension_that("pass")))
    assert found["name"] == ("pass", "my.ext.v2; it must register under this, suffix included")
    assert found["registers and asks for next in time"][0] == "pass"


# -- layers


GOOD = "#!/usr/bin/env python3" + extension_that("pass", first="import mine")
PATHED = GOOD.replace("import json,", "import sys; sys.path.insert(0, sys.path[0] + '/../mine'); import json,")


def layer(folder: Path, files: dict[str, str | bytes]) -> str:
    """Write a layer that works, with further files or others in place of its own; an empty text leaves one out."""
    for name, text in {"extensions/x": PATHED, "mine/mine.py": "", **files}.items():
        if text or name == "mine/mine.py":
            write(folder / name, text, mode=0o755 if name.startswith("extensions/") else 0o644)
    return str(folder)


def test_doctor_finds_nothing_wrong_with_a_good_layer(tmp_path: Path) -> None:
    found = checks(layer(tmp_path / "layer", {}))
    assert {verdict for verdict, _ in found.values()} == {"pass"}, found
    with zipfile.ZipFile(tmp_path / "layer.zip", "w") as archive:
        for path in sorted((tmp_path / "layer").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "layer"))
    found = checks(str(tmp_path / "layer.zip"))
    assert {verdict for verdict, _ in found.values()} == {"pass"}, found
    assert "x, executable: mode 755" in lambda_extension("doctor", str(tmp_path / "layer.zip")).stdout


def elf(machine: int) -> bytes:
    return b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little") + bytes(64)


HERE = 62 if platform.machine() == "x86_64" else 183
OTHER = 183 + 62 - HERE
THIS = f"{sys.version_info.major}{sys.version_info.minor}"


@pytest.mark.parametrize("name", ["mine/a.so", "mine/python/bin/python3.13", "extensions/native"])
def test_a_good_layer_for_another_processor_is_looked_at_and_not_run(tmp_path: Path, name: str) -> None:
    made = layer(tmp_path / "layer", {name: elf(OTHER)})
    found = checks(made)
    assert found["architecture of compiled modules"][0] == "warn"
    assert found["registers and asks for next in time"][0] == "skip"
    assert "on such a machine, it can be run" in found["registers and asks for next in time"][1]
    assert {verdict for verdict, _ in found.values()} == {"pass", "warn", "skip"}


def test_doctor_does_not_run_a_program_for_another_processor(tmp_path: Path) -> None:
    found = checks(write(tmp_path / "native", elf(OTHER)))
    assert {name: verdict for name, (verdict, _) in found.items() if verdict != "pass"} == {
        "registers and asks for next in time": "skip"
    }


INTERPRETER = "mine/python/bin/python3.13"


@pytest.mark.parametrize(
    ("mode", "verdict", "words"),
    [
        (0o755, "pass", "of the layer itself"),
        (0o644, "fail", "is in the layer, and cannot be executed"),
        (None, "fail", "is not in the layer"),
    ],
)
def test_doctor_looks_for_an_interpreter_of_the_layer_s_own(
    tmp_path: Path, mode: int | None, verdict: str, words: str
) -> None:
    root = Path(layer(tmp_path / "layer", {"extensions/x": f"#!/opt/{INTERPRETER} -I\n"}))
    if mode is not None:
        write(root / INTERPRETER, elf(OTHER), mode=mode)  # so that it is not run
    found = checks(str(root))["shebang"]
    assert (found[0], words in found[1]) == (verdict, True), found


@pytest.mark.parametrize(
    ("files", "check", "verdict", "reason"),
    [
        ({"extensions/x": "", "bin/x": GOOD}, "layout", "fail", "there is no extensions/ with a file in it"),
        ({"extensions/x": "", "my/extensions/x": GOOD}, "layout", "fail", "zip what is in my/, not my/ itself"),
        ({"extensions/x": "", "extensions/x/x": GOOD}, "layout", "fail", "extensions/x/x lies one level too deep"),
        ({"extensions/README.md": "words"}, "nothing else in extensions/", "fail", "README.md too"),
        ({"extensions/.hidden": "words"}, "nothing else in extensions/", "fail", ".hidden too"),
        ({"extensions/x": "\ufeff" + GOOD}, "shebang", "fail", "save the file without one"),
        ({"extensions/x": GOOD.replace("\n", "\r\n", 1)}, "shebang", "fail", "save the file with LF"),
        ({"extensions/x": elf(HERE)}, "shebang", "pass", "a native binary for"),
        ({"extensions/x": b"\xcf\xfa\xed\xfe" + bytes(40)}, "shebang", "fail", "for macOS: Lambda runs Linux"),
        ({"extensions/x": "#!/var/lang/bin/python3.13\n"}, "shebang", "pass", "of Lambda's image"),
        ({"extensions/x": GOOD}, "packages", "fail", "which lies in mine/, where an extension's interpreter"),
        ({"extensions/x": GOOD, "mine/mine.py": "import click"}, "packages", "fail", "lies in mine/"),
        ({"mine/mine.py": "import click"}, "packages", "fail", "imports click, which the layer does not have"),
        (
            {"extensions/x": GOOD.replace("import mine", "import her"), "python/her/__init__.py": "#"},
            "packages",
            "fail",
            "on the runtime's search path alone",
        ),
        ({"mine/her-1.dist-info/METADATA": "x"}, "packages", "pass", "installed in mine"),
        ({"mine/a.so": elf(OTHER)}, "architecture of compiled modules", "warn", "not to be run here"),
        ({"mine/a.so": elf(HERE)}, "architecture of compiled modules", "pass", "the function's must be the same"),
        (
            {"mine/a.so": elf(HERE), "mine/b.so": elf(OTHER)},
            "architecture of compiled modules",
            "fail",
            "one layer for",
        ),
        ({"mine/a.so": b"\xcf\xfa\xed\xfe" + bytes(40)}, "architecture of compiled modules", "fail", "for macOS"),
        ({"mine/a.pyd": b"MZ" + bytes(40)}, "architecture of compiled modules", "fail", "for Windows"),
        ({"mine/a-linux-musl.so": elf(HERE)}, "architecture of compiled modules", "fail", "Alpine's libc"),
        ({"mine/a.so": "INPUT(libx)"}, "architecture of compiled modules", "pass", "there are none"),
        ({"mine/a.so": elf(62), "mine/b.so": elf(500)}, "architecture of compiled modules", "fail", "machine 500"),
        ({f"mine/a.cpython-{THIS}-linux.so": elf(HERE)}, "Python of compiled modules", "pass", "must be the same"),
        (
            {"extensions/x": elf(HERE), f"mine/a.cpython-{THIS}-linux.so": elf(HERE)},
            "Python of compiled modules",
            "pass",
            "must be the same",
        ),
        ({"mine/a.cpython-38-linux.so": elf(HERE)}, "Python of compiled modules", "warn", "is for 3.8, and this is"),
        (
            {"mine/a.cpython-38-linux.so": elf(HERE), "mine/b.cpython-39-linux.so": elf(HERE)},
            "Python of compiled modules",
            "fail",
            "for 3.8 and mine/b.cpython-39-linux.so is for 3.9",
        ),
        (
            {"python/lib/python3.9/site-packages/her-1.dist-info/METADATA": "x"},
            "Python of compiled modules",
            "warn",
            "python/lib/python3.9/site-packages is for 3.9",
        ),
        (
            {"extensions/x": "#!/var/lang/bin/python3.13\n", "mine/a.cpython-312-linux.so": elf(HERE)},
            "Python of compiled modules",
            "fail",
            "the first line of the extension names 3.13",
        ),
    ],
)
def test_doctor_names_what_is_wrong_with_a_layer(
    tmp_path: Path, files: dict[str, str | bytes], check: str, verdict: str, reason: str
) -> None:
    found = checks(layer(tmp_path / "layer", files))
    assert found[check][0] == verdict, found
    assert reason in found[check][1]


def test_doctor_finds_links_that_lead_nowhere_on_lambda(tmp_path: Path) -> None:
    path = layer(tmp_path / "layer", {})
    links = {"inside": "../mine/mine.py", "opt": "/opt/mine/mine.py", "outside": "/etc/hosts", "dangling": "nothing"}
    for name, target in links.items():
        (tmp_path / "layer/mine" / name).symlink_to(target)
    verdict, reason = checks(path)["links"]
    assert verdict == "fail"
    assert reason.startswith("mine/dangling to nothing, mine/outside to /etc/hosts will not be there")
    (tmp_path / "layer/extensions/x").unlink()
    (tmp_path / "layer/extensions/x").symlink_to("../gone")
    write(tmp_path / f"layer/mine/a.cpython-{THIS}-linux.so", elf(HERE))
    assert "it is a link to ../gone, which is not there" in checks(path)["executable"][1]


def test_doctor_finds_a_layer_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = layer(tmp_path / "layer", {"mine/data": "x" * 2000})
    monkeypatch.setattr("lambda_extension.cli._doctor._layer._MOST_UNZIPPED", 1000)
    assert checks(path)["size"][0] == "fail"
    monkeypatch.undo()
    with zipfile.ZipFile(tmp_path / "layer.zip", "w") as archive:
        archive.write(tmp_path / "layer/mine/data", "data")
    monkeypatch.setattr("lambda_extension.cli._doctor._layer._MOST_UPLOADED", 1000)
    verdict, reason = checks(str(tmp_path / "layer.zip"))["size"]
    assert verdict == "warn"
    assert "by way of S3" in reason


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doctor_finds_a_missing_bit_and_one_name_twice_in_a_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "layer.zip", "w") as archive:
        for mode in (0o755, 0o644):
            info = zipfile.ZipInfo("extensions/x")
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, "#!/bin/sh\n")
    found = checks(str(tmp_path / "layer.zip"))
    assert found["one file of a name"][0] == "fail"
    assert "extensions/x is in the zip file more than once" in found["one file of a name"][1]
    assert found["executable"][0] == "fail"
    assert "registers and asks for next in time" not in found


def test_doctor_finds_two_extensions_that_register_under_one_name(tmp_path: Path) -> None:
    other = PATHED.replace("os.path.basename(sys.argv[0])", "'x'")
    result = lambda_extension("doctor", layer(tmp_path / "layer", {"extensions/y": other}))
    assert result.exit_code == 1
    assert "y, registers and asks for next in time: " in result.stdout


def test_doctor_finds_a_launcher_whose_program_registers_under_its_own_name(tmp_path: Path) -> None:
    launcher = '#!/bin/sh\nexec python3 "$(dirname "$0")/../mine/x.py"\n'
    files: dict[str, str | bytes] = {"extensions/x": launcher, "mine/x.py": extension_that("pass")}
    verdict, reason = checks(layer(tmp_path / "layer", files))["registers and asks for next in time"]
    assert verdict == "fail"
    assert "It registered as 'x.py', which is no file name of an extension; expected is 'x'." in reason


def test_doctor_refuses_what_is_no_layer(tmp_path: Path) -> None:
    result = lambda_extension("doctor", write(tmp_path / "layer.zip", "x"))
    assert result.exit_code == 2
    assert "layer.zip is no layer" in " ".join(result.stderr.split())
