"""The benchmarks' command line and rows; what they measure is never asserted."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import Row, report
from benchmarks.__main__ import app


def run(*words: str):
    return CliRunner().invoke(app, words, env={"COLUMNS": "160", "NO_COLOR": "1"})


def test_rows_have_the_documented_fields(tmp_path):
    report("title", [Row.of("an operation", 2.0, "a peer", 50.0, goal=10.0)], tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row == {"operation": "an operation", "ours_ms": 2, "peer": "a peer", "peer_ms": 50, "ratio": 25, "goal": 10}


def test_an_unknown_name_is_answered_with_those_there_are():
    result = run("gradign")
    assert result.exit_code == 2 and "no benchmark named 'gradign'; there are: grading" in result.stderr


@pytest.mark.parametrize("words", [(), ("grading",)], ids=["all", "grading"])
def test_help_holds_an_example(words):
    assert "Example: python -m benchmarks grading" in run(*words, "--help").output
