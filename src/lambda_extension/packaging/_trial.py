"""A layer tried in the simulator: what its start costs here, and what of it that run imported."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._hints import hint_for_package
from lambda_extension.simulator import Entry, ExtensionSpec, Simulator

_IMPORT: Final = re.compile(r"import time: +\d+ \| +\d+ \| *(?P<module>[A-Za-z_][\w.]*)$")
_MOST_LINES: Final = 10


@attrs.frozen(kw_only=True)
class Trial:
    """What was seen; milliseconds, medians of the runs.

    Attributes:
        registered: From the start of the process until it had registered.
        ready: Until it asked for its first event.
        imported: The top-level modules that a run imported, with an invocation and a shutdown in it.
    """

    registered: float
    ready: float
    imported: frozenset[str]


async def try_layer(root: Path, name: str, interpreter: str, environment: Mapping[str, str], *, runs: int = 3) -> Trial:
    """Run a layer, once more to see what it imports; takes some seconds.

    Args:
        root: The layer's folder.
        name: The extension.
        interpreter: What stands for Lambda's interpreter here.
        environment: The function's variables.
        runs: How many runs are measured.

    Raises:
        PackagingError: It failed; the message has the last lines that it printed.
    """
    launcher = str(root / "extensions" / name)
    measured = [await _run([interpreter, "-IuS", launcher], name, environment) for _ in range(runs)]
    looked_at = await _run([interpreter, "-IuS", "-X", "importtime", launcher], name, environment)
    found = (_IMPORT.match(str(entry.detail["text"])) for entry in looked_at if entry.kind == "output")
    return Trial(
        registered=statistics.median(_until(entries, "Registered") for entries in measured),
        ready=statistics.median(_until(entries, "Ready") for entries in measured),
        imported=frozenset(match["module"].partition(".")[0] for match in found if match is not None),
    )


async def _run(argv: list[str], name: str, environment: Mapping[str, str]) -> list[Entry]:
    """Run it through an invocation and a shutdown, and return what it did."""
    spec = ExtensionSpec(argv, name=name)
    async with Simulator(extensions=[spec], environment=environment) as lambda_:
        result = await lambda_.invoke({})
    entries = [entry for entry in lambda_.record if entry.who == name]
    if result.status != "success":
        said = [str(entry.detail["text"]) for entry in entries if entry.kind == "output"]
        lines = "".join(f"\n    {line}" for line in said[-_MOST_LINES:])
        todo = hint_for_package(lines, Path(argv[-1]))
        msg = f"the layer was made, and fails when it is tried ({result.error_type}):{lines}"
        msg += f"\n{todo}" if todo else ""
        raise PackagingError(msg)
    return entries


def _until(entries: Sequence[Entry], state: str) -> float:
    begun = next(entry.time for entry in entries if (entry.kind, entry.what) == ("process", "start"))
    reached = next(entry.time for entry in entries if (entry.kind, entry.what) == ("state", state))
    return (reached - begun) * 1000
