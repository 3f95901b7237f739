# The exercise's public tests, for the instant check. Editing them changes no grade.
"""The tests of ps10: prompts as numbers, masks from tokens, how sure a mask is, and clicks that correct it.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

import math

import numpy as np
import torch

from autograder.forbidden import LIBRARIES
from autograder.pictures import describe
from autograder.sandbox.errors import NotDefined, StudentError
from autograder.suite import Exercise, graded

exercise = Exercise(
    "ps10-sam",
    cells={
        "position": 5,
        "tokens": 5,
        "choose": 4,
        "masks": 5,
        "stability": 3,
        "click": 5,
        "game": 5,
        "nms": 4,
    },
    # torch loads SymPy when it first differentiates: half a second, which each student's process would spend anew.
    preload=("numpy", "torch", "sympy", "scipy.ndimage", "matplotlib.pyplot"),
    forbidden=(
        *LIBRARIES,
        "pycocotools",
        "segment_anything",
        "transformers",
    ),
    hints={
        # position
        "from-the-corner": "Your place is the pixel's corner. Where is the middle of pixel 0?",
        "rows-first": "You took the first number of a point for its row. Which comes first here, x or y?",
        "sides-swapped": "You divided x by the height and y by the width. x runs along the width.",
        "frequencies-swapped": "Your x meets the frequencies of y. Which row of the matrix is for x?",
        "from-0-to-1": "Your places run from 0 to 1. They should run from −1 to 1, with 0 in the middle of the image.",
        "no-turns": "Your angles are too small: a frequency of 1 is a whole turn.",
        "half-turns": "Your angles are half of what they should be. How much is a whole turn?",
        "cosines-first": "You have the cosines before the sines.",
        "in-turn": "You put a sine and a cosine in turn. All sines come first.",
        "x-only": "Your angles know nothing of y. Each wave has two frequencies, one for x and one for y.",
        # tokens
        "labels-swapped": "Your clicks on the object mean background, and the other way round.",
        "position-lost": "Your tokens say what a point means, and not where it is.",
        "meaning-lost": "Your tokens say where a point is, and not what it means.",
        "no-box-forgotten": "A token is missing. What does a prompt without a box get?",
        "no-box-always": "You have a token too many. This prompt has a box.",
        "no-box-first": "The token for a missing box stands first. Where does it belong?",
        "no-box-added": "You added the vector of the missing box to each token. It is a token of its own.",
        "corners-alike": "Both corners mean the same to you. How would the decoder know which is the upper left one?",
        "unknown-to-the-module": "The module does not know `no_box`, so it would never learn it. What is a tensor to "
        "be wrapped in?",
        # choose
        "one-of-four": "To a single click you let all four masks compete. Which were made for it?",
        "best-always": "A clear prompt gets mask 0, even if another is expected to be better.",
        "first-always": "A single click got mask 0. Which masks were made for it?",
        "one-too-low": "Among masks 1 to 3, `argmax` counts from 0.",
        "lowest": "You chose the mask that is expected to be worst.",
        "turned-round": "You treat single clicks as clear, and clear prompts as ambiguous.",
        "box-is-a-click": "You took a box for ambiguous. It has two corners, and with them it is clear.",
        "one-for-all": "You chose the same mask for all prompts. What has a prompt to do with its neighbours?",
        # masks
        "mean-product": "Your logits are too small: the products are added up, not averaged.",
        "squashed": "Your numbers lie between 0 and 1. Logits are the sums as they are.",
        "compete": "In your result the masks compete at each pixel. They may overlap: each is for itself.",
        "cut-first": "You cut before you resized. A mask of 0 and 1, blown up, has lost where between two pixels the "
        "logits were 0.",
        "blocks": "Your borders run around the pixels of the small map. The logits between two pixels lie between "
        "theirs.",
        "corners-aligned": "You laid the outer pixels' middles onto the square's edges. What is `align_corners` to be?",
        "half-is-nothing": "You cut too high: a logit above 0 is object, which is a probability of one half.",
        "not-cropped": "You squeezed the whole square into the image. A part of it is filling.",
        "centre-cropped": "You cropped to the centre of the square. In which corner does the image lie?",
        "last-rows": "You kept the lower right of the square. In which corner does the image lie?",
        # stability
        "upside-down": "A score above 1? The smaller mask is within the larger one.",
        "at-the-cut": "You count pixels whose logit is exactly at a cut. Only those above it count.",
        "against-the-mask": "You compared the smaller mask with the one cut at 0. Which two masks are asked for?",
        "larger-against-mask": "You compared the mask cut at 0 with the larger one. Which two masks are asked for?",
        "probabilities": "You cut probabilities. What is given are logits, and no probability is above 1.",
        "delta-ignored": "You cut at 1 and −1 whatever `delta` says.",
        "zero-by-zero": "Your result is not a number where nothing is above −1: there you divided 0 by 0.",
        "all-in-one": "You counted the pixels of all masks together. Each mask has a score of its own.",
        # click
        "row-for-x": "Row and column have changed places: a click is (x, y), and x is the column.",
        "label-turned": "Your label is the wrong way round. A missed pixel belongs to the object.",
        "most-pixels": "You went for the error with more pixels. Which is thicker?",
        "mean-place": "You clicked on the mean place of the error, and there nothing is wrong.",
        "edge-ignored": "You clicked at the edge of the image. Beyond the edge there is no error either, so no depth.",
        "errors-joined": "You took missed and added pixels for one error, and clicked where the two meet.",
        "inside-truth": "You clicked on the middle of the whole object. Which part of it is still missing?",
        "tie-to-added": "If both kinds are equally deep, the missed one comes first.",
        "missed-only": "You look for missed pixels only. Here too much was added.",
        # game
        "memory-lost": "The network was given no logits of its answer before.",
        "mask-for-logits": "The network was given its mask back. Its logits say more.",
        "newest-click-only": "The network was told the newest click only. It wants all so far.",
        "stale-answer": "Your user was shown an empty mask again and again, and so clicked on the same place.",
        "truth-first": "Your user was shown the truth for the answer. In which order does `next_click` want them?",
        "never-enough": "You went on after the target was reached. `The target or more` includes the target itself.",
        "plays-on": "You went on to the last click, although the mask had long been good enough.",
        "budget-ignored": "You went on until the target was reached. More than `most` clicks are not allowed.",
        "one-click-too-many": "You made one click more than allowed.",
        "one-click-too-few": "You made one click less than allowed.",
        "starts-at-nothing": "Your first IoU is that of the empty mask, before any click.",
        "last-one-missing": "The IoU after the last click is missing.",
        "right-pixels": "You counted the pixels that are right. The IoU leaves out those where neither mask is.",
        "dice": "You divide by both areas added up. What does the U in IoU stand for?",
        # nms
        "dropped-drops": "A mask that was dropped has dropped another. Whom does each mask have to be compared with?",
        "unsorted": "You went through the masks as they came, so of two twins you kept the first, not the better one.",
        "worst-first": "You went from the lowest score to the highest.",
        "by-place": "These are the right masks, in the order in which they came. The best comes first.",
        "marks": "You returned which masks are kept. Asked are their places, the best first.",
        "by-boxes": "These masks have the same box and no pixel in common. You compared their boxes.",
        "by-the-smaller": "You divided by the smaller mask. So a part of a thing goes with the thing.",
        "by-dice": "You divided by the mean of both areas. What does the U in IoU stand for?",
        "at-the-threshold": "An IoU that is exactly the threshold is not higher than it.",
    },
)


def numbers(values):
    """An array of floats, which a failed test shows as a table."""
    return np.array(values, float)




# ---------------------------------------------------------------------------------------------------------- position


def sines_and_cosines(*rows):
    """Sines, then cosines, of each row's angles in degrees."""
    angles = np.radians(numbers(rows))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


