"""Who listens on a port of this machine, as Linux tells."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Final

_TABLES: Final = {Path("/proc/net/tcp"): socket.AF_INET, Path("/proc/net/tcp6"): socket.AF_INET6}
_LISTENING: Final = "0A"


def listeners(port: int) -> set[str]:
    """Return the addresses that listen on a port; none where the system does not tell."""
    found = set()
    for table, family in _TABLES.items():
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                found.add(_address(family, address))
    return found


def _address(family: socket.AddressFamily, text: str) -> str:
    # Groups of four bytes, each in the machine's own order.
    groups = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return socket.inet_ntop(family, b"".join(group.to_bytes(4, sys.byteorder) for group in groups))
