"""What to do about what an extension said as it failed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

# A variable of the environment that is not there, as `os.environ[NAME]` says it.
_NOT_SET: Final = re.compile(r"KeyError: '(?P<name>[A-Z][A-Z0-9_]*)'$", re.MULTILINE)
_NO_HYPERCORN: Final = "hypercorn is not installed"
_EMPTY_TMP: Final = "On Lambda, as here, /tmp is empty at first: put what is needed there into the layer, or make it"
_NOT_LEAN: Final = "Leave --lean out, or give it ReceiverSettings(server='direct'): --lean packs no hypercorn"
_NOT_PACKED: Final = (
    "Of what lies beside a script, the modules that it imports are packed, and packages with all of their files: "
    "put the file into a package"
)


def hint(said: str, *, variables: str) -> str | None:
    """Return what to do, in a sentence; None where nobody knows.

    Args:
        said: Its last lines.
        variables: What gives it a variable that is missing, as a sentence with `{name}` in it.
    """
    if missing := _NOT_SET.search(said):
        return f"Is it a variable? {variables.format(name=missing['name'])}"
    if _NO_HYPERCORN in said:
        return _NOT_LEAN
    return _EMPTY_TMP if "/tmp/" in said else None  # noqa: S108 - it is Lambda's


def hint_for_package(said: str, file: Path) -> str | None:
    """Return what to do where it is a layer being made that is tried.

    Args:
        said: Its last lines.
        file: What was started, in `extensions/` of the layer, or the script itself.
    """
    if file.parent.name == "extensions":
        root = str(file.parents[1])
        if f"No such file or directory: '{root}/" in said:
            return _NOT_PACKED
        said = said.replace(root, "")  # the layer may lie in /tmp itself here
    return hint(
        said,
        variables="--trial-env {name}=VALUE gives it one while it is tried here, --env {name}=VALUE one in the layer, "
        "where the function's configuration does not",
    )
