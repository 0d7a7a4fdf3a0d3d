"""What each entry point costs until it registers: the processor time of a process that is killed at that call.

`python -m benchmarks.before_register [ROUNDS] [--write-docs]` prints the table of docs/howto/cold-start.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess

from benchmarks.contestants import HERE, interpreter
from benchmarks.pages import DOCS, machine, measured, renew

SOURCE = HERE.parents[1] / "src"
_MAIN = "import anyio\nasync def main():\n    {}\nanyio.run(main)\n"
PROGRAMS = {
    "`open_extension`": "from lambda_extension import open_extension\n"
    + _MAIN.format("async with open_extension(): pass"),
    "`open_telemetry`": "from lambda_extension import open_telemetry\n"
    + _MAIN.format("async with open_telemetry(): pass"),
    "`run`": "from lambda_extension import run\nclass Hooks:\n    async def init(self, client): pass\n"
    + _MAIN.format("await run(Hooks())"),
    "`run_telemetry`": "from lambda_extension import run_telemetry\nclass Hooks:\n    async def flush(self): pass\n"
    + _MAIN.format("await run_telemetry(Hooks())"),
    "`run_telemetry(Delivery(…))`": "from lambda_extension import run_telemetry\n"
    "from lambda_extension.delivery import Delivery, HTTPSink\n"
    + _MAIN.format("await run_telemetry(Delivery(HTTPSink('http://127.0.0.1:1')))"),
    "`run_telemetry(lambda: delivery.Delivery(…))`": "from lambda_extension import delivery, run_telemetry\n"
    + _MAIN.format("await run_telemetry(lambda: delivery.Delivery(delivery.HTTPSink('http://127.0.0.1:1')))"),
}


def measure(program: str) -> float:
    """Return the milliseconds of processor time that a program has used when its call arrives."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}",
        }
        process = subprocess.Popen([str(interpreter()), "-c", program], env=environment, stderr=subprocess.DEVNULL)
        try:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
    return (usage.ru_utime + usage.ru_stime) * 1000


def main() -> None:
    """Measure each, print the table, and put it into the page if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rounds", type=int, nargs="?", default=15)
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/howto/cold-start.md")
    options = parser.parse_args()
    said = [measured(machine()), "", "| | ms of processor time before register, median / least |", "|---|---|"]
    for title, program in PROGRAMS.items():
        taken = [measure(program) for _ in range(options.rounds)]
        said.append(f"| {title} | {statistics.median(taken):.0f} / {min(taken):.0f} |")
    print(*said, sep="\n")
    if options.write_docs:
        renew(DOCS / "howto" / "cold-start.md", {"before register": "\n".join(said)})


if __name__ == "__main__":
    main()
