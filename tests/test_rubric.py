"""A rubric is read, refused where it is wrong, and shown."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from autograder.rubric import RubricError, load_rubric

COURSEWORK = Path(__file__).parents[1] / "solutions" / "coco-assignment" / "rubric.toml"
SMALL = """
title = "Essay"
total = 4
step = 0.5

[report]
words = [10, 20]
papers = 1

[[criterion]]
id = "style"
cell = "essay"
title = "Style"
points = 4
looks_at = "How it <reads>."

[[criterion.band]]
title = "Good"
from = 2.5
to = 4
words = "Clear | short."

[[criterion.band]]
title = "Bad"
from = 0
to = 2
words = "Neither."
"""


@pytest.fixture
def refusal(tmp_path):
    """What is said of the small rubric after a change of its text."""

    def message(old: str, new: str) -> str:
        assert old in SMALL
        path = tmp_path / "rubric.toml"
        path.write_text(SMALL.replace(old, new))
        with pytest.raises(RubricError) as caught:
            load_rubric(path)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value).removeprefix(f"{path}: ")

    return message


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "rubric.toml"
    path.write_text(SMALL)
    return load_rubric(path)


def test_the_courseworks_points_are_those_of_the_lecture():
    rubric = load_rubric(COURSEWORK)
    assert {criterion.id: criterion.points for criterion in rubric.criteria} == {
        "literature": 15, "data": 10, "method": 15, "writing": 10,
    }  # fmt: skip
    assert rubric.points == 50
    assert [criterion.cell for criterion in rubric.criteria] == [f"report_{c.id}" for c in rubric.criteria]
    assert all(len(criterion.bands) == 4 for criterion in rubric.criteria)


def test_three_papers_are_the_floor_of_every_band_that_passes():
    rubric = load_rubric(COURSEWORK)
    numbers = {"three": 3, "four": 4, "five": 5}
    asked = []
    for band in rubric.criteria[0].bands[:-1]:
        (word,) = re.findall("|".join(numbers), band.words.lower())
        asked.append(numbers[word])
        assert "fewer" not in band.words.lower()
    assert asked == [5, 4, 3]
    assert rubric.report.papers == 3
    assert rubric.criteria[0].bands[-1].words.startswith("Fewer than three")


@given(st.integers(0, 30))
def test_every_mark_has_one_band_that_holds_it(halves):
    for criterion in load_rubric(COURSEWORK).criteria:
        points = halves / 2
        holding = [band for band in criterion.bands if band.low <= points <= band.high]
        assert len(holding) == (points <= criterion.points)
        if holding:
            assert criterion.band(points) is holding[0]


def test_what_lies_between_two_bands_belongs_to_the_lower_one(small):
    (style,) = small.criteria
    assert [style.band(points).title for points in (2, 2.25, 2.49, 2.5)] == ["Bad", "Bad", "Bad", "Good"]
    for outside in (-0.5, 4.5, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 4"):
            style.band(outside)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from = 2.5", "from = 3", "criterion[0].band[1].to: expected 2.5 (one step below"),  # a gap
        ("from = 2.5", "from = 2", "criterion[0].band[1].to: expected 1.5 (one step below"),  # an overlap
        ("to = 4", "to = 3.5", "criterion[0].band[0].to: expected 4 (the criterion's points); found 3.5"),
        ("from = 0", "from = 0.5", "criterion[0].band[1].from: expected 0, as it is the last band; found 0.5"),
        ("from = 2.5", "from = 2.3", "criterion[0].band[0].from: expected a multiple of 0.5"),
        ("total = 4", "total = 50", "total: expected the sum of the criteria's points, 4; found 50.0"),
        ("points = 4", 'points = "4"', "criterion[0].points: expected a number; found '4'"),
        ("points = 4", "points = nan", "criterion[0].points: expected a number; found nan"),
        ("step = 0.5", "step = 0", "step: expected a number above 0; found 0.0"),
        ('title = "Style"', "", "criterion[0].title: expected a text; found None"),
        ('words = "Neither."', 'words = " "', "criterion[0].band[1].words: expected a text"),
        ("[[criterion.band]]", "[[criterion.bond]]", "criterion[0].band: expected at least one [[criterion.band]]"),
        ("words = [10, 20]", "words = [20, 10]", "report: expected words = [fewest, most]"),
        ("title = ", "title ", "expected a TOML file, found: "),
    ],
)
def test_a_wrong_rubric_is_refused_with_place_and_reason(refusal, old, new, said):
    assert said in refusal(old, new)


def test_two_criteria_cannot_mark_one_cell(refusal):
    second = SMALL[SMALL.index("[[criterion]]") :].replace('id = "style"', 'id = "content"')
    assert "criterion.cell: expected a different one" in refusal("[report]", second + "\n[report]")


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(RubricError, match=r"nowhere\.toml: expected a TOML file"):
        load_rubric(tmp_path / "nowhere.toml")


def test_the_markdown_is_a_table_with_all_words():
    rubric = load_rubric(COURSEWORK)
    html = MarkdownIt("commonmark").enable("table").render(rubric.to_markdown())
    assert html.count("<tr>") == 1 + len(rubric.criteria)
    assert html.count("<td>") == 5 * len(rubric.criteria)
    for criterion in rubric.criteria:
        for band in criterion.bands:
            assert f"<strong>{band.span}.</strong> {band.words}" in html


def test_a_bar_stays_in_its_cell_and_html_is_escaped(small):
    html = MarkdownIt("commonmark").enable("table").render(small.to_markdown())
    assert html.count("<td>") == 3 and "Clear | short." in html
    assert "How it &lt;reads&gt;." in small.to_html() and small.to_html().count("<td>") == 2