@graded(
    "position",
    points=1.5,
    title="Two pixels of a small image",
    hint="The pixel (1, 1) is in the middle column of three, so u = 0 and its first angle is 0°. It is in the second "
    "row of two, so v = 1/2 and its second angle is 45°.",
)
def test_position_by_hand(student, expect):
    points, frequencies = torch.tensor([[2.0, 0], [1, 1]]), torch.tensor([[0.25, 0], [0, 0.25]])
    expect.given(points=points, size="2 high, 3 wide", frequencies=frequencies)
    want = sines_and_cosines([60, -45], [0, 45])
    turn = math.degrees(1) / 4  # an angle of a quarter, not of a quarter turn
    expect.array(
        student.encode_points(points, (2, 3), frequencies),
        want,
        "the codes",
        tolerance=1e-3,
        mistaken={
            "from-the-corner": sines_and_cosines([30, -90], [-30, 0]),
            "rows-first": sines_and_cosines([-60, 135], [0, 45]),
            "sides-swapped": sines_and_cosines([135, -60], [45, 0]),
            "frequencies-swapped": sines_and_cosines([-45, 60], [45, 0]),
            "x-only": sines_and_cosines([60, 0], [0, 0]),
            "from-0-to-1": sines_and_cosines([75, 22.5], [45, 67.5]),
            "no-turns": sines_and_cosines([2 / 3 * turn, -turn / 2], [0, turn / 2]),
            "half-turns": sines_and_cosines([30, -22.5], [0, 22.5]),
            "cosines-first": want[:, [2, 3, 0, 1]],
            "in-turn": want[:, [0, 2, 1, 3]],
        },
    )


