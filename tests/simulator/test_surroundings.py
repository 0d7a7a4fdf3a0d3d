"""What processes find around them: a /tmp of their own, /opt, a host named sandbox; and what is done without these."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from simulator_kit import script

from lambda_extension.simulator import ExtensionSpec, Simulator, hosts_line
from lambda_extension.simulator._platform import _listeners, _surroundings
from lambda_extension.simulator._platform._executables import named_paths
from lambda_extension.simulator._platform._listeners import listeners
from lambda_extension.simulator._platform._surroundings import open_surroundings

LOOK = """
import json, os, pathlib, socket, sys
def resolved(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None
tmp = pathlib.Path(os.environ.get("TMPDIR", "/tmp"))
print(json.dumps({
    "tmp": sorted(entry.name for entry in tmp.iterdir()), "TMPDIR": os.environ.get("TMPDIR"), "cwd": os.getcwd(),
    "uid": os.getuid(), "argv0": sys.argv[0], "hosts": [resolved("sandbox"), resolved("sandbox.localdomain")],
    "opt": sorted(os.listdir("/opt")), "PATH": os.environ["PATH"],
}))
(tmp / "left behind").write_text("x")
"""


async def looked(path: Path, **settings: object) -> dict[str, Any]:
    """Start an extension twice in one simulation, the second time after a reset, and return what it last saw."""
    async with Simulator([path], **settings) as lambda_:  # type: ignore[arg-type]
        await lambda_.invoke()
    lines = [entry.detail["text"] for entry in lambda_.record.find("output", who=path.name)]
    seen: dict[str, object] = json.loads(lines[-1])
    seen["first"] = json.loads(lines[0])["tmp"]
    return seen


def gone(path: str) -> bool:
    return not Path(path).exists()


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def namespaces() -> bool:
    async def probe() -> bool:
        async with open_surroundings([(["/bin/true"], {})], opt=None) as found:
            return found.mounted

    return anyio.run(probe)


needs_namespaces = pytest.mark.skipif(
    not os.environ.get("NAMESPACES_REQUIRED") and not namespaces(), reason="no mount namespaces here"
)


@needs_namespaces
async def test_tmp_is_of_the_simulation_and_starts_empty(tmp_path: Path) -> None:
    path = script(tmp_path / "look", LOOK)
    # The script, the interpreter and this checkout may lie under the host's /tmp.
    places = (path, Path(sys.executable), Path(__file__))
    entries = {parent.name for place in places for parent in place.parents if parent.parent == Path("/tmp")}
    for _ in range(2):
        seen = await looked(path)
        # What the command line names under the host's /tmp is still there, and nothing else.
        assert set(seen["first"]) <= entries
        assert set(seen["tmp"]) - entries == {"left behind"}  # through a reset
        assert seen["TMPDIR"] is None
    assert gone("/tmp/left behind")
    assert seen["cwd"] == str(Path.cwd())
    assert seen["uid"] == os.getuid()


@needs_namespaces
async def test_sandbox_resolves_to_an_address_that_is_not_127_0_0_1(tmp_path: Path) -> None:
    seen = await looked(script(tmp_path / "look", LOOK))
    assert seen["hosts"] == ["127.0.0.2", "127.0.0.2"]


@needs_namespaces
async def test_opt_is_what_the_layers_make(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "extensions").mkdir(parents=True)
    seen = await looked(script(layer / "extensions/look", LOOK), opt=layer)
    assert seen["opt"] == ["extensions"]
    assert seen["argv0"] == "/opt/extensions/look"
    assert str(seen["PATH"]).startswith("/opt/bin:")


@needs_namespaces
async def test_the_host_keeps_its_mounts(tmp_path: Path) -> None:
    before = mounts()
    await looked(script(tmp_path / "look", LOOK))
    assert mounts() == before


@needs_namespaces
async def test_variables_of_an_extension_alone_count_as_well(tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = "import os, pathlib\npathlib.Path(os.environ['OUT']).write_text('x')"
    spec = ExtensionSpec([sys.executable, "-c", source], name="x", environment={"OUT": str(out)})
    async with Simulator([spec]) as lambda_:
        await lambda_.ready()
    assert out.read_text() == "x"


@pytest.mark.parametrize("why", ["no nsenter", "no rights", "no time", "another system"])
async def test_without_a_namespace_tmpdir_leads_there(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no nsenter":
        monkeypatch.setattr("shutil.which", lambda name, **_: None if name == "nsenter" else f"/bin/{name}")
    elif why in {"no rights", "no time"}:
        holder = tmp_path / "holder.py"
        wait = "import time; time.sleep(60)"
        holder.write_text(wait if why == "no time" else "import sys; sys.exit('unshare: Operation not permitted')")
        monkeypatch.setattr(_surroundings, "_HOLDER", holder)
        monkeypatch.setattr(_surroundings, "_PATIENCE", 0.2 if why == "no time" else 5.0)
    else:
        monkeypatch.setattr("sys.platform", "darwin")
    layer = tmp_path / "layer"
    layer.mkdir()
    seen = await looked(script(tmp_path / "look", LOOK), opt=layer)
    assert seen["first"] == []
    assert seen["tmp"] == ["left behind"]
    assert seen["TMPDIR"]
    assert gone(str(seen["TMPDIR"]))
    assert str(seen["PATH"]).startswith(f"{layer}/bin:")


async def test_who_is_cancelled_while_it_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = tmp_path / "holder.py"
    holder.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(_surroundings, "_HOLDER", holder)
    with anyio.move_on_after(0.2) as scope:
        async with open_surroundings([(["x"], {})], opt=None):
            pytest.fail("it cannot be entered")
    assert scope.cancelled_caught


@needs_namespaces
async def test_files_of_tmp_that_are_named_stay_visible_too(tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        named = {"A_FILE": file.name, "NOTHING": "/tmp/no-such-entry/x:relative"}
        seen = await looked(script(tmp_path / "look", LOOK), environment=named)
        assert Path(file.name).name in seen["first"]
    assert "no-such-entry" not in seen["first"]


def test_paths_that_are_named() -> None:
    assert named_paths(["sh", "/a"], {"X": "/b:c:/d", "Y": "e"}) == {Path("/a"), Path("/b"), Path("/d")}
    assert named_paths(["/no/such/file"], {}) == {Path("/no/such/file")}


async def test_python_handlers_find_what_layers_bring(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "python").mkdir(parents=True)
    (layer / "python" / "brought.py").write_text("def handler(event, context):\n    return 'from the layer'\n")
    async with Simulator(function="brought:handler", opt=layer, timeout=10) as lambda_:
        assert (await lambda_.invoke()).payload == "from the layer"


def test_where_the_system_does_not_tell_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listeners, "_TABLES", {Path("/no/such/table"): socket.AF_INET})
    assert listeners(80) == set()


async def test_it_says_why_there_is_no_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    async with open_surroundings([(["x"], {})], opt=None) as found:
        assert "nsenter" in found.why_not
        assert found.command(["x"]) == ["x"]


async def test_without_processes_nothing_is_started() -> None:
    async with open_surroundings([], opt=None) as found:
        assert (found.mounted, found.why_not) == (False, "")
        assert found.tmp.is_dir()
    assert not found.tmp.exists()


@pytest.mark.parametrize(
    ("answer", "address"), [("127.0.0.2", "127.0.0.2"), ("203.0.113.7", None)], ids=["hosts file", "wildcard"]
)
async def test_a_name_that_leads_off_this_machine_is_not_believed(
    answer: str, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [(2, 1, 6, "", (answer, 0))])
    async with open_surroundings([(["x"], {})], opt=None) as found:
        assert found.address == address


def test_the_line_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert hosts_line() == "127.0.0.2 sandbox.localdomain sandbox"
    monkeypatch.setattr("sys.platform", "darwin")
    assert hosts_line() == "127.0.0.1 sandbox.localdomain sandbox"


@needs_namespaces
@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root can be somebody else")
def test_users_who_are_not_root_have_a_namespace_too() -> None:
    """The programs that make and enter it, run by another user, who stays who he is."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("no Python that another user may run")
    holder = _surroundings._HOLDER.read_text()
    order = {"user": True, "cwd": "/usr", "mounts": [["/var", "/tmp"]]}
    somebody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*somebody, python, "-I", "-S", "-c", holder, json.dumps(order)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ok\n"
        enter = ["nsenter", f"--target={process.pid}", "--mount", "--user", "--preserve-credentials", "--wd", "--"]
        look = ["sh", "-c", "id -u; pwd; ls -d /tmp/lib"]
        done = subprocess.run([*somebody, *enter, *look], capture_output=True, text=True, timeout=20)
        process.stdin.close()
    assert done.stdout.split() == ["65534", "/usr", "/tmp/lib"]
