"""Time the course's code side by side with its peers: `python -m benchmarks NAME`.

A benchmark is a module with a function that measures and ends with `report(rows)`; `__main__` lists them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

console = Console()


@dataclass(frozen=True)
class Row:
    """One operation of ours beside a peer's; the field names are those of the JSON form.

    `ratio` is `peer_ms / ours_ms`, `goal` the least ratio that the course wants.
    """

    operation: str
    ours_ms: float
    peer: str
    peer_ms: float
    ratio: float
    goal: float

    @classmethod
    def of(cls, operation: str, ours_ms: float, peer: str, peer_ms: float, goal: float) -> Row:
        """A row with its ratio."""
        return cls(operation, ours_ms, peer, peer_ms, peer_ms / ours_ms, goal)


def report(title: str, rows: list[Row], json_file: Path | None) -> None:
    """Print the rows as a table; write them to `json_file` as a list of objects if it is given."""
    table = Table("operation", title=title, title_justify="left")
    for column in ("ours, ms", "peer, ms", "ratio", "goal"):
        table.add_column(column, justify="right")
    table.add_column("peer")
    for row in rows:
        mark = "green" if row.ratio >= row.goal else "bold red"
        ratio = f"[{mark}]{row.ratio:.1f}[/]"
        table.add_row(row.operation, f"{row.ours_ms:,.1f}", f"{row.peer_ms:,.1f}", ratio, f"{row.goal:g}", row.peer)
    console.print(table)
    if json_file:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