@graded(
    "position",
    points=1.5,
    title="Waves that run aslant",
    hint="In an image of 4 × 4, the pixel (3, 2) has u = 3/4 and v = 1/4. A wave with the frequencies 1/3 and 1/3 has "
    "the angle of a third of a turn there: 120°.",
)
def test_position_of_slanting_waves(student, expect):
    points, frequencies = torch.tensor([[3.0, 2]]), torch.tensor([[1 / 3, 1 / 3, 0.5], [1 / 3, -1 / 3, 1]])
    expect.given(points=points, size="4 high, 4 wide", frequencies=frequencies)
    expect.array(
        student.encode_points(points, (4, 4), frequencies),
        sines_and_cosines([120, 60, 225]),
        "the code",
        tolerance=1e-3,
        mistaken={
            "x-only": sines_and_cosines([90, 90, 135]),
            "from-the-corner": sines_and_cosines([60, 60, 90]),
        },
    )






# ------------------------------------------------------------------------------------------------------------ tokens

MEANINGS = torch.tensor([[10.0, 20], [30, 40], [50, 60], [70, 80]])
TOKEN_WEIGHTS = {"meanings.weight": MEANINGS, "no_box": torch.tensor([5.0, 6])}


@graded(
    "tokens",
    points=0.5,
    title="The weights of the module",
    hint="Four vectors for four labels, and one for a missing box.",
)
def test_token_weights(student, expect):
    shapes = student.PromptTokens.module(7).shapes()
    want = {"meanings.weight": (4, 7), "no_box": (7,)}
    expect.same(shapes, want, "the weights", mistaken={"unknown-to-the-module": {"meanings.weight": (4, 7)}})


@graded(
    "tokens",
    points=1.5,
    title="Two clicks, by hand",
    hint="The first click is at (1, 2) and on the object, whose vector is (30, 40). There is no box, so (5, 6) "
    "comes last.",
)
def test_tokens_of_clicks(student, expect):
    positions, labels = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([1, 0])
    expect.given(positions=positions, labels=labels, vectors_of_the_labels=MEANINGS, no_box="5, 6")
    expect.array(
        student.PromptTokens.module(2).load(TOKEN_WEIGHTS)(positions, labels),
        numbers([[31, 42], [13, 24], [5, 6]]),
        "the tokens",
        tolerance=1e-4,
        mistaken={
            "labels-swapped": numbers([[11, 22], [33, 44], [5, 6]]),
            "position-lost": numbers([[30, 40], [10, 20], [5, 6]]),
            "meaning-lost": numbers([[1, 2], [3, 4], [5, 6]]),
            "no-box-forgotten": numbers([[31, 42], [13, 24]]),
            "no-box-first": numbers([[5, 6], [31, 42], [13, 24]]),
            "no-box-added": numbers([[36, 48], [18, 30]]),
        },
    )


