#!/usr/bin/env python3
"""Run an extension in the bundled simulator, with a function that prints two lines per invocation.

python examples/run_locally.py examples/stream.py [INVOCATIONS]
"""

import sys
from pathlib import Path

import anyio

from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator


async def main(path: Path, count: int) -> None:
    extension = ExtensionSpec([sys.executable, str(path)], name=path.name)
    function = ScriptedFunction(log_lines=["order accepted", '{"level": "INFO", "message": "order shipped"}'])
    async with Simulator([extension], function) as lambda_:
        results = await lambda_.invoke_many(count)
        report = await lambda_.shutdown()
    for entry in lambda_.record.find("output"):
        if entry.who == path.name:
            print(entry.detail["text"])
    for finding in lambda_.record.findings:
        print("finding:", finding)
    succeeded = sum(result.status == "success" for result in results)
    status = report.exit_codes.get(path.name)
    print(
        f"{succeeded} of {count} invocations succeeded; {path.name} exited with {status}, "
        f"{report.used_ms:.0f} of {report.budget_ms:.0f} ms after the shutdown began"
    )
    if status != 0 or succeeded != count:
        sys.exit(1)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
