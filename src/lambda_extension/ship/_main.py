"""The process of the ready-made extension: registered first, and ended by a line that says what to mend."""

from __future__ import annotations

import os
import sys

# Nothing else before register.
from lambda_extension import early


def main() -> None:
    """Run the ready-made extension until it is shut down; ends the process, with a message, where it cannot run."""
    variables = dict(os.environ)
    if early.sent_name() is None:  # a packaged layer's launcher has done it
        early.register(name=variables.get("LAMBDA_EXTENSION_NAME") or None, account_id=True)
    import anyio

    from lambda_extension._exceptions import NotInLambdaError
    from lambda_extension.ship._configuration import ConfigurationError
    from lambda_extension.ship._running import ship

    try:
        anyio.run(ship, variables)
    except (ConfigurationError, NotInLambdaError) as error:
        sys.exit(str(error))
