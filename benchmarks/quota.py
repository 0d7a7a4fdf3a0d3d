"""A processor quota such as small functions have: a control group of our own, where the machine lets us make one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


class NoQuotaError(Exception):
    """No quota can be set on this machine."""


@contextlib.contextmanager
def quota(share: float) -> Iterator[Path]:
    """Make a control group that gets `share` of one processor; give the file that takes its processes.

    Raises:
        NoQuotaError: The machine does not let us; the message says why.
    """
    limit = int(share * _PERIOD_US)
    second = (_ROOT / "cgroup.controllers").exists()
    group = (_ROOT if second else _ROOT / "cpu") / f"benchmark-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoQuotaError(f"no control group can be made: {error}") from error
    try:
        try:
            if second:
                (group / "cpu.max").write_text(f"{limit} {_PERIOD_US}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(limit))
        except OSError as error:
            raise NoQuotaError(f"no quota can be set: {error}") from error
        yield group / "cgroup.procs"
    finally:
        with contextlib.suppress(OSError):  # a process is still in it
            group.rmdir()
