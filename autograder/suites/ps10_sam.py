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


def random_tensor(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


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


@graded(
    "position",
    points=1,
    title="Any points and image",
    hint="The image need not be square, and the number of waves need not be the number of points.",
    hidden=True,
)
def test_position_of_any_points(student, rng, expect):
    for N, K in ((5, 3), (1, 7)):
        width, height = int(rng.integers(20, 60)), int(rng.integers(70, 120))
        points, frequencies = torch.from_numpy(rng.integers(0, width, (N, 2))).float(), random_tensor(rng, 2, K)
        angles = np.zeros((N, K))
        for n in range(N):
            u, v = 2 * (float(points[n, 0]) + 0.5) / width - 1, 2 * (float(points[n, 1]) + 0.5) / height - 1
            for k in range(K):
                angles[n, k] = 360 * (u * float(frequencies[0, k]) + v * float(frequencies[1, k]))
        got = student.encode_points(points, (height, width), frequencies)
        expect.array(got, sines_and_cosines(*angles), "the codes", tolerance=1e-3)


@graded(
    "position",
    points=1,
    title="All pixels at once, and none",
    hint="There may be several axes before the last one, or no axis at all. Only the last one holds x and y.",
    hidden=True,
)
def test_position_of_a_grid(student, rng, expect):
    frequencies = random_tensor(rng, 2, 4)
    y, x = np.mgrid[:3, :5]
    grid = torch.from_numpy(np.stack([x, y], axis=-1)).float()  # (3, 5, 2)
    u, v = (2 * x + 1) / 5 - 1, (2 * y + 1) / 3 - 1
    first, second = frequencies.numpy()
    want = sines_and_cosines(*(360 * (u[..., None] * first + v[..., None] * second)))
    expect.array(student.encode_points(grid, (3, 5), frequencies), want, "the codes of a grid", tolerance=1e-3)
    got = student.encode_points(grid[2, 1], (3, 5), frequencies)
    expect.array(got, want[2, 1], "the code of a single point", tolerance=1e-3)
    got = student.encode_points(grid[0, :0], (3, 5), frequencies)
    expect.array(got, want[0, :0], "the codes of no points", tolerance=1e-3)


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


def tokens_one_by_one(positions, labels, weights):
    """The tokens, point by point."""
    rows = [p + weights["meanings.weight"][int(label)] for p, label in zip(positions, labels, strict=True)]
    boxed = any(int(label) in (2, 3) for label in labels)
    return torch.stack(rows if boxed else [*rows, weights["no_box"]])


@graded(
    "tokens",
    points=1,
    title="Any prompt",
    hint="Try a click and a box together, in any order, the same label several times, and one click alone.",
    hidden=True,
)
def test_tokens_of_any_prompt(student, rng, expect):
    width = int(rng.integers(3, 8))
    weights = {"meanings.weight": random_tensor(rng, 4, width), "no_box": random_tensor(rng, width)}
    tokens = student.PromptTokens.module(width).load(weights)
    for labels in ([0], [1, 1, 0, 1], [2, 3, 0], [1, 0, 2, 3, 1], [3, 2]):
        labels, positions = torch.tensor(labels), random_tensor(rng, len(labels), width)
        want = tokens_one_by_one(positions, labels, weights)
        expect.array(tokens(positions, labels), want, f"the tokens of labels {labels.tolist()}", tolerance=1e-4)


@graded(
    "tokens",
    points=1,
    title="It can be trained",
    hint="A loss must reach the vectors of all labels that occur, and the one for a missing box.",
    hidden=True,
)
def test_token_gradients(student, rng, expect):
    weights = {"meanings.weight": random_tensor(rng, 4, 5), "no_box": random_tensor(rng, 5)}
    labels, positions, upstream = torch.tensor([1, 0, 1]), random_tensor(rng, 3, 5), random_tensor(rng, 4, 5)
    wanted = {
        "meanings.weight": torch.stack([upstream[1], upstream[0] + upstream[2], *torch.zeros(2, 5)]),
        "no_box": upstream[3],
    }
    found = student.PromptTokens.module(5).load(weights).gradients(positions, labels, upstream=upstream)
    for name, gradient in wanted.items():
        expect.array(found.weights[name], gradient, f"the gradient at {name}", tolerance=1e-4)
    expect.array(found.inputs[0], upstream[:3], "the gradient at the positions", tolerance=1e-4)


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


@graded(
    "choose",
    points=2,
    title="Many prompts",
    hint="Does what you choose depend on the expectations alone? Are clicks on the background clicks, too? What of a "
    "single prompt?",
    hidden=True,
)
def test_choice_for_many(student, rng, expect):
    kinds = ([1], [0], [1, 1], [0, 1, 1], [2, 3], [2, 3, 0])
    for P in (12, 1):
        labels = [kinds[k] for k in rng.permutation(P) % len(kinds)]
        logits, iou = random_tensor(rng, P, 4, 3, 5), torch.from_numpy(rng.random((P, 4))).float()
        clicks = [p for p in range(P) if len(labels[p]) == 1]
        iou[clicks[::2], 0] = 1.0  # mask 0 promises most, and yet is not for a single click
        chosen = [max((1, 2, 3), key=lambda m, p=p: iou[p, m]) if len(labels[p]) == 1 else 0 for p in range(P)]
        got = student.choose_masks(logits, iou, labels)
        expect.true(isinstance(got, list | tuple) and len(got) == 2, "The result should be logits and iou.")
        want = torch.stack([logits[p, m] for p, m in enumerate(chosen)])
        expect.array(got[0], want, "the logits", tolerance=1e-5)
        want = torch.stack([iou[p, m] for p, m in enumerate(chosen)])
        expect.array(got[1], want, "the expected IoU", tolerance=1e-5)


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


@graded(
    "masks",
    points=1,
    title="Logits of any masks",
    hint="There may be more masks than channels, and the map need not be square.",
    hidden=True,
)
def test_logits_of_any_kind(student, rng, expect):
    for M, C, h, w in ((5, 2, 3, 4), (1, 6, 4, 2)):
        tokens, pixels = random_tensor(rng, M, C), random_tensor(rng, C, h, w)
        want = np.zeros((M, h, w))
        for m, i, j in np.ndindex(M, h, w):
            want[m, i, j] = sum(float(tokens[m, c] * pixels[c, i, j]) for c in range(C))
        expect.array(student.mask_logits(tokens, pixels), want, "the logits", tolerance=1e-3)


def resize_line(size, length):
    """Weights (length, size) of a bilinear resizing with the pixels' middles in their places."""
    weights = np.zeros((length, size))
    for i in range(length):
        place = min(max((i + 0.5) * size / length - 0.5, 0), size - 1)
        left = min(int(place), size - 2) if size > 1 else 0
        weights[i, left] += 1 - (place - left)
        if size > 1:
            weights[i, left + 1] += place - left
    return weights


def resized(maps, rows, cols):
    return resize_line(maps.shape[1], rows) @ maps @ resize_line(maps.shape[2], cols).T


@graded(
    "masks",
    points=1,
    title="Masks of any image",
    hint="Images are high or wide, larger or smaller than the square. Resize, crop, resize, cut: in this order.",
    hidden=True,
)
def test_masks_of_any_image(student, rng, expect):
    for scaled, size in (((17, 32), (23, 44)), ((32, 11), (20, 7)), ((32, 32), (32, 32))):
        logits = random_tensor(rng, 3, 8, 8)
        square = resized(logits.numpy().astype(float), 32, 32)
        want = resized(square[:, : scaled[0], : scaled[1]], *size)
        got = student.to_masks(logits, 32, scaled, size)
        shape = tuple(getattr(got, "shape", ()))
        expect.true(shape == want.shape, f"the masks should have shape {want.shape}, yours have {shape}.")
        got = np.where(np.abs(want) < 1e-5, want > 0, np.asarray(got))  # rounding decides there
        expect.array(got, want > 0, "the masks", kind="bool")


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


@graded(
    "stability",
    points=1,
    title="Many masks at once",
    hint="Only the last two axes are rows and columns. There may be two axes before them, or one.",
    hidden=True,
)
def test_stability_of_many(student, rng, expect):
    for shape in ((2, 3, 6, 5), (4, 5, 6)):
        logits, delta = 2 * random_tensor(rng, *shape), float(rng.uniform(0.2, 1.5))
        want = np.zeros(shape[:-2])
        for index in np.ndindex(*shape[:-2]):
            values = logits[index].flatten().tolist()
            want[index] = sum(value > delta for value in values) / sum(value > -delta for value in values)
        strict, lax = (float((logits > cut).sum()) for cut in (delta, -delta))
        mistaken = {"all-in-one": np.array(strict / lax)}
        expect.array(student.stability(logits, delta), want, "the scores", tolerance=1e-4, mistaken=mistaken)


@graded(
    "stability",
    points=0.5,
    title="Masks without a pixel",
    hint="If no logit is above −1, the score is to be 0.",
    hidden=True,
)
def test_stability_of_nothing(student, rng, expect):
    logits = torch.stack([torch.full((3, 4), -5.0), 2 + random_tensor(rng, 3, 4).abs()])
    mistaken = {"zero-by-zero": numbers([math.nan, 1])}
    expect.array(student.stability(logits), numbers([0, 1]), "the scores", tolerance=1e-5, mistaken=mistaken)


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


def depths(error):
    """The squared distance of each error pixel to the nearest pixel without, looking at all; 0 for other pixels."""
    H, W = error.shape
    free = [
        (y, x) for y in range(-1, H + 1) for x in range(-1, W + 1) if not (0 <= y < H and 0 <= x < W and error[y, x])
    ]
    free = np.array(free)
    depth = np.zeros((H, W), int)
    for y, x in np.argwhere(error):
        depth[y, x] = ((free - (y, x)) ** 2).sum(axis=1).min()
    return depth


def blob(rng, H, W):
    """A mask with round borders, which may reach the edges of the image."""
    y, x = np.mgrid[:H, :W]
    mask = np.zeros((H, W), bool)
    for _ in range(3):
        radius = rng.uniform(3, 7)
        mask |= (y - rng.uniform(0, H)) ** 2 + (x - rng.uniform(0, W)) ** 2 < radius**2
    return mask


@graded(
    "click",
    points=1.5,
    title="Any answer",
    hint="Try errors of both kinds and of odd shapes, also at all four edges of an image that is not square.",
    hidden=True,
)
def test_click_of_any_answer(student, rng, expect):
    for H, W in ((17, 26), (26, 17), (20, 20), (14, 31)):
        missed = added = np.zeros((1, 1))
        while missed.max() == added.max():
            answer, truth = blob(rng, H, W), blob(rng, H, W)
            missed, added = depths(truth & ~answer), depths(answer & ~truth)
        label = int(missed.max() > added.max())
        depth = missed if label else added
        right = [((int(x), int(y)), label) for y, x in np.argwhere(depth == depth.max())]
        got = student.next_click(torch.from_numpy(answer), torch.from_numpy(truth))
        expect_click(expect, got, right, {})
    for label in (0, 1):
        thick, long = torch.zeros(2, 20, 15).bool()
        x, y = int(rng.integers(4)), int(rng.integers(5, 10))
        thick[y : y + 5, x : x + 5] = True
        long[1:19, 11:14] = True
        answer, truth = (long, thick) if label else (thick, long)
        expect_click(expect, student.next_click(answer, truth), [((x + 2, y + 2), label)], {})


@graded(
    "click",
    points=0.5,
    title="A single wrong pixel, and an image that is wrong everywhere",
    hint="One wrong pixel is the deepest there is. If all is wrong, only the edge of the image bounds the error.",
    hidden=True,
)
def test_click_at_the_limits(student, rng, expect):
    truth = torch.from_numpy(blob(rng, 12, 15))
    answer = truth.clone()
    y, x = int(rng.integers(6)), int(rng.integers(6, 15))
    answer[y, x] = ~answer[y, x]
    expect_click(expect, student.next_click(answer, truth), [((x, y), int(truth[y, x]))], {})
    truth = torch.ones(7, 9).bool()
    right = [((x, 3), 1) for x in (3, 4, 5)]
    expect_click(expect, student.next_click(~truth, truth), right, {})
    expect_click(expect, student.next_click(truth, ~truth), [(place, 0) for place, _ in right], {})


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


def random_game(rng):
    """Segments (2, H, W), coarse ones to be added and fine ones to be taken away, and a truth that cuts across them."""
    H, W = 8, 11
    y, x = np.mgrid[:H, :W]
    maps = []
    for count in (24, 7):
        at_y, at_x = rng.uniform(0, H, count), rng.uniform(0, W, count)
        maps.append(np.hypot(y[..., None] - at_y, x[..., None] - at_x).argmin(axis=-1))
    truth = np.hypot(y - H / 2, x - W / 2) < rng.uniform(2.5, 4)
    return torch.from_numpy(np.stack(maps)), torch.from_numpy(truth)


def game_of(segments, truth, target, most):
    """The game that should come of it: points, labels, IoUs."""
    segments, truth = segments.numpy(), truth.numpy()
    mask = np.zeros_like(truth)
    points, labels, ious = [], [], []
    for _ in range(most):
        wrong = np.argwhere(mask != truth)
        y, x = wrong[0] if len(wrong) else (0, 0)
        label = int(truth[y, x])
        mask = np.where(segments[label] == segments[label, y, x], bool(label), mask)
        points.append([int(x), int(y)])
        labels.append(label)
        ious.append((mask & truth).sum() / (mask | truth).sum())
        if ious[-1] >= target:
            break
    return points, labels, ious


@graded(
    "game",
    points=1,
    title="Other games",
    hint="Try a target that is never reached, one that is reached at once, and an IoU that falls before it rises.",
    hidden=True,
)
def test_game_of_any_kind(student, rng, expect):
    for target, most in ((0.71, 20), (0.9999, 12), (0.01, 5), (0.9999, 1)):
        segments, truth = random_game(rng)
        points, labels, ious = game_of(segments, truth, target, most)
        (got_points, got_labels, got_ious), _, _ = play(student, expect, segments, truth, target, most)
        expect.array(got_ious, numbers(ious), "the IoUs", tolerance=1e-4)
        expect.same(got_points, points, "the points")
        expect.same(got_labels, labels, "the labels")


@graded(
    "game",
    points=1,
    title="What they are told in other games",
    hint="In each turn: all clicks so far, and the logits of the answer before.",
    hidden=True,
)
def test_game_told_in_others(student, rng, expect):
    segments, truth = random_game(rng)
    points, labels, _ = game_of(segments, truth, 0.9999, 9)
    _, asked, _ = play(student, expect, segments, truth, 0.9999, 9)
    turns = range(1, len(points) + 1)
    want = [[points[:turn], labels[:turn], turn if turn > 1 else 0] for turn in turns]
    expect.same(asked, want, "what the network is told")


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


@graded(
    "nms",
    points=1,
    title="Many masks",
    hint="Try masks that overlap in all degrees, and several thresholds.",
    hidden=True,
)
def test_nms_of_many(student, rng, expect):
    for threshold in (0.2, 0.45, 0.7):
        masks = np.stack([blob(rng, 15, 18) for _ in range(12)])
        scores = rng.permutation(12) / 12
        pixels = [{tuple(place) for place in np.argwhere(mask)} for mask in masks]
        kept = []
        for place in np.argsort(-scores).tolist():
            ious = [len(pixels[place] & pixels[other]) / len(pixels[place] | pixels[other]) for other in kept]
            if not any(iou > threshold for iou in ious):
                kept.append(place)
        got = student.keep_best(torch.from_numpy(masks), torch.from_numpy(scores), threshold)
        expect.same(got, kept, f"the places at threshold {threshold}")
    chain, places = spans(*[(2 * link, 2 * link + 7) for link in range(7)]), rng.permutation(7)
    scores = torch.from_numpy(0.9 - 0.1 * places)  # the first link of the chain is the best
    kept = [int(np.flatnonzero(places == link)[0]) for link in (0, 2, 4, 6)]
    expect.same(student.keep_best(chain[places], scores, 0.45), kept, "the places of a chain")


@graded(
    "nms",
    points=0.5,
    title="One mask, and no mask at all",
    hint="Where there is no mask, none is kept: an empty list.",
    hidden=True,
)
def test_nms_of_few(student, rng, expect):
    masks, scores = torch.from_numpy(blob(rng, 6, 7))[None], torch.tensor([float(rng.random())])
    masks[0, 0, 0] = True
    expect.same(student.keep_best(masks, scores), [0], "the places of one mask")
    expect.same(student.keep_best(masks[:0], scores[:0]), [], "the places of no masks")
