"""What the tests of the command share: it is run in this process, on files that a test writes."""

from __future__ import annotations

from pathlib import Path

import click.testing

from lambda_extension.cli._commands import commands

ROOT = Path(__file__).parents[2]
STREAM = str(ROOT / "examples/stream.py")

# An extension of few lines that needs nothing but a shell and curl; %s is what it does at SHUTDOWN.
PLAIN = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -sS -X POST -H "Lambda-Extension-Name: ${0##*/}" -d '{"events":["INVOKE","SHUTDOWN"]}' -D - -o /dev/null \\
  "$api/register" | tr -d '\\r' | sed -n 's/^lambda-extension-identifier: //Ip')
while event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next"); do
  case $event in *SHUTDOWN*) %s ;; esac
done
"""


def lambda_extension(*arguments: str) -> click.testing.Result:
    """Run the command; what it did not expect to fail fails the test."""
    result = click.testing.CliRunner().invoke(commands, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write(path: Path, text: str | bytes, *, mode: int = 0o755) -> str:
    """Write a file and the folders that it lies in; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


def extension_that(does: str, *, first: str = "") -> str:
    """Write a Python extension on the interpreter's own modules: register, next, and something at each event."""
    return f"""
import json, os, sys, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
def call(path, headers, body=None, method=None):
    request = urllib.request.Request(api + path, body, headers, method=method)
    return urllib.request.urlopen(request)
name = {{"Lambda-Extension-Name": os.path.basename(sys.argv[0])}}
answer = call("/2020-01-01/extension/register", name, b'{{"events": ["INVOKE", "SHUTDOWN"]}}')
me = {{"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}}
{first}
while True:
    event = json.load(call("/2020-01-01/extension/event/next", me))
    {does}
    if event["eventType"] == "SHUTDOWN":
        break
"""
