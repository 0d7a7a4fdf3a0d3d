"""Figures in pages: each stands between two comments, and the command that prints it renews it."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def machine() -> dict[str, str]:
    """Return what this machine is, and when."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            cpu,
        )
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "commit": _commit(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _commit() -> str:
    git = ["git", "-C", str(DOCS), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(git, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def measured(found: dict[str, str]) -> str:
    """Return the sentence that says when and on what machine something was measured.

    Args:
        found: What `machine` returned before it began.
    """
    return (
        f"Measured {found['date']} at commit {found['commit']} on {found['cpu']}, {found['cores']} cores, "
        f"{found['system']}, load {found['load']} at the start."
    )


def renew(page: Path, sections: dict[str, str]) -> None:
    """Replace what stands in a page between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

    Raises:
        LookupError: The page has no such place.
    """
    text = page.read_text(encoding="utf-8")
    for name, section in sections.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if begin not in text or end not in text:
            raise LookupError(f"{page.name} has no place for {name}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{section.strip()}\n\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")


def section(page: Path, name: str) -> str:
    """Return what stands in a page between the two comments of a name."""
    text = page.read_text(encoding="utf-8")
    return text.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0].strip()
