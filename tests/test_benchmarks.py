"""The benchmarks' command line and rows; what they measure is never asserted."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import Row, metrics, report
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
    assert result.exit_code == 2 and re.search("no benchmark named 'gradign'; there are: .*grading", result.stderr)


@pytest.mark.parametrize("words", [(), ("grading",)], ids=["all", "grading"])
def test_help_holds_an_example(words):
    assert "Example: python -m benchmarks grading" in run(*words, "--help").output


def test_metrics_are_not_timed_beside_a_peer_that_gives_other_numbers():
    metrics._compare(metrics.Case("halves", lambda: [0.5, 0.5], {"good": (1, lambda: np.full(2, 0.5))}))
    with pytest.raises(RuntimeError, match="halves: bad gives other numbers, so the times do not compare"):
        metrics._compare(metrics.Case("halves", lambda: [0.5, 0.5], {"bad": (1, lambda: np.array([0.5, np.nan]))}))


@pytest.mark.slow
def test_metrics_agree_with_all_their_peers(tmp_path):
    metrics.run(rounds=1, images=10, json_file=tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())
    peers = {row["peer"] for row in rows}
    assert {"torchmetrics", "panopticapi's arithmetic", "pycocotools", "faster-coco-eval"} <= peers
