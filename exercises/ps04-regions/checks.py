# The exercise's public tests, for the instant check. Editing them changes no grade.
"""The tests of ps04: neighbours, connected components, regions that grow, and the split and merge of a picture.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

from contextlib import suppress
from itertools import count

import numpy as np

from autograder.forbidden import LIBRARIES
from autograder.pictures import describe
from autograder.suite import CheckFailed, Exercise, StudentError, graded

exercise = Exercise(
    "ps04-regions",
    cells={
        "neighbours": 3,
        "components": 6,
        "grow": 6,
        "grow-by-mean": 5,
        "ranges": 2,
        "split": 6,
        "adjacency": 3,
        "merge": 5,
    },
    # Students like to import Matplotlib in a solution cell; loaded beforehand, that takes no time. It needs PIL.
    preload=("numpy", "matplotlib.pyplot"),
    forbidden=(
        *LIBRARIES,
        "PIL.ImageDraw",
        "SimpleITK",
        "cc3d",
        "itk",
        "mahotas",
        "networkx",
        "scipy",
        "torch",
    ),
    hints={
        # of several tasks
        "diagonals": "Pixels that meet only at a corner are 8-neighbours. Here only an edge counts.",
        "no-diagonals": "You walk to pixels that share an edge. With 8 neighbours, which others may you walk to?",
        "row-column": "You have swapped row and column. A point is (x, y): x counts columns and y rows, while an array "
        "is indexed `image[y, x]`.",
        "uint8-overflow": "A uint8 holds 0 to 255: what is beyond comes in again at the other end. Which of your sums "
        "and differences are made of uint8 alone?",
        "recursion-depth": "Your function calls itself for each pixel, and Python allows about 1000 calls inside each "
        "other. Keep the pixels that wait in a list of your own instead.",
        "strict": "A difference that is exactly the tolerance is still allowed: at most, not less than.",
        # neighbours
        "negative-index": "A negative index is no error in NumPy: it counts from the other end. Does your code ever "
        "ask whether a coordinate is below 0?",
        "one-too-far": "In a picture of width 5 the columns are 0 to 4. What is the last row of one of height 4?",
        "height-for-width": "A shape is (height, width). Which of the two bounds x, and which y?",
        "itself": "A pixel is not its own neighbour.",
        # components
        "one-pass": "A component fell to pieces. Its arms got their numbers before it was known that they meet. What "
        "has to happen at the place where they do?",
        "background-numbered": "Pixels outside the mask have no component: they stay 0.",
        "numbers-with-gaps": "Your components are right, their numbers are not: with N components they must be 1, 2, "
        "..., N, none missing.",
        # grow, grow-by-mean
        "not-connected": "These values are all similar to the seed's, but can you walk to each of these pixels from "
        "the seed without leaving the region?",
        "previous-pixel": "You compare each pixel with the one next to it. Many small steps make a long way: what "
        "should every pixel be compared with?",
        "one-sided": "A pixel much darker than the seed has joined. The difference counts, whatever its sign.",
        "fixed-seed": "Your region still listens to its seed alone. After the first round it has a mean of its own.",
        "mean-of-the-newest": "You take the mean of those that joined last. It is the mean of the whole region that "
        "the next ones must fit.",
        "integer-mean": "A mean of integers need not be an integer. Where does your code cut its fraction off?",
        "one-at-a-time": "You renew the mean within a round, so it matters which pixel is asked first. All pixels of "
        "a round are compared with the same mean.",
        "refused-for-good": "A pixel that did not fit was never asked again. The mean has moved since then.",
        # ranges, split
        "columns-first": "Your quadrants go down the left side first. Read them like text: top left, top right, bottom "
        "left, bottom right.",
        "every-second-pixel": "`image[::2, ::2]` holds every second pixel of the whole picture. A quadrant is one "
        "corner of it.",
        "deviation-for-range": "That is the standard deviation. The range is simply the largest value less the "
        "smallest.",
        "one-level": "You cut once. The same question must be asked of each quadrant again, and of its quadrants.",
        "at-the-tolerance": "A square whose range is exactly the tolerance stays whole. When exactly do you cut?",
        "relative-boxes": "Some boxes lie where they would if their square were the whole picture. Where does that "
        "square begin in the real one?",
        "tiling": "The four quadrants together make the square, without a gap and without overlap. Where does each "
        "begin, and how large is it?",
        "cut-for-ever": "You cut on and on, even what is smaller than a pixel. Of which pixels do you take the range "
        "when you ask about a quadrant, and how large is it?",
        # adjacency
        "one-direction": "Pixels touch beside each other, and also one above the other. Half of your pairs are "
        "missing.",
        "each-pair-once": "(2, 1) says the same as (1, 2). Write each pair once, the smaller number first.",
        "with-itself": "A region is not adjacent to itself: between which pixels does no border run?",
        "around-the-edge": "The left column does not touch the right one. What does `np.roll` move in from the other "
        "side?",
        # merge
        "chain": "The range of one merged region is larger than the tolerance. Two neighbours may fit each other, and "
        "yet not all that they have been merged with. Whose pixels do you compare?",
        "means-for-range": "You compare the two means. Two regions with close means may hold values that lie far "
        "apart: the rule is about all pixels together.",
        "own-range": "Each of the two is uniform by itself. Is it so for both together?",
        "stale-numbers": "When region 2 has become part of region 1, a pair (2, 3) is not done with. Which region "
        "does 2 belong to by now?",
        "not-adjacent": "You have merged regions that do not touch. Only the pairs in the list may be tried.",
        "other-order": "Each of your merges keeps the rule, but another order gives another result: try the pairs as "
        "they stand in the list, from the first to the last.",
    },
)


def tuples(got, size, what, form):
    """The student's list of `size` integers each, as sorted tuples; refuse anything else."""
    items = got.tolist() if isinstance(got, np.ndarray) else got
    if not isinstance(items, list | tuple):
        raise CheckFailed(f"{what} should be a list of {form}, yours is {describe(got)}.")
    for item in items:
        item = item.tolist() if isinstance(item, np.ndarray) else item
        fits = isinstance(item, list | tuple) and len(item) == size
        if not fits or not all(isinstance(number, int) and not isinstance(number, bool) for number in item):
            raise CheckFailed(f"{what} should hold integers as {form}, yours holds {describe(item)}.")
    return sorted(tuple(int(number) for number in item) for item in items)


