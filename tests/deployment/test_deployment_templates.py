"""What deploys a layer, by each tool as far as it goes without an account: linted, synthesized, checked by its schema.

The tools are those of `nox -s deployment`; a test whose tool is missing is skipped, or fails where it must not be.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lambda_extension.cli._commands import commands

EXAMPLES = Path(__file__).parents[2] / "examples"
TEMPLATES = EXAMPLES / "deployment"
OF_EXAMPLES = sorted(path for path in EXAMPLES.rglob("*.yaml") if TEMPLATES not in path.parents)
# What an extension calls beside its function's log.
GRANTED = {"firehose.yaml": "firehose:PutRecordBatch", "s3.yaml": "s3:PutObject"}
KINDS = ["stream", "per-invocation", "delivery", "otlp", "cache", "internal"]
REQUIRED = bool(os.environ.get("DEPLOYMENT_REQUIRED"))


def need(present: object, what: str) -> None:
    if not present:
        assert not REQUIRED, f"{what} is not here"
        pytest.skip(f"{what} is not here: nox -s deployment has it")


def need_module(name: str) -> None:
    need(find_spec(name), name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of `init` with a zip file as its layer, for a template to be put into."""
    return made(tmp_path, "stream", monkeypatch)


def made(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(commands, ["init", "my-extension", "--template", kind])
    assert result.exit_code == 0, result.output
    project = folder / "my-extension"
    with zipfile.ZipFile(project / "my-extension.zip", "w") as archive:
        archive.writestr("extensions/my-extension", "#!/bin/sh\n")
    return project


def run(*command: str, cwd: Path, **variables: str) -> str:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def lint(*templates: Path, ignored: str = "") -> None:
    command: tuple[str, ...] = (
        sys.executable,
        "-c",
        "from cfnlint.runner import main; main()",
        "--regions",
        "us-east-1",
    )
    command += ("--ignore-checks", ignored, "--") if ignored else ("--",)
    run(*command, *map(str, templates), cwd=templates[0].parent)


def grants(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield what each statement of a role's policies allows, and on what."""
    if isinstance(tree, dict):
        if tree.get("Effect") == "Allow" and "Resource" in tree:
            actions = tree["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                yield action, tree["Resource"]
        for child in tree.values():
            yield from grants(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from grants(child)


def check_grants(template: dict[str, Any], more: str | None = None) -> None:
    """The function may write its log, on that one log group alone, and call one thing more if it is said."""
    found = list(grants(template["Resources"]))
    assert {action for action, _ in found} == {"logs:CreateLogStream", "logs:PutLogEvents"} | (
        {more} if more else set()
    )
    for action, resource in found:
        (reference,) = resource
        assert reference == ("Fn::Sub" if action == more else "Fn::GetAtt"), found
    assert "ManagedPolicyArns" not in json.dumps(template, default=str)


def test_what_init_writes_is_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_module("cfnlint")
    lint(*(made(tmp_path / kind, kind, monkeypatch) / "template.yaml" for kind in KINDS))


@pytest.mark.parametrize("tool", ["sam", "cloudformation"])
def test_a_template_is_clean_and_allows_the_log_alone(tool: str) -> None:
    need_module("cfnlint")
    from cfnlint.decode import cfn_yaml  # not in every environment

    template = TEMPLATES / tool / "template.yaml"
    lint(template)
    check_grants(cfn_yaml.load(str(template)))


def test_the_templates_of_the_examples_are_clean() -> None:
    need_module("cfnlint")
    managed = EXAMPLES / "managed_instances" / "template.yaml"
    lint(*(template for template in OF_EXAMPLES if template != managed))
    lint(managed, ignored="E1010")  # cfn-lint does not know that SAM gives capacity providers an Arn


@pytest.mark.parametrize("template", OF_EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_function_of_an_example_may_do_what_its_extension_needs_and_nothing_else(template: Path) -> None:
    need_module("cfnlint")
    from cfnlint.decode import cfn_yaml  # not in every environment

    check_grants(cfn_yaml.load(str(template)), GRANTED.get(template.name))


@pytest.mark.parametrize("example", ["audit", "starlette_app"])
def test_an_example_is_packaged_as_its_readme_says(example: str, tmp_path: Path) -> None:
    """One with an extra of the library's, one with a package of somebody else, and work before it registers."""
    need_module("cfnlint")  # in that session once, not on each Python
    copy = Path(shutil.copytree(EXAMPLES / example, tmp_path / example))
    (line,) = re.findall(r"^ {4}lambda-extension (package .+)$", (copy / "README.md").read_text(), re.MULTILINE)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = run(sys.executable, "-m", "lambda_extension", *shlex.split(line.replace("3.13", python)), cwd=copy)
    assert "Tried in the simulator" in said
    (layer,) = copy.glob("*.zip")
    assert f"ContentUri: {layer.name}\n" in (copy / "template.yaml").read_text()


@pytest.mark.timeout(400)  # it unpacks some hundred megabytes first
def test_cdk_makes_a_template(project: Path) -> None:
    need_module("aws_cdk")
    need(shutil.which("node"), "node")
    need_module("cfnlint")
    shutil.copy(TEMPLATES / "cdk" / "app.py", project)
    (command,) = json.loads((TEMPLATES / "cdk" / "cdk.json").read_text()).values()
    context = json.dumps({"organization": "o-a1b2c3d4e5"})
    run(sys.executable, *command.split()[1:], cwd=project, CDK_OUTDIR=str(project / "out"), CDK_CONTEXT_JSON=context)
    made_template = project / "out" / "my-extension.template.json"
    lint(made_template, ignored="W3005")  # CDK writes dependencies that are there already
    template = json.loads(made_template.read_text())
    check_grants(template)
    kinds = [resource["Type"] for resource in template["Resources"].values()]
    assert kinds.count("AWS::Lambda::LayerVersionPermission") == 1
    (function,) = [each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]
    (layer,) = function["Properties"]["Layers"]
    assert template["Resources"][layer["Ref"]]["Type"] == "AWS::Lambda::LayerVersion"


def test_terraform_refers_to_what_there_is_and_reads_files_that_there_are(project: Path) -> None:
    """Its own `validate` asks for AWS's provider, which is hundreds of megabytes; `fmt` is asked where it is."""
    need_module("hcl2")
    import hcl2  # not in every environment

    text = (TEMPLATES / "terraform" / "main.tf").read_text()
    tree = json.loads(json.dumps(hcl2.loads(text)).replace('\\"', ""))
    declared = {f"var.{name}" for block in tree["variable"] for name in block}
    for kind, prefix in (("resource", ""), ("data", "data.")):
        found = [(type_, name) for block in tree[kind] for type_, body in block.items() for name in body]
        declared |= {f"{prefix}{type_}.{name}" for type_, name in found}
    code = re.sub(r"#.*", "", text)
    used = {match[0] for match in re.finditer(r"\bvar\.\w+|(?<![\w.\"])data\.\w+\.\w+|(?<![\w.\"])aws_\w+\.\w+", code)}
    assert used
    assert used <= declared
    unused = declared - used
    assert unused == {
        "aws_lambda_layer_version_permission.organization",
        "aws_iam_role_policy.logs",
        "aws_lambda_function.function",
    }
    assert re.findall(r'actions\s*=\s*\["(logs[^\]]*)"\]', code) == ['logs:CreateLogStream", "logs:PutLogEvents']
    assert all((project / name).exists() for name in re.findall(r'(?:filename|source_dir) += "([^"]+)"', code))


def test_terraform_is_formatted() -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("terraform is not here, and comes from no package index")
    run(terraform, "fmt", "-check", str(TEMPLATES / "terraform"), cwd=TEMPLATES, TF_CLI_CONFIG_FILE=os.devnull)


def test_serverless_takes_its_configuration(project: Path) -> None:
    """By osls, the open continuation of its third version, whose schema refuses what it does not know."""
    binary = os.environ.get("SERVERLESS_BINARY")
    need(binary, "osls")
    assert binary is not None
    shutil.copy(TEMPLATES / "serverless" / "serverless.yml", project)
    said = run(binary, "print", "--format", "json", cwd=project, SLS_TELEMETRY_DISABLED="1")
    configuration = json.loads(said)
    assert configuration["configValidationMode"] == "error"
    assert (project / configuration["layers"]["extension"]["package"]["artifact"]).exists()
    assert configuration["functions"]["app"]["layers"] == [{"Ref": "ExtensionLambdaLayer"}]
    file, _, handler = configuration["functions"]["app"]["handler"].partition(".")
    assert f"def {handler}(" in (project / f"{file}.py").read_text()


def test_what_the_dockerfile_copies_is_there(project: Path) -> None:
    shutil.rmtree(project / "my-extension", ignore_errors=True)
    arguments = ["package", "extension.py", "--events", "SHUTDOWN", "--project", "."]
    arguments += ["--python", f"{sys.version_info.major}.{sys.version_info.minor}", "--name", "my-extension"]
    os.chdir(project)
    result = CliRunner().invoke(commands, [*arguments, "--format", "container", "-o", "my-extension"])
    assert result.exit_code == 0, result.output
    lines = (TEMPLATES / "container" / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ")]
    assert len(copied) == 2
    assert all((project / source).is_dir() for source in copied)
    assert (project / copied[0] / "extensions" / "my-extension").exists()
    (handler,) = [json.loads(line.removeprefix("CMD "))[0] for line in lines if line.startswith("CMD ")]
    assert handler == "app.handler"
