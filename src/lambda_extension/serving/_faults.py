"""What connections do wrong, by kind: said once, then counted, so that garbage cannot flood the log."""

from __future__ import annotations

import logging
from typing import final

logger = logging.getLogger("lambda_extension.server")


@final
class Faults:
    """Counts faults by kind; logs a line for the first, tenth, hundredth, ... of each, and for the sum at the end.

    Args:
        logger: Where to.
    """

    def __init__(self, logger: logging.Logger = logger) -> None:
        self._logger = logger
        self._counts: dict[str, int] = {}
        self._said: dict[str, int] = {}

    def note(self, kind: str, error: BaseException | None = None) -> None:
        """Count a fault.

        Args:
            kind: What happened, in words of ours: nothing that a peer has sent, and few different ones.
            error: Its traceback goes with the first line; for the errors of code that somebody has to mend.
        """
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if str(count).rstrip("0") == "1":
            self._said[kind] = count
            self._logger.warning("%s (%d so far)", kind, count, exc_info=error if count == 1 else None)

    def sum_up(self) -> None:
        """Log the counts that have grown since they were last said."""
        for kind, count in self._counts.items():
            if count != self._said[kind]:
                self._said[kind] = count
                self._logger.warning("%s (%d in all)", kind, count)
