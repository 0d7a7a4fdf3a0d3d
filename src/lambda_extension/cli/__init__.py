"""The command `lambda-extension`; needs the extra `cli`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    try:
        from lambda_extension.cli._commands import commands  # click, rich and python-dotenv are an extra

        commands(prog_name="lambda-extension")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"click", "dotenv", "rich"}:
            raise
        sys.exit(f"this command needs {error.name}: pip install 'lambda-extension[cli]'")