@graded(
    "tokens",
    points=1,
    title="A box, by hand",
    hint="The upper left corner at (1, 2) becomes (51, 62). A prompt with a box needs no vector for a missing one.",
)
def test_tokens_of_a_box(student, expect):
    positions, labels = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([2, 3])
    expect.given(positions=positions, labels=labels, vectors_of_the_labels=MEANINGS, no_box="5, 6")
    expect.array(
        student.PromptTokens.module(2).load(TOKEN_WEIGHTS)(positions, labels),
        numbers([[51, 62], [73, 84]]),
        "the tokens",
        tolerance=1e-4,
        mistaken={
            "no-box-always": numbers([[51, 62], [73, 84], [5, 6]]),
            "corners-alike": numbers([[51, 62], [53, 64]]),
        },
    )








# ------------------------------------------------------------------------------------------------------------ choose


def named_logits(P):
    """Logits (P, 4, 1, 2) that spell: hundreds for the prompt, tens for the mask, ones for the pixel."""
    return torch.tensor([[[[100.0 * p + 10 * m, 100 * p + 10 * m + 1]] for m in range(4)] for p in range(P)])


def spelt(*chosen):
    """The logits above of the masks chosen for each prompt."""
    return numbers([[[100 * p + 10 * m, 100 * p + 10 * m + 1]] for p, m in enumerate(chosen)])


@graded(
    "choose",
    points=1.5,
    title="A click, two clicks, a click",
    hint="The first prompt is one click: of 0.2, 0.7 and 0.5, the second is highest, so mask 2. The second prompt has "
    "two clicks, so mask 0.",
)
def test_choice_by_hand(student, expect):
    iou = torch.tensor([[0.9, 0.2, 0.7, 0.5], [0.6, 0.8, 0.1, 0.9], [0.3, 0.8, 0.4, 0.5]])
    labels = [[1], [1, 0], [1]]
    expect.given(iou=iou, labels=labels)
    got = student.choose_masks(named_logits(3), iou, labels)
    both = isinstance(got, list | tuple) and len(got) == 2
    expect.true(both, f"The result should be logits and iou, two tensors; yours is {describe(got)}.")
    expect.array(
        got[0],
        spelt(2, 0, 1),
        "the logits, which spell prompt, mask and pixel,",
        mistaken={
            "one-of-four": spelt(0, 0, 1),
            "best-always": spelt(2, 3, 1),
            "first-always": spelt(0, 0, 0),
            "one-too-low": spelt(1, 0, 0),
            "lowest": spelt(1, 0, 2),
            "turned-round": spelt(0, 3, 0),
            "one-for-all": spelt(3, 0, 3),
        },
    )
    expect.array(got[1], numbers([0.7, 0.6, 0.8]), "the expected IoU", tolerance=1e-5)


@graded(
    "choose",
    points=0.5,
    title="A box, and a box with a click",
    hint="A box has two points, its corners, labelled 2 and 3.",
)
def test_choice_for_a_box(student, expect):
    iou = torch.tensor([[0.6, 0.8, 0.1, 0.9], [0.3, 0.4, 0.5, 0.8]])
    labels = [[2, 3], [2, 3, 1]]
    expect.given(iou=iou, labels=labels)
    got = student.choose_masks(named_logits(2), iou, labels)
    expect.true(isinstance(got, list | tuple) and len(got) == 2, "The result should be logits and iou.")
    expect.array(got[0], spelt(0, 0), "the logits", mistaken={"box-is-a-click": spelt(3, 0)})
    expect.array(got[1], numbers([0.6, 0.3]), "the expected IoU", tolerance=1e-5)




# ------------------------------------------------------------------------------------------------------------- masks


