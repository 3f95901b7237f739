"""Time the course's code side by side with its peers: `python -m benchmarks NAME`.

A benchmark is a module with a function that measures and ends with `report(rows)`; `__main__` lists them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Times

console = Console()


@dataclass(frozen=True)
class Row:
    """One operation of ours beside a peer's; the field names are those of the JSON form.

    `ours_ms` and `peer_ms` are the least times, `ratio` is `peer_ms / ours_ms`, and `goal` the least ratio that the
    course wants.
    """

    operation: str
    ours_ms: float
    peer: str
    peer_ms: float
    ratio: float
    goal: float
    ours_median_ms: float
    peer_median_ms: float

    @classmethod
    def of(cls, operation: str, ours: Times, peer: str, theirs: Times, goal: float) -> Row:
        """A row with its ratio."""
        return cls(
            operation, ours.least, peer, theirs.least, theirs.least / ours.least, goal, ours.median, theirs.median
        )


def report(title: str, rows: list[Row], json_file: Path | None) -> None:
    """Print the rows as a table; write them to `json_file` as a list of objects if it is given."""
    table = Table(title=f"{title} (milliseconds: least, median)", title_justify="left")
    table.add_column("operation")
    for column in ("ours", "peer", "ratio", "goal"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("name of the peer")
    for row in rows:
        mark = "green" if row.ratio >= row.goal else "bold red"
        ours = f"{_short(row.ours_ms)}, {_short(row.ours_median_ms)}"
        theirs = f"{_short(row.peer_ms)}, {_short(row.peer_median_ms)}"
        table.add_row(row.operation, ours, theirs, f"[{mark}]{row.ratio:.2f}[/]", f"{row.goal:g}", row.peer)
    console.print(table)
    if json_file:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def _short(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
