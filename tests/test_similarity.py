"""What submissions share is found whatever it was dressed up as, and nothing else is."""

import itertools
import json
import random
import re

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder import similarity
from autograder.broken import BROKEN
from autograder.cli import app
from autograder.similarity import LENGTH, code_tokens, compare, names_given, word_tokens

COUNT = """
def count_objects(label_map, smallest):
    '''Number of objects that are not too small.'''
    sizes = {}
    for row in label_map:
        for value in row:
            if value != 0:
                sizes[value] = sizes.get(value, 0) + 1
    return sum(1 for size in sizes.values() if size >= smallest)
"""
# The same with other names, layout, comments and texts.
DISGUISED = """
def n(a, t):
    '''How many?'''
    d = {}   # sizes
    for r in a:

        for v in r:
            if v != 0: d[v] = d.get(v, 0) + 1
    return sum( 1 for s in d.values() if s >= t )
"""
OTHER = """
def count_objects(label_map, smallest):
    numbers, counts = np.unique(label_map, return_counts=True)
    keep = (numbers > 0) & (counts >= smallest)
    print(f"{keep.sum()} objects")
    return int(np.count_nonzero(keep))
"""
EMPTY = {"code": [], "report": []}


def sentences(seed: int, count: int) -> str:
    """Made-up prose: words in an order that no other seed has."""
    generator = random.Random(seed)
    words = "image mask network train test class loss pixel shows model better worse figure table we than of".split()
    return " ".join(generator.choice(words) for _ in range(count))


def handed_in(**cells: list[str]) -> dict[str, list[str]]:
    return {**EMPTY, **cells}


def values(code: str) -> list[str]:
    return [token.value for token in code_tokens(code, names_given([code]))]


def test_a_disguise_changes_no_token():
    assert values(COUNT) == values(DISGUISED)
    assert values(COUNT) != values(OTHER)


def test_names_of_libraries_stay():
    assert values("import numpy as np\nx = np.argmax(y)") == values("import numpy as n\nz = n.argmax(y)")
    assert "argmax" in values("x = np.argmax(y)") and "argmin" in values("x = np.argmin(y)")
    assert values("x = a + 1") != values("x = a + 2")


@given(st.text(max_size=200))
def test_tokens_stand_where_they_say_whatever_the_text(text):
    for tokens in (code_tokens(text, names_given([text])), word_tokens(text)):
        assert all(first.end <= second.start for first, second in itertools.pairwise(tokens))
        assert all(0 <= token.start < token.end <= len(text) for token in tokens)
    assert [token.value for token in word_tokens(text)] == [text[t.start : t.end].lower() for t in word_tokens(text)]


def test_disguised_code_is_found_and_the_starter_is_not():
    starter = handed_in(code=["import numpy as np\n" + OTHER])
    texts = {
        "ada": handed_in(code=["import numpy as np\n" + OTHER, COUNT]),
        "bob": handed_in(code=[OTHER.replace("keep", "kept"), DISGUISED]),
        "cyd": handed_in(code=["import numpy as np\n" + OTHER, "x = 1"]),
    }
    (pair,) = compare(texts, starter, 0.25)
    assert pair.students == ("ada", "bob")
    (code,) = pair.shared
    assert code.kind == "code" and min(code.shares) > 0.95
    assert code.passages[0][0].startswith("def count_objects") and code.passages[0][1].startswith("def n(a, t)")
    assert code.passages[0][0].endswith(">= smallest)") and code.passages[0][1].endswith(">= t )")


@settings(max_examples=30)
@given(st.integers(20, 120), st.integers(0, 60), st.integers(0, 60), st.integers(0, 10**6))
def test_a_copied_passage_is_found_as_long_as_it_is(length, before, after, seed):
    copied = sentences(seed, length)
    texts = {
        "ada": handed_in(report=[f"{sentences(seed + 1, before)} alpha {copied} beta {sentences(seed + 2, after)}"]),
        "bob": handed_in(report=[f"{sentences(seed + 3, after)} gamma {copied.upper()}, delta"]),
    }
    (pair,) = compare(texts, EMPTY, 0.0)
    passages = pair.shared[0].passages
    assert passages[0] == (copied, copied.upper())
    # Every run of words in the passage counts, of all that there are.
    runs = length - LENGTH["report"] + 1
    assert pair.shared[0].shares[1] >= runs / (runs + after + 2) - 1e-9


def test_the_share_is_that_of_a_search_in_plain_text():
    first, second = sentences(1, 300).split(), sentences(2, 300).split()
    second[100:160] = first[20:80]
    second[200:230] = first[150:180]
    texts = {"ada": handed_in(report=[" ".join(first)]), "bob": handed_in(report=[" ".join(second)])}
    (pair,) = compare(texts, EMPTY, 0.0)
    length = LENGTH["report"]
    for words, share in zip((first, second), pair.shared[0].shares, strict=True):
        phrases = {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}
        there = [
            phrase for phrase in phrases if all(f" {phrase} " in f" {' '.join(text)} " for text in (first, second))
        ]
        assert share == pytest.approx(len(there) / len(phrases))
    found = [len(passage[0].split()) for passage in pair.shared[0].passages]
    assert found == [60, 30]