@graded(
    "masks",
    points=1,
    title="Logits of two masks, in digits",
    hint="The first token is 10 and 1. At the first pixel stand 3 and 5, so its logit is 35.",
)
def test_logits_by_hand(student, expect):
    tokens, pixels = torch.tensor([[10.0, 1], [-1, 0]]), torch.tensor([[[3.0, 4, 1]], [[5, 6, 0]]])
    expect.given(tokens=tokens, pixels=pixels)
    want = numbers([[[35, 46, 10]], [[-3, -4, -1]]])
    expect.array(
        student.mask_logits(tokens, pixels),
        want,
        "the logits",
        tolerance=1e-3,
        mistaken={
            "mean-product": want / 2,
            "squashed": 1 / (1 + np.exp(-want)),
            "compete": np.stack([1 / (1 + np.exp(want[1] - want[0])), 1 / (1 + np.exp(want[0] - want[1]))]),
        },
    )


def stripes(text):
    """A stack of one mask, 8 rows high, all of whose rows are alike; drawn in text, `#` for True."""
    return np.array([[[letter == "#" for letter in text]] * 8])


def bands(text):
    """A stack of one mask, 8 columns wide, all of whose columns are alike."""
    return np.array([[[letter == "#"] * 8 for letter in text]])


@graded(
    "masks",
    points=1,
    title="A border between two pixels",
    hint="Blown up twice, a row of 1, −2.5, 4, −1 becomes 1, 0.125, −1.625, −0.875, 2.375, 2.75, 0.25, −1.",
)
def test_masks_by_hand(student, expect):
    logits = torch.tensor([1, -2.5, 4, -1]).expand(1, 4, 4)
    expect.given(logits=logits[0], side=8, scaled="8 rows, 8 columns", size="8 high, 8 wide")
    expect.array(
        student.to_masks(logits, 8, (8, 8), (8, 8)),
        stripes("##..###."),
        "the mask",
        kind="bool",
        mistaken={
            "cut-first": stripes("#######."),
            "blocks": stripes("##..##.."),
            "corners-aligned": stripes("#...###."),
            "half-is-nothing": stripes("#...##.."),
        },
    )


@graded(
    "masks",
    points=1,
    title="A square that the image does not fill",
    hint="Blown up twice, a column of −1, 1, 1, −1 becomes −1, −0.5, 0.5, 1, 1, 0.5, −0.5, −1. The image lies in the "
    "first five of these rows.",
)
def test_masks_of_a_wide_image(student, expect):
    logits = torch.tensor([[-1.0], [1], [1], [-1]]).expand(1, 4, 4)
    expect.given(logits=logits[0], side=8, scaled="5 rows, 8 columns", size="5 high, 8 wide")
    expect.array(
        student.to_masks(logits, 8, (5, 8), (5, 8)),
        bands("..###"),
        "the mask",
        kind="bool",
        mistaken={
            "not-cropped": bands(".###."),
            "centre-cropped": bands(".####"),
            "last-rows": bands("###.."),
        },
    )










# --------------------------------------------------------------------------------------------------------- stability


@graded(
    "stability",
    points=1,
    title="Eight logits, cut at 1 and −1",
    hint="Above 1 lie 3 and 2. Above −1 lie these two, and 0.5, 1, 0 and −0.5.",
)
def test_stability_by_hand(student, expect):
    logits = torch.tensor([[3, 0.5, -0.5, -3], [2, 1, 0, -1]])
    expect.given(logits=logits, delta=1.0)
    mistaken = {
        "upside-down": 3,
        "at-the-cut": 3 / 7,
        "against-the-mask": 2 / 4,
        "larger-against-mask": 4 / 6,
        "probabilities": 0,
    }
    expect.number(student.stability(logits), 1 / 3, "the score", tolerance=1e-5, mistaken=mistaken)


@graded(
    "stability",
    points=0.5,
    title="The same logits, cut at 2 and −2",
    hint="Above 2 lies one of them, above −2 lie seven.",
)
def test_stability_with_another_delta(student, expect):
    logits = torch.tensor([[3, 0.5, -0.5, -3], [2, 1, 0, -1]])
    expect.given(logits=logits, delta=2.0)
    mistaken = {"delta-ignored": 1 / 3}
    expect.number(student.stability(logits, 2.0), 1 / 7, "the score", tolerance=1e-5, mistaken=mistaken)






# ------------------------------------------------------------------------------------------------------------- click


