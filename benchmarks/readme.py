"""The figures of README, taken from docs/benchmarks.md.

`python -m benchmarks.readme` renews them, as `python -m benchmarks --write-docs` does with those of both.
"""

from __future__ import annotations

import re

from benchmarks.pages import DOCS, ROOT, renew, section

Row = dict[str, str]

# By their titles in docs/benchmarks.md; who is not there is left out.
COLUMNS = {
    "lambda-extension, asyncio": "this library",
    "lambda-extension, asyncio, direct": "its direct server",
    "lambda-extension, asyncio, direct, early": "and `early`",
    "Go, net/http": "Go stand-in",
    "Go, aws-lambda-extensions": "Go module",
    "Rust, lambda-extension": "Rust crate",
    "Python, AWS sample's shape": "AWS's sample",
}
# What README calls it, the table in docs/benchmarks.md, its column, and whether more is better.
ROWS = (
    ("registered after", "Start-up and idle memory", "register", False),
    ("first `next` after", "Start-up and idle memory", "first next", False),
    ("idle memory", "Start-up and idle memory", "idle", False),
    ("added to an invocation", "Time from INVOKE", "idle p50", False),
    ("events a second, batches of 20", "Batches of 20 events, JSON log records as strings", "events/s", True),
    ("answer to such a batch after", "Batches of 20 events, JSON log records as strings", "ack p50", False),
    ("events a second, batches of 4,000", "Batches of 4,000 events, JSON log records as strings", "events/s", True),
    ("memory taken by a flood", "Flood", "peak over idle", False),
)


def tables(page: str) -> dict[str, dict[str, Row]]:
    """Return the tables of docs/benchmarks.md by their headings, and in them the rows by their first cells."""
    found: dict[str, dict[str, Row]] = {}
    for part in page.split("\n### ")[1:]:
        title, *lines = part.splitlines()
        rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
        # The heading of the first column is empty, or says what the rows are.
        columns = rows[0] if len(rows[0]) == len(rows[-1]) else ["", *rows[0]]
        found[title] = {row[0]: dict(zip(columns[1:], row[1:], strict=False)) for row in rows[2:]}
    return found


def number(cell: str) -> float:
    """Return the figure of a cell, without its unit and its ratio."""
    return float(re.split(r"[ (]", cell.replace(",", ""))[0])


def figures(page: str) -> str:
    """Return the table of README, and when it was measured.

    Args:
        page: The text of docs/benchmarks.md.
    """
    found = tables(page)
    start = _table(found, ROWS[0][1])
    columns = [title for title in COLUMNS if title in start]
    lines = ["| | " + " | ".join(COLUMNS[title] for title in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, table, column, more in ROWS:
        rows = _table(found, table)
        cells = [re.sub(r" \([\d.]+\)", "", rows.get(title, {}).get(column, "-")) for title in columns]
        known = [number(cell) for cell in cells if cell != "-"]
        best = (max if more else min)(known, default=None)
        shown = [f"**{cell}**" if cell != "-" and number(cell) == best else cell for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    moment = re.search(r"Measured (\S+)", page)
    assert moment is not None
    return "\n".join([*lines, "", f"Measured {moment[1]}, on asyncio; the best of each row stands out."])


def _table(found: dict[str, dict[str, Row]], beginning: str) -> dict[str, Row]:
    return next((rows for title, rows in found.items() if title.startswith(beginning)), {})


def write() -> None:
    """Put the figures of docs/benchmarks.md into README."""
    page = section(DOCS / "benchmarks.md", "figures")
    renew(ROOT / "README.md", {"figures": figures("\n" + page)})


if __name__ == "__main__":
    write()
