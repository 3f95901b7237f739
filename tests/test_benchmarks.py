"""The benchmarks' command line and rows; what they measure is never asserted."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import Row, report
from benchmarks.__main__ import app
from benchmarks.timing import Times, interleave


def run(*words: str):
    return CliRunner().invoke(app, words, env={"COLUMNS": "160", "NO_COLOR": "1"})


def test_rows_have_the_documented_fields(tmp_path):
    ours, theirs = Times.of([3.0, 2.0, 40.0]), Times.of([50.0, 60.0, 70.0])
    report("title", [Row.of("an operation", ours, "a peer", theirs, goal=10.0)], tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    medians = {"ours_median_ms": 3, "peer_median_ms": 60}
    wanted = {"operation": "an operation", "ours_ms": 2, "peer": "a peer", "peer_ms": 50, "ratio": 25, "goal": 10}
    assert row == wanted | medians


def test_functions_are_timed_in_turn():
    order = []
    times = interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "b"] * 4
    assert all(0 <= times[name].least <= times[name].median for name in "ab")


def test_an_unknown_name_is_answered_with_those_there_are():
    result = run("gradign")
    assert result.exit_code == 2 and "no benchmark named 'gradign'; there are: grading" in result.stderr


@pytest.mark.parametrize("words", [(), ("grading",)], ids=["all", "grading"])
def test_help_holds_an_example(words):
    assert "Example: python -m benchmarks grading" in run(*words, "--help").output
