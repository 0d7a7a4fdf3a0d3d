"""What can go wrong while packaging."""

from __future__ import annotations


class PackagingError(Exception):
    """No layer can be made of this; the message says what to do."""
