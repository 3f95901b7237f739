"""How a call of a student's function can fail."""

from __future__ import annotations

import builtins


class StudentError(Exception):
    """The student's code raised, ran too long, or ended its process.

    `kind` is the exception's type name; `where` says where in the student's cells, as far as known.
    """

    def __init__(self, kind: str, message: str, where: str = "", function: str = "") -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.where = where
        self.function = function

    def explain(self, hidden: bool) -> str:
        """Say what happened; of a hidden test's failure no more than the kind, for the rest may hold its input."""
        name = f"`{self.function}`" if self.function else "your code"
        if self.kind == "NotImplementedError":
            return f"{name} is not written yet."
        if hidden:
            builtin = getattr(builtins, self.kind, None)
            known = isinstance(builtin, type) and issubclass(builtin, BaseException)
            return f"{name} raised {'an exception' if not known else self.kind}."
        where = f"\n{self.where}" if self.where else ""
        return f"{name} raised {self.kind}: {self.message}{where}"


class NotDefined(StudentError):
    """The student's notebook defines no such function."""

    def explain(self, hidden: bool) -> str:
        return self.message


class TookTooLong(StudentError):
    """A call did not return in time."""

    def explain(self, hidden: bool) -> str:
        return self.message
