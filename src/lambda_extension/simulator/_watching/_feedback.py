"""Whether an extension is fed its own output: deliveries of it that cause more of it."""

from __future__ import annotations

from typing import Final, final

import anyio
import attrs

# So many deliveries in a row that are answered by output make a loop: a single echo ends by itself.
_LOOP: Final = 3
# How soon output must follow a delivery to count as caused by it, in seconds: a timer's line comes when it likes.
_PROMPT: Final = 0.1


@attrs.define(eq=False)
class _Watched:
    delivered_at: float | None = None
    echoes: int = 0


@final
class Feedback:
    """Watches each extension for itself.

    Only batches that hold nothing but the extension's own lines count: what it prints after any other one, or after an
    event, may have that cause.
    """

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def delivers(self, who: str, *, own_only: bool) -> None:
        """Note that a batch is about to be handed to an extension."""
        watched = self._watched.setdefault(who, _Watched())
        if own_only:
            if watched.delivered_at is not None:  # the last one was not answered by output
                watched.echoes = 0
            watched.delivered_at = anyio.current_time()
        else:
            self.stimulated(who)

    def stimulated(self, who: str) -> None:
        """Note that an extension has another reason to write: an event, a batch with something else in it."""
        self._watched[who] = _Watched()

    def wrote(self, who: str) -> bool:
        """Note a line of an extension; return whether that makes a loop."""
        watched = self._watched.get(who)
        if watched is None or watched.delivered_at is None:
            return False
        prompt = anyio.current_time() - watched.delivered_at <= _PROMPT
        watched.delivered_at = None
        watched.echoes = watched.echoes + 1 if prompt else 0
        return watched.echoes == _LOOP
