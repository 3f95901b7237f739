"""What a check of a data set finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")


@dataclass
class Report:
    """What is there, and what is wrong with it: lines for people."""

    there: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def missing(self, what: str, names: Iterable[str]) -> None:
        """Note files that should be there, if any; many in one line."""
        if names := sorted(names):
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            self.wrong.append(f"{what}: {', '.join(names[:5])}{more}")

    def attempt(self, read: Callable[..., Result], *arguments: object) -> Result | None:
        """Read something, or note what is wrong with it."""
        try:
            return read(*arguments)
        except (ValueError, OSError) as error:
            self.wrong.append(str(error))
            return None