def as_click(expect, got):
    """A student's click as ((x, y), label) in whole numbers."""
    try:
        (x, y), label = got
        values = [float(x), float(y), float(label)]
    except (TypeError, ValueError, OverflowError):
        values = []
    fine = len(values) == 3 and all(value.is_integer() for value in values)
    expect.true(fine, f"The click should be ((x, y), label), three whole numbers; yours is {describe(got)}.")
    return (int(values[0]), int(values[1])), int(values[2])


def expect_click(expect, got, right, mistaken):
    """The click must be one of the right ones; of wrong ones, some have a hint."""
    click = as_click(expect, got)
    (x, y), label = right[0]
    where = "The click should be" if len(right) == 1 else "A right click would be"
    message = f"{where} at ({x}, {y}) with label {label}, yours is at {click[0]} with label {click[1]}."
    for hint, wrong in mistaken.items():
        expect.true(click in right or click not in wrong, message, hint=hint)
    expect.true(click in right, message)


@graded(
    "click",
    points=1,
    title="A thick error and a long one",
    hint="The square is 5 pixels thick and was missed. The stripe is 3 thick, though it has more pixels.",
)
def test_click_by_hand(student, expect):
    truth, answer = torch.zeros(2, 13, 14).bool()
    truth[2:7, 1:6] = True  # the middle: (3, 4)
    answer[1:12, 9:12] = True  # 33 pixels
    expect.given(answer=answer, truth=truth)
    mistaken = {
        "row-for-x": [((4, 3), 1)],
        "label-turned": [((3, 4), 0)],
        "most-pixels": [((10, y), 0) for y in range(1, 12)],
    }
    expect_click(expect, student.next_click(answer, truth), [((3, 4), 1)], mistaken)


@graded(
    "click",
    points=1,
    title="A ring that was added",
    hint="Nothing was missed here. The ring is 2 pixels thick above and on the left, 3 below and on the right.",
)
def test_click_on_a_ring(student, expect):
    answer, truth = torch.zeros(2, 11, 11).bool()
    answer[1:10, 1:10] = True
    truth[3:7, 3:7] = True
    expect.given(answer=answer, truth=truth)
    right = [((place, 8), 0) for place in range(2, 9)] + [((8, place), 0) for place in range(2, 9)]
    mistaken = {
        "mean-place": [((5, 5), 0)],
        "inside-truth": [((x, y), 1) for x in (4, 5) for y in (4, 5)],
        "missed-only": [((0, 0), 1)],
    }
    expect_click(expect, student.next_click(answer, truth), right, mistaken)


@graded(
    "click",
    points=1,
    title="Errors at the edge, errors that meet, errors that are alike",
    hint="Beyond the image's edge there is no error, so a square in the corner is deepest in its middle. Where missed "
    "and added pixels meet, each kind ends. And if both are equally deep?",
)
def test_click_at_edges(student, expect):
    answer, truth = torch.zeros(2, 5, 12).bool()
    truth[:, :5] = True
    expect.given(answer=answer, truth=truth)
    mistaken = {"edge-ignored": [((0, y), 1) for y in range(5)]}
    expect_click(expect, student.next_click(answer, truth), [((2, 2), 1)], mistaken)

    answer, truth = torch.zeros(2, 9, 11).bool()
    truth[1:8, 1:6] = True
    answer[1:8, 6:9] = True
    expect.given(second_answer=answer, second_truth=truth)
    mistaken = {"errors-joined": [((4, 4), 1), ((5, 4), 1)]}
    expect_click(expect, student.next_click(answer, truth), [((3, y), 1) for y in (3, 4, 5)], mistaken)

    answer, truth = torch.zeros(2, 5, 11).bool()
    answer[1:4, 1:4] = True
    truth[1:4, 7:10] = True
    expect.given(third_answer=answer, third_truth=truth)
    mistaken = {"tie-to-added": [((2, 2), 0)]}
    expect_click(expect, student.next_click(answer, truth), [((8, 2), 1)], mistaken)










# -------------------------------------------------------------------------------------------------------------- game