def not_too_deep(call, hint):
    """The result of `call`; an endless or very deep recursion gets the hint named `hint`."""
    try:
        return call()
    except StudentError as error:
        if error.kind == "RecursionError":
            message = f"`{error.function}` raised RecursionError: it calls itself too many times."
            raise CheckFailed(message, hint) from error
        raise


def named_like(labels, want):
    """The same regions with the numbers of `want` as far as can be, so that other numbers make no difference."""
    names = {0: 0} if 0 in want else {}
    taken, free = set(names), count(int(want.max()) + 1)
    for label, number in zip(labels.ravel().tolist(), want.ravel().tolist(), strict=True):
        if label not in names:
            names[label] = next(free) if number in taken else number
            taken.add(names[label])
    return np.array([[names[label] for label in row] for row in labels.tolist()])


def as_label_map(got, want, what, expect):
    """The student's label map as an array; refuse what is none, or of another shape."""
    if not isinstance(got, np.ndarray) or got.dtype.kind not in "iu" or got.shape != want.shape:
        expect.array(got, want, what, kind="integer")
        return np.asarray(got)
    return got


# ------------------------------------------------------------------------------------------------------- neighbours


# What touches the pixel (2, 1).
EDGES = [(2, 0), (1, 1), (3, 1), (2, 2)]
CORNERS = [(1, 0), (3, 0), (1, 2), (3, 2)]


