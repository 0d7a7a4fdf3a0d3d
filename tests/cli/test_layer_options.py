"""Layers, folders and zip files, as Lambda lays them under /opt."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command_kit import PLAIN, extension_that, lambda_extension, write

from lambda_extension.cli._layers import LayerError, extension_files, laid_out, unpack


def zipped(path: Path, entries: dict[str, tuple[str, int]]) -> Path:
    """Write a zip file of names, contents and modes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (content, mode) in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16 | 0x20  # the bit of Windows, so that no mode stays none
            archive.writestr(info, content)
    return path


REGULAR = stat.S_IFREG | 0o755
TALKING = PLAIN.replace("case $event", 'echo "$(tool) $WORD"; case $event') % "exit 0"


def test_layers_lie_over_one_another_in_order(tmp_path: Path) -> None:
    write(tmp_path / "one/extensions/talk", TALKING)
    write(tmp_path / "one/bin/tool", "#!/bin/sh\necho of layer one\n")
    tool = ("#!/bin/sh\necho of layer two\n", REGULAR)
    two = zipped(tmp_path / "two.zip", {"bin/": ("", 0o40755), "bin/tool": tool})
    layers = ["--layer", str(tmp_path / "one"), "--layer", str(two)]
    result = lambda_extension("simulate", *layers, "--env", "WORD=said", "--json", "--invocations", "2")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["extensions"] == ["talk"]
    assert result.stderr.count("[talk] of layer two said") == 3


def test_an_extension_of_a_layer_runs_by_itself_alone(tmp_path: Path) -> None:
    write(tmp_path / "layer/extensions/x.py", "print('this Python ran it')\n")
    result = lambda_extension("simulate", "--layer", str(tmp_path / "layer"))
    assert result.exit_code == 1
    assert "this Python ran it" not in result.stdout
    assert "x.py: " in result.stdout


def test_modes_and_links_of_a_zip_are_kept_and_folders_in_extensions_are_none(tmp_path: Path) -> None:
    entries = {
        "extensions/run": ("#!/bin/sh\n", REGULAR),
        "extensions/link": ("../code/real", stat.S_IFLNK | 0o777),
        "extensions/folder/inner": ("", REGULAR),
        "code/real": ("", REGULAR),
        "plain": ("from Windows", 0),
    }
    with laid_out([zipped(tmp_path / "layer.zip", entries)]) as root:
        assert [path.name for path in extension_files(root)] == ["link", "run"]
        assert os.access(root / "extensions/run", os.X_OK)
        assert (root / "extensions/link").resolve() == root / "code/real"
        assert not os.access(root / "plain", os.X_OK) or os.geteuid() == 0
        assert stat.S_IMODE((root / "plain").stat().st_mode) == 0o644
    assert not root.exists()


def test_a_layer_without_extensions_has_none(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    with laid_out([tmp_path / "layer"]) as root:
        assert extension_files(root) == []


@pytest.mark.parametrize(
    "entries",
    [
        {"../evil": ("", REGULAR)},
        {"/evil": ("", REGULAR)},
        {"way": ("..", stat.S_IFLNK | 0o777), "way/evil": ("", REGULAR)},
    ],
    ids=["parent", "absolute", "by a link"],
)
def test_nothing_is_written_outside_of_the_layer(tmp_path: Path, entries: dict[str, tuple[str, int]]) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(LayerError, match="leads out of the layer"):
        unpack(zipped(tmp_path / "layer.zip", entries), into)
    assert not (tmp_path / "evil").exists()


def test_a_huge_layer_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.cli._layers._MOST_BYTES", 10)
    with pytest.raises(LayerError, match="larger than 1 GiB"):
        unpack(zipped(tmp_path / "layer.zip", {"x": ("x" * 11, REGULAR)}), tmp_path)


def test_what_is_no_layer_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "layer.zip", "no zip file")
    result = lambda_extension("simulate", "--layer", path)
    assert result.exit_code == 2
    assert "layer.zip is no layer: File is not a zip file" in " ".join(result.stderr.split())


def test_something_must_run() -> None:
    result = lambda_extension("simulate")
    assert result.exit_code == 2
    assert "name an EXTENSION, a --layer, or a --function that has an internal one" in " ".join(result.stderr.split())


def test_a_function_with_an_internal_extension_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2] / "examples/internal")
    result = lambda_extension("simulate", "--function", "internal:handler", "--env", "PYTHONDONTWRITEBYTECODE=1")
    assert result.exit_code == 0, result.output
    assert "3 of 3 succeeded" in result.stdout


def has_namespaces() -> bool:
    """Tell whether processes can be given a /opt of their own here."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    unshare = shutil.which("unshare")
    return (
        unshare is not None and subprocess.run([unshare, "--mount", *user, "true"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not has_namespaces(), reason="no mount namespaces")
def test_a_layer_really_is_opt_and_the_sandbox_resolves(tmp_path: Path) -> None:
    does = 'print(open("/opt/mine/data").read(), socket.gethostbyname("sandbox.localdomain"), flush=True)'
    text = extension_that(does).replace("import json,", "import socket, json,")
    write(tmp_path / "layer/extensions/x", "#!/usr/bin/env python3" + text)
    write(tmp_path / "layer/mine/data", "of the layer")
    result = lambda_extension("simulate", "--layer", str(tmp_path / "layer"))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("[x] of the layer 127.0.0.") == 4


def test_an_extension_that_leads_nowhere_is_said_to_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "layer/extensions").mkdir(parents=True)
    (tmp_path / "layer/extensions/x").symlink_to("gone")
    result = lambda_extension("simulate", "--layer", str(tmp_path / "layer"))
    assert result.exit_code == 1
    assert "x: error: It cannot be started" in " ".join(result.stdout.split())


def test_an_interpreter_of_lambda_s_image_has_a_stand_in(tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    does = "print(sys.flags.isolated, os.path.basename(sys.executable), flush=True)"
    write(tmp_path / "layer/extensions/x", f"#!/var/lang/bin/python{version} -IS" + extension_that(does))
    result = lambda_extension("simulate", "--layer", str(tmp_path / "layer"))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("[x] 1 python") == 4
    checks = json.loads(lambda_extension("doctor", str(tmp_path / "layer"), "--json").stdout)["checks"]
    assert {check["verdict"] for check in checks} == {"pass"}
    (told,) = (check["reason"] for check in checks if check["name"] == "imports")
    assert told.endswith(" ms")  # in spite of -I


@pytest.mark.parametrize("line", ["#!/var/lang/bin/python9.9", "#!/var/lang/bin/python9.9 -I", "#!/var/lang/bin/node9"])
def test_an_interpreter_that_is_nowhere_here_is_no_fault_of_the_layer(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = write(tmp_path / "shims/python9.9", "#!/bin/sh\nexit 127\n")  # as pyenv has of what is not selected
    monkeypatch.setenv("PATH", f"{Path(shim).parent}:{os.environ['PATH']}")
    path = Path(write(tmp_path / "layer/extensions/x", line + extension_that("pass")))
    result = lambda_extension("doctor", str(tmp_path / "layer"))
    assert result.exit_code == 0, result.output
    assert "skip x, registers and asks for next in time: the interpreter that" in " ".join(result.stdout.split())
    path.chmod(0o644)
    assert "skip" not in lambda_extension("doctor", str(tmp_path / "layer")).stdout