def play(student, expect, segments, truth, target, most):
    """What `clicks_until` returns, and what network and user saw in the game; see `given_game` in the notebook."""
    try:
        reply = student.given_game(segments, truth, target, most)
    except StudentError as error:
        if error.kind == "NameError" and "'clicks_until'" in error.message:
            message = "`clicks_until` is not defined yet: run its cell (Shift+Enter), then check again."
            raise NotDefined("NameError", message, "", "clicks_until") from error
        error.function = "clicks_until"  # of the two, the student's own
        raise
    fine = isinstance(reply, tuple) and len(reply) == 3 and all(isinstance(part, list) for part in reply[1:])
    expect.true(fine, "The game could not be played: run the first cell of the notebook again.")
    result, asked, shown = reply
    fine = isinstance(result, list | tuple) and len(result) == 3
    expect.true(fine, f"The result should be three lists, points, labels and IoUs; yours is {describe(result)}.")
    return result, asked, shown


# A row of six pixels. A click on the object adds the first four or the last two; one on the background takes one off.
ROW = torch.tensor([[[1, 2, 3, 4, 5, 6]], [[1, 1, 1, 1, 2, 2]]])
ROW_TRUTH = torch.tensor([[True, True, True, False, True, True]])


@graded(
    "game",
    points=1,
    title="What user and network are told",
    hint="The user sees the newest mask. The network gets all clicks so far and the logits that it gave the last time.",
)
def test_game_told(student, expect):
    expect.given(truth=ROW_TRUTH, target=0.9)
    _, asked, shown = play(student, expect, ROW, ROW_TRUTH, 0.9, 20)
    expect.true(len(asked) > 1, f"The network should be asked 3 times, yours asked {len(asked)} times.")
    first = torch.as_tensor(shown[0])
    message = "Before the first click, `next_click` should be given an empty mask and the truth."
    expect.true(not torch.equal(first, ROW_TRUTH), message, hint="truth-first")
    expect.true(not first.any(), message)
    stale = not torch.as_tensor(shown[1]).any()
    held = [memory for _, _, memory in asked[1:]]
    message = "In the second turn, `predict` should be given the logits of its first answer."
    expect.true(any(held), message, hint="memory-lost")
    expect.true(1 not in held, message, hint="mask-for-logits")
    message = "In the second turn, `next_click` should be given the mask of the first answer."
    expect.true(not stale, message, hint="stale-answer")
    clicks = [[[[0, 0]], [1], 0], [[[0, 0], [3, 0]], [1, 0], 2], [[[0, 0], [3, 0], [4, 0]], [1, 0, 1], 3]]
    for number, (want, got) in enumerate(zip(clicks, asked, strict=False), 1):
        newest = {"newest-click-only": want[0][-1:]}
        expect.same(got[0], want[0], f"the points in turn {number}", mistaken=newest)
        expect.same(got[1], want[1], f"the labels in turn {number}")
        expect.true(got[2] == want[2], f"in turn {number}, `predict` should be given the logits of the turn before.")


@graded(
    "game",
    points=1,
    title="Three clicks, by hand",
    hint="After the first click the mask has four pixels, three of them right, and two are missing: 3 / 6.",
)
def test_game_by_hand(student, expect):
    expect.given(truth=ROW_TRUTH, target=0.9)
    (points, labels, ious), _, _ = play(student, expect, ROW, ROW_TRUTH, 0.9, 20)
    mistaken = {
        "starts-at-nothing": numbers([0, 0.5, 0.6, 1]),
        "last-one-missing": numbers([0.5, 0.6]),
        "right-pixels": numbers([1 / 2, 4 / 6, 1]),
        "dice": numbers([6 / 9, 6 / 8, 1]),
    }
    playing_on = isinstance(ious, list) and len(ious) == 20
    expect.true(not playing_on, "There should be 3 IoUs, yours are 20: as many as clicks are allowed.", hint="plays-on")
    expect.array(ious, numbers([0.5, 0.6, 1]), "the IoUs", tolerance=1e-4, mistaken=mistaken)
    expect.same(points, [[0, 0], [3, 0], [4, 0]], "the points")
    expect.same(labels, [1, 0, 1], "the labels")


