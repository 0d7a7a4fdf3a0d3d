"""`python -m lambda_extension`: the command `lambda-extension`, and `ship`, which runs where that is not installed."""

from __future__ import annotations

import sys

if sys.argv[1:] == ["ship"]:
    from lambda_extension.ship._main import main
else:
    from lambda_extension.cli import main

main()
