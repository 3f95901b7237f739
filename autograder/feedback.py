"""Feedback that students read: a fragment for each test cell, a page for each submission."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

from autograder.results import TestResult


@cache
def _environment() -> jinja2.Environment:
    # Everything is escaped: messages may hold a student's text, and an instructor opens these pages.
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def cell_html(tests: list[TestResult], footer: str = "") -> str:
    """The results of one test cell as an HTML fragment: points, what went wrong, hint, pictures."""
    return _environment().get_template("cell.html").render(tests=tests, footer=footer)


def report_text(tests: list[TestResult]) -> str:
    """The same as plain text, for terminals and for the gradebook's comments."""
    lines = []
    for test in tests:
        lines.append(f"{'✓' if test.passed else '✗'} {test.title} ({test.points:g} / {test.max_points:g})")
        lines += [f"    {line}" for line in test.message.splitlines()]
        lines += [f"    Hint: {test.hint}"] if test.hint else []
    return "\n".join(lines)
