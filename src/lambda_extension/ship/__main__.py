"""`python -m lambda_extension.ship`: what a layer made by `lambda-extension package --ship` starts."""

from __future__ import annotations

from lambda_extension.ship._main import main

main()
