"""autograder: trusted grades for notebooks that come from people who may cheat or crash."""

from autograder.check import check

__all__ = ["check"]