@graded(
    "game",
    points=1,
    title="When it is over",
    hint="With a target of 0.5 the first click is enough. With a target of 0.9 it takes three, but if 2 are allowed at "
    "most, there are two.",
)
def test_game_over(student, expect):
    (_, _, ious), _, _ = play(student, expect, ROW, ROW_TRUTH, 0.5, 20)
    mistaken = {"never-enough": numbers([0.5, 0.6])}
    expect.array(ious, numbers([0.5]), "the IoUs with target 0.5", tolerance=1e-4, mistaken=mistaken)
    (_, _, ious), _, _ = play(student, expect, ROW, ROW_TRUTH, 0.9, 1)
    mistaken = {
        "one-click-too-many": numbers([0.5, 0.6]),
        "one-click-too-few": numbers([]),
        "budget-ignored": numbers([0.5, 0.6, 1]),
    }
    expect.array(ious, numbers([0.5]), "the IoUs of 1 click at most", tolerance=1e-4, mistaken=mistaken)
    (_, _, ious), _, _ = play(student, expect, ROW, ROW_TRUTH, 0.9, 2)
    mistaken = {"one-click-too-few": numbers([0.5])}
    expect.array(ious, numbers([0.5, 0.6]), "the IoUs of 2 clicks at most", tolerance=1e-4, mistaken=mistaken)










# --------------------------------------------------------------------------------------------------------------- nms


def spans(*pixels, width=24):
    """Masks of one row: pixels from a first to a last one."""
    masks = torch.zeros(len(pixels), 1, width).bool()
    for mask, (first, last) in zip(masks, pixels, strict=True):
        mask[0, first : last + 1] = True
    return masks


@graded(
    "nms",
    points=1,
    title="A chain of three, twins, and one alone",
    hint="Best first: 3 on its own, then 1. Then 2 overlaps 1 by 6 / 10 and is dropped, 0 overlaps 1 by 4 / 12 and is "
    "kept; so is 5, and 4 is its twin.",
)
def test_nms_by_hand(student, expect):
    masks = spans((4, 11), (0, 7), (2, 9), (13, 15), (17, 21), (17, 20))
    scores = torch.tensor([0.7, 0.9, 0.8, 0.95, 0.6, 0.65])
    expect.given(masks=masks[:, 0], scores=scores, threshold=0.5)
    expect.same(
        student.keep_best(masks, scores, 0.5),
        [3, 1, 0, 5],
        "the places",
        mistaken={
            "dropped-drops": [3, 1, 5],
            "unsorted": [0, 1, 3, 4],
            "worst-first": [4, 0, 1, 3],
            "by-place": [0, 1, 3, 5],
            "marks": [1, 1, 0, 1, 0, 1],
        },
    )


@graded(
    "nms",
    points=1,
    title="A chessboard's white and black, the board, and most of it",
    hint="White and black have no pixel in common. The whole has 16 pixels, half of them white. And the last mask is "
    "11 of these 16: 11 / 16 is less than 0.7.",
)
def test_nms_of_a_chessboard(student, expect):
    y, x = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    masks = torch.stack([(x + y) % 2 == 0, (x + y) % 2 == 1, x >= 0, 4 * y + x < 11])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    expect.given(white=masks[0], black=masks[1], whole=masks[2], most_of_it=masks[3], scores=scores)
    expect.same(
        student.keep_best(masks, scores),
        [0, 1, 2, 3],
        "the places",
        mistaken={"by-boxes": [0], "by-the-smaller": [0, 1], "by-dice": [0, 1, 2]},
    )


@graded(
    "nms",
    points=0.5,
    title="An IoU that is exactly the threshold",
    hint="Only masks whose IoU is higher than the threshold are dropped.",
)
def test_nms_at_the_threshold(student, expect):
    masks, scores = spans((0, 3), (0, 2), width=6), torch.tensor([0.5, 0.8])
    expect.given(masks=masks[:, 0], scores=scores, threshold=0.75)
    got = student.keep_best(masks, scores, 0.75)
    expect.same(got, [1, 0], "the places", mistaken={"at-the-threshold": [1]})