def check_neighbours(student, expect, x, y, shape, connectivity, want, mistaken):
    got = student.neighbours(x, y, shape, connectivity)
    got = tuples(got, 2, "the list of neighbours", "points (x, y)")
    what = f"the sorted list of {connectivity}-neighbours of ({x}, {y}) in a picture of shape {shape}"
    mistaken = {hint: sorted(points) for hint, points in mistaken.items()}
    expect.same(got, sorted(want), what, mistaken=mistaken)


@graded("neighbours", points=0.5, title="Four neighbours", hint="Left, right, above, below: which of x, y changes?")
def test_four_neighbours(student, expect):
    mistaken = {
        "diagonals": EDGES + CORNERS,
        "itself": [*EDGES, (2, 1)],
        "row-column": [(0, 2), (1, 1), (1, 3), (2, 2)],
    }
    check_neighbours(student, expect, 2, 1, (4, 5), 4, EDGES, mistaken)


@graded("neighbours", points=0.5, title="Eight neighbours", hint="Draw 3 × 3 pixels. How many surround the middle?")
def test_eight_neighbours(student, expect):
    mistaken = {
        "no-diagonals": EDGES,
        "itself": [*EDGES, *CORNERS, (2, 1)],
        "row-column": [(b, a) for a, b in EDGES + CORNERS],
    }
    check_neighbours(student, expect, 2, 1, (4, 5), 8, EDGES + CORNERS, mistaken)


@graded(
    "neighbours",
    points=0.5,
    title="At the border",
    hint="A picture of shape (4, 5) has the columns 0 to 4 and the rows 0 to 3. Which neighbours lie outside?",
)
def test_neighbours_at_the_border(student, expect):
    edge = [(4, 1), (3, 2), (4, 3)]
    mistaken = {
        "one-too-far": [*edge, (5, 2)],
        "height-for-width": [(3, 2)],
        "diagonals": [*edge, (3, 1), (3, 3)],
        "row-column": [(b, a) for a, b in edge],
    }
    check_neighbours(student, expect, 4, 2, (4, 5), 4, edge, mistaken)
    corner = [(0, 2), (1, 3)]
    check_neighbours(student, expect, 0, 3, (4, 5), 4, corner, {"negative-index": [*corner, (-1, 3)]})




# ------------------------------------------------------------------------------------------------------- components

