"""`python -m lambda_extension`: the command `lambda-extension`."""

from __future__ import annotations

from lambda_extension.cli import main

main()