def test_functions_in_another_order_are_found_all_the_same():
    texts = {"ada": handed_in(code=[COUNT + OTHER]), "bob": handed_in(code=[OTHER, DISGUISED])}
    (pair,) = compare(texts, EMPTY, 0.5)
    starts = [[text.splitlines()[0] for text in passage] for passage in pair.shared[0].passages]
    assert starts == [
        ["def count_objects(label_map, smallest):", "def n(a, t):"],
        ["def count_objects(label_map, smallest):", "def count_objects(label_map, smallest):"],
    ]


def test_empty_submissions_share_nothing():
    assert compare({"ada": EMPTY, "bob": EMPTY}, EMPTY, 0.0) == []
    assert compare({"ada": handed_in(code=["x = 1"]), "bob": handed_in(code=["x = 1"])}, EMPTY, 0.0) == []


def test_chance_is_not_listed():
    texts = {f"student {n}": handed_in(report=[sentences(n, 900)]) for n in range(12)}
    assert compare(texts, EMPTY, 0.05) == []


def test_what_many_share_is_no_sign():
    quote = sentences(99, 60)
    many = {f"student {n}": handed_in(report=[sentences(n, 200) + " " + quote]) for n in range(11)}
    assert compare(many, EMPTY, 0.05) == []
    few = dict(list(many.items())[:4])
    assert len(compare(few, EMPTY, 0.05)) == 6


def test_text_that_goes_round_in_circles_is_compared_all_the_same():
    text = " ".join(f"w{n % 50}" for n in range(10**5))
    notebook = {"cells": [{"cell_type": kind, "source": text} for kind in ("code", "markdown", "markdown")]}
    texts = similarity.cell_texts(notebook)
    assert sum(map(len, texts["code"])) == sum(map(len, texts["report"])) == similarity.MAX_CHARACTERS
    (pair,) = compare({"ada": texts, "bob": texts}, EMPTY, 0.5)
    assert pair.share == 1


def test_the_threshold_is_the_share_of_one_of_the_two():
    copied = sentences(5, 50)
    texts = {"ada": handed_in(report=[copied]), "bob": handed_in(report=[copied + " " + sentences(6, 450)])}
    (pair,) = compare(texts, EMPTY, 0.99)
    assert pair.shared[0].shares == pytest.approx((1.0, 0.1), abs=0.02)
    texts["ada"]["report"] = [copied + " " + sentences(7, 450)]
    assert compare(texts, EMPTY, 0.2) == []


# ------------------------------------------------------------------------------------------------------- a whole class


@pytest.fixture
def toy_class(toy):
    """The toy exercise as a course, with a class in which bob took ada's answers, beside broken notebooks."""
    (toy.root / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.release_directory = 'exercises'\n"
    )
    essay = f"{sentences(1, 80)} <script>alert(1)</script> {sentences(3, 80)}"
    toy.hand_in("ada", add=COUNT, essay=essay)
    bob = toy.hand_in("bob", add="def add(a, b):\n    return a + b", essay=essay)
    notebook = nbformat.read(bob, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(DISGUISED))  # a cell of his own counts, too
    nbformat.write(notebook, bob)
    toy.hand_in("cyd", add=OTHER, essay=sentences(2, 150))
    for case in BROKEN:
        folder = toy.root / "submitted" / f"broken-{case.name}" / "toy"
        folder.mkdir(parents=True)
        case.spoil(folder / "toy.ipynb", json.loads(toy.notebook.read_text()), "add")
    return toy


def test_broken_notebooks_stop_nothing(toy_class):
    done = CliRunner().invoke(app, ["similarity", "toy", "--course", str(toy_class.root)])
    assert done.exit_code == 0, done.output
    page = (toy_class.root / "similarity" / "toy.html").read_text()
    assert "Similarity is not proof" in done.output and "Similarity is not proof" in page
    assert "not read: broken-" in done.output and "Not read" in page
    assert "ada and bob" in page and "cyd" not in page
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert re.search(r"<pre>def count_objects.*?</pre><pre>def n\(a, t\)", page, re.DOTALL)
    assert (toy_class.root / "similarity" / "toy.html").stat().st_mode & 0o077 == 0


def test_a_threshold_of_100_lists_nobody_but_twins(toy_class):
    course = similarity.Course.load(toy_class.root)
    texts, starter, refused = similarity.read_class(course, "toy")
    assert {"ada", "bob", "cyd"} <= texts.keys() and refused
    assert [pair.students for pair in compare({k: texts[k] for k in ("ada", "bob", "cyd")}, starter, 0.9)] == [
        ("ada", "bob")
    ]
