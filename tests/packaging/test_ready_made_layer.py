"""The ready-made extension packaged without a line of code, and several extensions in one layer."""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from http_servers import QuietHandler, serving
from lambda_extension.cli._commands import commands
from lambda_extension.packaging import _target
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._layer import Layer, Plan, build
from lambda_extension.packaging._ready_made import extras_for, trial_environment, with_destinations
from lambda_extension.packaging._target import Target
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "x86_64")
SCRIPT = """\
import anyio
from lambda_extension import open_telemetry

async def main():
    async with open_telemetry() as telemetry:
        async for event in telemetry:
            if event.type == "function":
                print("notes got", event.record)

anyio.run(main)
"""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Layer]:
    """Two extensions, the ready-made one without hypercorn."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "notes.py").write_text(SCRIPT)
    target = Target(HERE, ARCH)  # type: ignore[arg-type]
    environment = with_destinations(["loki", "otlp"], {"LAMBDA_EXTENSION_REDACT": "email"})
    ready = Plan(
        script=None,
        name="ship",
        target=target,
        environment=environment,
        extras=extras_for(environment),
        lean=True,
        sources=False,
    )
    (folder / "layer").mkdir()
    build(Plan(script=folder / "notes.py", name="notes", target=target), folder / "layer", folder / "1")
    return folder / "layer", build(ready, folder / "layer", folder / "2")


def spec(root: Path, name: str, **variables: str) -> ExtensionSpec:
    command = [sys.executable, "-IuS", str(root / "extensions" / name)]
    return ExtensionSpec(command, name=name, environment=variables)


@pytest.fixture
def backend() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    requests: list[tuple[str, str]] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Encoding"] == "gzip"
            requests.append((self.path, self.read_body().decode()))
            self.answer()

    with serving(Handler) as url:
        yield url, requests


async def test_a_layer_without_code_ships_to_several_destinations(
    layer: tuple[Path, Layer], backend: tuple[str, list[tuple[str, str]]]
) -> None:
    url, requests = backend
    ready = spec(layer[0], "ship", LAMBDA_EXTENSION_LOKI_URL=url, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    function = ScriptedFunction(log_lines=["order 17 of jane@shop.example"])
    async with Simulator(extensions=[ready, spec(layer[0], "notes")], function=function) as lambda_:
        assert (await lambda_.invoke({})).status == "success"
    assert {path for path, _ in requests} == {"/loki/api/v1/push", "/v1/traces", "/v1/logs", "/v1/metrics"}
    assert any("order 17 of [redacted]" in body for path, body in requests if path.startswith("/loki"))
    assert not any("jane@shop" in body for path, body in requests if path.startswith("/loki"))
    # The other one in the layer does its own work, and both end well.
    said = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who="notes")]
    assert "notes got order 17 of jane@shop.example" in said
    for name in ("ship", "notes"):
        assert [entry.detail["code"] for entry in lambda_.record.find("process", "exit", who=name)] == [0]


async def test_what_is_missing_is_said_by_the_layer(layer: tuple[Path, Layer]) -> None:
    async with Simulator(extensions=[spec(layer[0], "ship")]) as lambda_:
        assert (await lambda_.invoke({})).error_type == "Extension.InitError"
    said = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who="ship")]
    assert said[0].startswith("LAMBDA_EXTENSION_LOKI_URL is not set: it must be a URL such as https://logs.example.com")
    assert not any("Traceback" in line for line in said)


def test_each_extension_of_a_layer_has_a_folder_of_its_own(layer: tuple[Path, Layer]) -> None:
    root, made = layer
    assert sorted(path.name for path in (root / "extensions").iterdir()) == ["notes", "ship"]
    assert (root / "notes" / "hypercorn").is_dir()
    assert not (root / "ship" / "hypercorn").exists()
    assert {size.name for size in made.sizes} >= {"httptools", "tenacity"}
    assert not {"boto3", "click", "hypercorn", "opentelemetry-sdk"} & {size.name for size in made.sizes}
    assert made.registration.events == ("INVOKE", "SHUTDOWN")
    assert not (root / "ship" / "lambda_extension" / "cli").exists()


def test_two_of_one_name_are_refused(layer: tuple[Path, Layer], tmp_path: Path) -> None:
    again = Plan(script=None, name="notes", target=Target(HERE, ARCH))  # type: ignore[arg-type]
    with pytest.raises(PackagingError, match="two extensions are called 'notes'"):
        build(again, layer[0], tmp_path)


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"LAMBDA_EXTENSION_LEVEL": "loud"}, "LAMBDA_EXTENSION_LEVEL must be a level"),
        ({"LAMBDA_EXTENSION_LOKI_LABEL": "a=b"}, "perhaps it is LAMBDA_EXTENSION_LOKI_LABELS"),
        ({"LAMBDA_EXTENSION_DESTINATIONS": "s3"}, "is what --ship sets: leave it out of --env"),
    ],
)
def test_a_wrong_default_is_found_while_packaging(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(PackagingError, match=problem):
        with_destinations(["loki"], environment)


@pytest.mark.parametrize(
    ("destinations", "extras"),
    [
        ("loki,otlp", {"delivery"}),
        ("s3,jetstream,loki-2", {"delivery", "aws", "nats"}),
        ("kafka", {"delivery", "kafka"}),
    ],
)
def test_destinations_bring_the_extras_that_they_need(destinations: str, extras: set[str]) -> None:
    assert extras_for({"LAMBDA_EXTENSION_DESTINATIONS": destinations}) == extras


def test_a_trial_reaches_nobody_and_fetches_no_secret() -> None:
    given = {
        "LAMBDA_EXTENSION_LOKI_URL": "https://logs.example.com",
        "LAMBDA_EXTENSION_LOKI_AUTHORIZATION": "ssm:/token",
        "LAMBDA_EXTENSION_LOKI_LABELS": "secretsmanager:labels",
        "LAMBDA_EXTENSION_LOKI_TENANT": "acme",
        "LAMBDA_EXTENSION_LOKI_SPILL": "durable",
    }
    found = trial_environment(with_destinations(["loki", "s3"], given))
    assert {name.removeprefix("LAMBDA_EXTENSION_"): text for name, text in found.items()} == {
        "LOKI_URL": "http://127.0.0.1:9",
        "LOKI_AUTHORIZATION": "",
        "LOKI_LABELS": "",
        "LOKI_SPILL": "off",
        "S3_BUCKET": "trial",
        "S3_SPILL": "off",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "trial",
        "AWS_SECRET_ACCESS_KEY": "trial",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def package(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(commands, ["package", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_it_is_packaged_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.py").write_text(SCRIPT)
    ship = ["--ship", "loki,loki-eu", "--ship", "otlp", "--python", HERE]
    result = package("notes.py", *ship, "--env", "LAMBDA_EXTENSION_LOKI_URL=https://logs.example.com", "-o", "both.zip",
                     "--lock", "both.lock")  # fmt: skip
    with zipfile.ZipFile("both.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("extensions/")]
        launcher = archive.read("extensions/ship").decode()
    assert names == ["extensions/notes", "extensions/ship"]
    assert "setdefault('LAMBDA_EXTENSION_DESTINATIONS', 'loki,loki-eu,otlp')" in launcher
    assert "events=['INVOKE', 'SHUTDOWN'], account_id=True" in launcher
    output = " ".join(result.output.split())
    for name in ("notes", "ship"):
        assert f"Tried in the simulator on this machine: {name} registered" in output
    assert "both.zip: ship for Python" in output
    assert "it imports trio" not in output  # httpcore only tries to
    locked = Path("both.lock").read_text().splitlines()
    assert locked == sorted(set(locked))
    assert any(line.startswith("tenacity==") for line in locked)


def test_what_is_asked_for_wrongly_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_target.Target, "find_python", lambda *_: None)
    (tmp_path / "notes.py").write_text(SCRIPT)
    for arguments, code, problem in (
        ([], 2, "name a SCRIPT, or a destination by --ship"),
        (["--ship", ","], 2, "it names nothing"),
        (["--ship", "lokki"], 1, "'lokki', which is no destination: perhaps loki"),
        (["notes.py", "--ship", "loki", "--name", "x"], 1, "--name names one extension"),
    ):
        assert problem in " ".join(package(*arguments, code=code).output.split())


def test_the_command_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    monkeypatch.setenv("LAMBDA_EXTENSION_DESTINATIONS", "embedded-metrics")
    result: Any = CliRunner().invoke(commands, ["ship"])
    assert result.exit_code == 1
    assert "AWS_LAMBDA_RUNTIME_API is not set" in result.output
    assert json.dumps(result.output).count("\\n") == 1