# Read with 4 neighbours: six components. With 8: the one at the top, and a pixel in each lower corner.
SCATTERED = np.array([[1, 1, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 1]], bool)
BY_EDGES = np.array([[1, 1, 0, 0, 2], [0, 1, 0, 3, 0], [0, 0, 4, 0, 0], [5, 0, 0, 0, 6]])
BY_CORNERS = np.array([[1, 1, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [2, 0, 0, 0, 3]])


def check_components(student, expect, mask, connectivity, want, mistaken=None, pieces=""):
    """Compare components whatever their numbers; components that fell to pieces get the hint named `pieces`."""
    expect.given(mask=mask, neighbours=connectivity)
    got = not_too_deep(lambda: student.connected_components(mask, connectivity), "recursion-depth")
    got = as_label_map(got, want, "the label map", expect)
    if (got[~mask] != 0).any():
        expect.array(got, want, "the label map", mistaken={"background-numbered": got})
    found = named_like(got, want)
    mistaken = {hint: named_like(labels, want) for hint, labels in (mistaken or {}).items()}
    if pieces and got[mask].all() and len(set(zip(found[mask], want[mask], strict=True))) == len(set(found[mask])):
        mistaken.setdefault(pieces, found)
    expect.array(found, want, "the components", mistaken=mistaken)
    numbers = sorted(set(got[mask].tolist()))
    expect.true(
        numbers == list(range(1, len(numbers) + 1)),
        f"With {len(numbers)} components the numbers should be 1 to {len(numbers)}, yours are {describe(numbers)}.",
        hint="numbers-with-gaps",
    )


@graded(
    "components",
    points=1,
    title="Components by hand, 4 neighbours",
    hint="Put a finger on a pixel of the mask and walk left, right, up and down. Where you get without a jump is one.",
)
def test_components_by_edges(student, expect):
    around = np.array([[1, 1, 0, 0, 1], [0, 1, 0, 2, 0], [0, 0, 3, 0, 0], [1, 0, 0, 0, 1]])
    check_components(student, expect, SCATTERED, 4, BY_EDGES, {"diagonals": BY_CORNERS, "negative-index": around})


@graded(
    "components",
    points=1,
    title="The letter U",
    hint="Two arms, one letter: they meet at the bottom.",
)
def test_letter_u(student, expect):
    letter = np.array([[1, 0, 0, 1, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 0]], bool)
    check_components(student, expect, letter, 4, letter.astype(int), pieces="one-pass")


@graded(
    "components",
    points=1,
    title="Components by hand, 8 neighbours",
    hint="Walk left, right, up, down, and over the corners too. Where you get without a jump is one component.",
)
def test_components_by_corners(student, expect):
    mistaken = {"no-diagonals": BY_EDGES, "negative-index": SCATTERED.astype(int)}
    check_components(student, expect, SCATTERED, 8, BY_CORNERS, mistaken, pieces="one-pass")












# ------------------------------------------------------------------------------------------------------------- grow


def mask_of(rows):
    return np.array([[letter == "#" for letter in row] for row in rows.split()])


@graded(
    "grow",
    points=1.5,
    title="A region by hand",
    hint="The seed is (3, 1), with the value 5. Which values may join, and to which of them can you walk?",
)
def test_grow_by_hand(student, expect):
    image = np.array([[5, 6, 6, 5, 7], [1, 8, 9, 5, 1], [8, 5, 1, 4, 1], [3, 6, 9, 9, 4]], np.uint8)
    expect.given(image=image, seed=(3, 1), tolerance=2)
    got = not_too_deep(lambda: student.grow(image, (3, 1), 2), "recursion-depth")
    expect.array(
        got,
        mask_of("##### ...#. ...#. ....."),
        "the region",
        kind="bool",
        mistaken={
            "strict": mask_of("####. ...#. ...#. ....."),
            "not-connected": mask_of("##### ...#. .#.#. ##..#"),
            "diagonals": mask_of("##### ...#. ...#. ....#"),
            "previous-pixel": mask_of("##### .###. ...#. ....."),
            "one-sided": mask_of("##### #..## .#### ##..#"),
            "row-column": mask_of("##### .#.#. ##.#. .#..."),
            "uint8-overflow": mask_of("##### ...#. ..... ....."),
        },
    )


@graded(
    "grow",
    points=1,
    title="A very bright region beside a dark one",
    hint="The seed has the value 250. Which values differ from it by at most 20, and which of them can a pixel have?",
)
def test_grow_where_it_is_bright(student, expect):
    image = np.array([[250, 255, 252, 3], [240, 1, 229, 0], [231, 230, 250, 2]], np.uint8)
    region = mask_of("###. #... ###.")
    expect.given(image=image, seed=(0, 0), tolerance=20)
    got = not_too_deep(lambda: student.grow(image, (0, 0), 20), "recursion-depth")
    alone, darker, brighter = mask_of("#... .... ...."), mask_of("#... #... ###."), mask_of("#### .#.# ..##")
    mistake = next((wrong for wrong in (alone, darker, brighter) if np.array_equal(got, wrong)), alone)
    expect.array(
        got,
        region,
        "the region",
        kind="bool",
        mistaken={"uint8-overflow": mistake, "strict": mask_of("###. #... #...")},
    )










# ----------------------------------------------------------------------------------------------------- grow-by-mean


@graded(
    "grow-by-mean",
    points=1.5,
    title="Three rounds by hand",
    hint="The seed is (1, 1), so the first mean is 2. Write down who joins in the first round, the new mean, who joins "
    "in the second round, ...",
)
def test_rounds_by_hand(student, expect):
    image = np.array([[1, 6, 6, 3, 6], [4, 2, 5, 1, 8], [5, 8, 1, 4, 4]], np.uint8)
    expect.given(image=image, seed=(1, 1), tolerance=2)
    got = student.grow_by_mean(image, (1, 1), 2)
    wrapped = [mask_of(rows) for rows in (".##.. ###.. #....", "..... ##... .....")]  # of an integer mean, of the seed
    expect.array(
        got,
        mask_of("#.... ###.. #...."),
        "the region",
        kind="bool",
        mistaken={
            "strict": mask_of("..... .#... ....."),
            "fixed-seed": mask_of("#.... ##... ....."),
            "mean-of-the-newest": mask_of(".##.. ###.. ##..."),
            "integer-mean": mask_of("#..#. ####. #.###"),
            "one-at-a-time": mask_of(".#### ###.. #...."),
            "refused-for-good": mask_of("#.... ##... #...."),
            "uint8-overflow": next((wrong for wrong in wrapped if np.array_equal(got, wrong)), wrapped[0]),
        },
    )


@graded(
    "grow-by-mean",
    points=1,
    title="A very bright region",
    hint="What is the mean of 250, 252, 248, 251 and 249? What does your code make of it, line by line?",
)
def test_mean_where_it_is_bright(student, expect):
    image = np.array([[248, 250, 252, 90], [251, 250, 249, 90], [250, 252, 250, 90], [90, 90, 90, 90]], np.uint8)
    expect.given(image=image, seed=(1, 1), tolerance=10)
    expect.array(
        student.grow_by_mean(image, (1, 1), 10),
        image > 100,
        "the region",
        kind="bool",
        mistaken={"uint8-overflow": mask_of(".#.. ###. .#.. ....")},
    )








# ----------------------------------------------------------------------------------------------------------- ranges

LECTURE = np.array([[1, 1, 5, 6], [2, 1, 6, 7], [3, 2, 7, 4], [1, 0, 5, 5]], np.uint8)


@graded(
    "ranges",
    points=1,
    title="The picture of 4 × 4 pixels",
    hint="Each quadrant has 2 × 2 pixels. The first holds 1, 1, 2 and 1.",
)
def test_ranges_by_hand(student, expect):
    expect.given(image=LECTURE)
    got = student.quadrant_ranges(LECTURE)
    if isinstance(got, list | tuple) and all(isinstance(number, int | float) for number in got):
        got = [round(float(number), 3) for number in got]
    expect.same(
        got,
        [1, 2, 3, 3],
        "the list of ranges",
        mistaken={
            "columns-first": [1, 3, 2, 3],
            "every-second-pixel": [6, 5, 5, 7],
            "deviation-for-range": [0.433, 0.707, 1.118, 1.09],
        },
    )




# ------------------------------------------------------------------------------------------------------------ split


def check_leaves(student, expect, image, tolerance, want, mistaken=None):
    """Compare the student's leaves in any order; show both splits if they differ."""
    expect.given(image=image, tolerance=tolerance)
    got = not_too_deep(lambda: student.split(image, tolerance), "cut-for-ever")
    got = tuples(got, 4, "the list of leaves", "boxes (x, y, width, height)")
    if got == sorted(want):
        return
    hint = next((name for name, boxes in (mistaken or {}).items() if got == sorted(boxes)), "")
    times = times_covered(got, image)
    expect.true(
        times is not None, f"Not all of your boxes lie inside the picture: {describe(got)}.", hint=hint or "tiling"
    )
    if (times != 1).any():
        y, x = np.argwhere(times != 1)[0].tolist()
        message = f"Each pixel should be in exactly one box, but ({x}, {y}) is in {times[y, x]} of yours."
        raise CheckFailed(message, hint or "tiling")
    with suppress(CheckFailed):  # for its pictures; the words below say more than a comparison of numbers
        leaves = leaf_map(want, image)
        expect.array(named_like(leaf_map(got, image), leaves), leaves, "the leaves")
    for x, y, width, height in got:
        values = image[y : y + height, x : x + width]
        spread = int(values.max()) - int(values.min())
        message = f"The box {(x, y, width, height)} has a range of {spread}, more than the tolerance of {tolerance}."
        expect.true(spread <= tolerance, message, hint=hint)
    box = min(set(want) - set(got))
    raise CheckFailed(f"The box {box} is uniform enough to stay whole, but you have it in pieces.", hint)


def times_covered(boxes, image):
    """How many of the boxes each pixel is in; None if a box does not lie inside the image."""
    side, times = len(image), np.zeros(image.shape, int)
    for x, y, width, height in boxes:
        if not (0 <= x < x + width <= side and 0 <= y < y + height <= side):
            return None
        times[y : y + height, x : x + width] += 1
    return times


def leaf_map(boxes, image):
    """A map in which each leaf has its own number, from 1."""
    labels = np.zeros(image.shape, int)
    for number, (x, y, width, height) in enumerate(sorted(boxes, key=lambda box: box[1::-1]), start=1):
        labels[y : y + height, x : x + width] = number
    return labels


SINGLES = {
    corner: [(corner[0] + i % 2, corner[1] + i // 2, 1, 1) for i in range(4)]
    for corner in ((0, 0), (2, 0), (0, 2), (2, 2))
}


@graded(
    "split",
    points=1.5,
    title="The picture of 4 × 4 pixels at tolerance 1",
    hint="The whole has the range 7, so it is cut. Its quadrants have the ranges 1, 2, 3 and 3: which are cut again?",
)
def test_split_at_1(student, expect):
    quadrants = [(0, 0, 2, 2), (2, 0, 2, 2), (0, 2, 2, 2), (2, 2, 2, 2)]
    check_leaves(
        student,
        expect,
        LECTURE,
        1,
        [(0, 0, 2, 2), *SINGLES[2, 0], *SINGLES[0, 2], *SINGLES[2, 2]],
        mistaken={
            "one-level": quadrants,
            "deviation-for-range": [*quadrants[:2], *SINGLES[0, 2], *SINGLES[2, 2]],
            "at-the-tolerance": [pixel for pixels in SINGLES.values() for pixel in pixels],
            "relative-boxes": [(0, 0, 2, 2)] + 12 * [(0, 0, 1, 1)],
        },
    )


@graded(
    "split",
    points=1,
    title="The same picture at tolerance 2",
    hint="The quadrants have the ranges 1, 2, 3 and 3. Which stay whole, and where do they begin?",
)
def test_split_at_2(student, expect):
    pixels = [*SINGLES[0, 2], *SINGLES[2, 2]]
    want = [(0, 0, 2, 2), (2, 0, 2, 2), *pixels]
    swapped = [(y, x, height, width) for x, y, width, height in want]
    mistaken = {
        "row-column": swapped,
        "at-the-tolerance": [(0, 0, 2, 2), *SINGLES[2, 0], *pixels],
        "relative-boxes": 2 * [(0, 0, 2, 2)] + 8 * [(0, 0, 1, 1)],
    }
    check_leaves(student, expect, LECTURE, 2, want, mistaken)


@graded(
    "split",
    points=0.5,
    title="Pictures of one value, and of one pixel",
    hint="What is the range of a picture in which all pixels are equal? And that of a single pixel?",
)
def test_split_of_nothing(student, expect):
    check_leaves(student, expect, np.full((8, 8), 7, np.uint8), 0, [(0, 0, 8, 8)])
    check_leaves(student, expect, np.full((1, 1), 7, np.uint8), 0, [(0, 0, 1, 1)])








# -------------------------------------------------------------------------------------------------------- adjacency


def check_pairs(student, expect, labels, want, mistaken):
    got = student.adjacent_pairs(labels)
    got = tuples(got, 2, "the list of pairs", "pairs (a, b)")
    if got != want and {tuple(sorted(pair)) for pair in got} == set(want):
        mistaken = {"each-pair-once": got}
    expect.same(got, want, "the list of pairs", mistaken=mistaken)


@graded(
    "adjacency",
    points=1.5,
    title="Five regions by hand",
    hint="Go along the borders between the regions. Which two numbers are on their two sides?",
)
def test_pairs_by_hand(student, expect):
    labels = np.array([[1, 1, 2, 2], [1, 1, 2, 5], [4, 4, 3, 3]])
    pairs = [(1, 2), (1, 4), (2, 3), (2, 5), (3, 4), (3, 5)]
    expect.given(labels=labels)
    check_pairs(
        student,
        expect,
        labels,
        pairs,
        mistaken={
            "diagonals": sorted([*pairs, (1, 3), (2, 4)]),
            "one-direction": [(1, 2), (2, 5), (3, 4)],
            "with-itself": sorted([*pairs, (1, 1), (2, 2), (3, 3), (4, 4)]),
            "around-the-edge": sorted([*pairs, (1, 5)]),
        },
    )




# ------------------------------------------------------------------------------------------------------------ merge


def check_merged(student, expect, image, labels, pairs, tolerance, want, mistaken=None):
    """Compare merged regions whatever their numbers."""
    expect.given(image=image, labels=labels, pairs=np.array(pairs), tolerance=tolerance)
    got = as_label_map(student.merge(image, labels, pairs, tolerance), want, "the label map", expect)
    mistaken = {hint: named_like(wrong, want) for hint, wrong in (mistaken or {}).items()}
    expect.array(named_like(got, want), want, "the merged regions", mistaken=mistaken)


@graded(
    "merge",
    points=1,
    title="Five regions in a row",
    hint="Try the four pairs one after another, and write down which values the grown regions hold.",
)
def test_merge_in_a_row(student, expect):
    image = np.array([[2, 3, 6, 7, 20], [4, 5, 6, 9, 20]], np.uint8)
    labels = np.tile(np.arange(1, 6), (2, 1))
    check_merged(
        student,
        expect,
        image,
        labels,
        [(1, 2), (2, 3), (3, 4), (4, 5)],
        3,
        np.tile([1, 1, 2, 2, 3], (2, 1)),
        mistaken={
            "chain": np.tile([1, 1, 1, 1, 2], (2, 1)),
            "means-for-range": np.tile([1, 1, 1, 2, 3], (2, 1)),
            "own-range": np.tile([1, 1, 1, 2, 2], (2, 1)),
            "strict": labels,
        },
    )


@graded(
    "merge",
    points=1.5,
    title="The leaves of the picture of 4 × 4 pixels",
    hint="When the pair (4, 6) is tried, 4 is already part of another region. Of which, and what does that hold?",
)
def test_merge_by_hand(student, expect):
    labels = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 4, 7, 8], [5, 6, 9, 10]])
    pairs = [(1, 2), (1, 3), (1, 4), (2, 7), (2, 8), (3, 4), (3, 5), (4, 6), (4, 7), (5, 6)]
    pairs += [(6, 9), (7, 8), (7, 9), (8, 10), (9, 10)]
    check_merged(
        student,
        expect,
        LECTURE,
        labels,
        pairs,
        2,
        np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 3], [1, 4, 2, 3]]),
        mistaken={
            "stale-numbers": np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 3], [4, 4, 5, 3]]),
            "not-adjacent": np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 3], [1, 4, 2, 2]]),
            "other-order": np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 1, 2, 4], [1, 1, 4, 4]]),
            "chain": np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2]]),
            "own-range": np.array([[1, 1, 1, 1], [1, 1, 1, 1], [2, 2, 3, 3], [2, 2, 4, 4]]),
            "strict": np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 1, 4, 5], [6, 6, 5, 5]]),
        },
    )
