# The exercise's public tests, for the instant check. Editing them changes no grade.
"""The tests of ps07: U-Net's sizes, crops and blocks, its mirrored tiles, and what makes it keep cells apart.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

import math

import numpy as np
import torch

from autograder.forbidden import CROSS_ENTROPY, LIBRARIES
from autograder.sandbox.errors import StudentError
from autograder.suite import Exercise, graded

exercise = Exercise(
    "ps07-unet",
    cells={
        "sizes": 5,
        "join": 4,
        "double": 4,
        "up": 5,
        "tile": 4,
        "separate": 4,
        "weights": 6,
        "loss": 4,
    },
    # When torch first differentiates, it loads this: half a second, which each student's process would spend anew.
    preload=("numpy", "torch", "torch.fx.experimental.symbolic_shapes", "matplotlib.pyplot"),
    seconds=10,  # where several share a core, a call can take a while
    forbidden=(
        *LIBRARIES,
        *CROSS_ENTROPY,
        "numpy.pad",
        "scipy",
        "torch.nn.ReflectionPad1d",
        "torch.nn.ReflectionPad2d",
        "torch.nn.functional.pad",
    ),
    hints={
        # sizes
        "padded": "Your convolutions keep the size, as if they were padded. How many pixels does one of 3 × 3 lose if "
        "its window must lie inside the image?",
        "bottom-forgotten": "The lowest level has two convolutions too; after it, nothing is pooled.",
        "up-convolutions-forgotten": "On the way up each level has two convolutions as well, after the size was "
        "doubled.",
        "pooled-at-the-bottom": "You pooled after the lowest level, too. It has its two convolutions, and from there "
        "the way leads up.",
        "depth-five-only": "What is lost depends on the depth: a network of two levels has far fewer convolutions. Go "
        "through the levels.",
        "a-level-too-many": "You pooled once too often: between 5 levels there are 4 poolings.",
        # join
        "corner": "You kept the upper left corner of the copied map. The convolutions took as much off at the top and "
        "left as at the bottom and right.",
        "added": "You added the two maps. Concatenating keeps both, channel behind channel.",
        "order": "The channels are in the wrong order: of the two maps, which comes first?",
        "wrong-axis": "You put the two behind each other along the batch, as if they were two images. Which axis of "
        "(B, C, H, W) holds channels?",
        "odd-above": "If an odd number of rows or columns is to go, one more goes at the bottom or on the right. Yours "
        "goes at the top or on the left.",
        "resized": "You made the copied map smaller. Cropping takes a part of it, and keeps every pixel of that part.",
        "one-margin": "You cut off as many columns as rows. Height and width can differ in different ways: find each "
        "for itself.",
        # double, up
        "no-first-relu": "The values look as if nothing happened between the two convolutions. What are two "
        "convolutions in a row, without a ReLU in between?",
        "no-last-relu": "Where your output is negative, it should be 0: a ReLU follows the second convolution too.",
        "no-relu": "Neither convolution seems to be followed by a ReLU.",
        "relu-after-up": "There is a ReLU too many: none follows the transposed convolution.",
        "same-padding": "Your output is as large as if the convolutions were padded. What is the default of "
        "`nn.Conv2d`'s `padding`?",
        # tile
        "edge-repeated": "Your mirror stands beside the edge and repeats its pixel. In the table the edge pixel "
        "stands in the mirror: place -1 shows b.",
        "edge-stretched": "You repeat the edge pixel over and over. Beyond the image stands its mirror image.",
        "zeros-beyond": "You put zeros where the image ends. Beyond it stands its mirror image.",
        "negative-index": "A negative index counts from the end in Python, so you took the opposite side of the "
        "image. What is the mirror image of row -1?",
        "tile-shifted": "Your tile begins at (`top`, `left`). The output tile begins there; the network needs the "
        "margin before it as well.",
        "tile-mirrored": "You mirrored the tile. Around it lies more of the image, which is shown as it is; only "
        "beyond the image's own edge stands a mirror.",
        "rows-for-columns": "Rows and columns have changed places. `image[:, r, c]`: which of `top` and `left` "
        "belongs to r?",
        # separate
        "background-counts": "You cleared pixels beside background as well. Only another cell's pixels count as "
        "neighbours that clear one.",
        "four-neighbours": "You looked up, down, left and right only. Corners touch too.",
        "in-place": "A pixel that you had cleared no longer counted for its neighbours. Look at the map as it came, "
        "and write into another.",
        "one-side": "Of two pixels that touch, you cleared one only. Each of them has another cell beside it.",
        "edges-missed": "Cells that touch at the edge of the map are left together. In the first row, y - 1 is -1: "
        "what does `instances[-1:2]` hold?",
        "wraps-round": "Cells at opposite edges of the map are no neighbours. What does `roll` do at the edges?",
        # weights
        "nearest-only": "Your weights follow from the nearest cell alone. A border needs two cells: where does the "
        "second come in? (Background, number 0, is no cell.)",
        "first-two": "You took the first two cells of the list. They are sorted by their numbers; which two are the "
        "nearest to this pixel?",
        "nothing-added": "Your border adds nothing, though there are three cells here. Are all of them found? And in "
        "Python `a / 2 * b` is `(a / 2) * b`.",
        "weight-times-border": "You multiplied the class weight with the border's part. The equation adds the two.",
        "nearest-twice": "You took twice the nearest distance. The second must be the distance to another cell.",
        "same-cell-twice": "Your two nearest pixels can belong to one cell. Find the least distance for each cell "
        "first, then the two least of those.",
        "not-squared": "The sum of the distances is squared in the exponent.",
        "squares-added": "You squared each distance and then added. The equation adds first.",
        "two-missing": "Look at the exponent's denominator again: is it sigma squared alone?",
        "cells-too": "Your cells' pixels carry border weights. The second part is for background only.",
        "city-block": "Your distances go along rows and columns, as a taxi does. Asked are straight lines.",
        "to-the-edge": "You measured to the pixels' edges. From centre to centre, neighbours are 1 apart.",
        "one-cell-border": "There is one cell only, so there is no second, and no border between two.",
        "classes-swapped": "The two class weights have changed places: background comes first.",
        # loss
        "softmax-minimised": "You added up probabilities, with a minus. Cross-entropy needs their logarithms.",
        "softmax-twice": "It looks as if a soft-max was taken twice: what comes out of one are probabilities already, "
        "not logits.",
        "wrong-class": "You took the probability of another class than the true one.",
        "wrong-softmax-axis": "At each pixel, the probabilities of the classes should add up to 1. Over which axis "
        "did yours?",
        "weights-ignored": "Your result is the same whatever the weights are.",
        "divided-by-weights": "You divided by the sum of the weights. Then doubling all weights changes nothing; "
        "divide by the number of pixels.",
        "means-multiplied": "That is the mean weight times the mean loss. Each pixel's loss must meet its own weight. "
        "Do the shapes agree? (B, 1, H, W) times (B, H, W) pairs each image with every other.",
        "minus-forgotten": "Your loss is negative. The logarithm of a probability is never above 0: which sign does "
        "the loss give it?",
        "first-image-only": "Your result is the first image's alone. Does your loop return too early?",
        "divided-by-classes": "You divided by the number of classes as well. Each pixel has one true class, and counts "
        "once.",
        "shared-largest": "You took one and the same number off all pixels. For a pixel whose logits are far smaller, "
        "every power of e is then rounded to 0. Whose largest logit does each pixel need?",
        "sum-for-mean": "That is the sum over the pixels. Asked is the mean.",
        "overflow": "Your result is not a number: e to the 1000 is infinite, and infinity divided by infinity is "
        "undefined. What happens to the soft-max if the same number is taken off all logits of a pixel?",
        "log-of-zero": "Your result is infinite: a probability was rounded to 0 before its logarithm was taken. Write "
        "the logarithm of the fraction as a difference first, then simplify.",
    },
)


# ------------------------------------------------------------------------------------------------------------- sizes


@graded(
    "sizes",
    points=1.5,
    title="The paper's own: 572 pixels, and smaller networks",
    hint="Go through the picture of the U by hand: take off 4, halve; at the bottom take off 4; double, take off 4.",
)
def test_sizes_of_the_paper(student, expect):
    expect.given(sizes=(572, 20, 10), depths=(5, 2, 1))
    mistaken = {
        "padded": 572,
        "bottom-forgotten": 452,
        "up-convolutions-forgotten": 448,
        "a-level-too-many": 196,
        "pooled-at-the-bottom": 324,
    }
    expect.number(fitting(student, expect, 572, 5, 388), 388, "the size for 572 pixels, depth 5", mistaken=mistaken)
    small = {"depth-five-only": 20 - 184}
    expect.number(fitting(student, expect, 20, 2, 4), 4, "the size for 20 pixels, depth 2", mistaken=small)
    expect.number(fitting(student, expect, 10, 1, 6), 6, "the size for 10 pixels, depth 1")


def fitting(student, expect, size, depth, want):
    """What `output_size` returns for a size that fits; a ValueError is told from other errors, with the call."""
    try:
        return student.output_size(size, depth)
    except StudentError as error:
        message = f"`output_size({size}, {depth})` should be {want}, yours raised ValueError."
        hint = "" if depth == 5 else "depth-five-only"
        expect.true(error.kind != ValueError.__name__, message, hint=hint)
        raise


@graded(
    "sizes",
    points=1,
    title="A size that does not fit",
    hint="570 - 4 = 566, halved 283, minus 4 is 279: what should a pooling do with that?",
)
def test_sizes_that_do_not_fit(student, expect):
    expect.given(size=570, depth=5)
    student.output_size(572, 5)  # must not raise: not every ValueError is for what does not fit
    expect.raises(lambda: student.output_size(570, 5), ValueError, "`output_size(570, 5)`")
    expect.raises(lambda: student.output_size(21, 2), ValueError, "`output_size(21, 2)`")






# -------------------------------------------------------------------------------------------------------------- join


def maps(values):
    """Feature maps of floats, which a failed test shows as tables of numbers."""
    return np.array(values, float)


def numbered(height, width, start=0.0):
    """A float tensor (1, 1, height, width) that counts up from `start`."""
    return start + torch.arange(float(height * width)).reshape(1, 1, height, width)


@graded(
    "join",
    points=1,
    title="A map of 4 × 4 over one of 2 × 2",
    hint="The centre of 4 × 4 begins in row 1 and column 1. It is channel 0 of the result, and `x` is channel 1.",
)
def test_join_by_hand(student, expect):
    copied, x = numbered(4, 4), numbered(2, 2, start=50)
    expect.given(copied=copied, x=x)
    centre, corner, below = [[5, 6], [9, 10]], [[0, 1], [4, 5]], [[50, 51], [52, 53]]
    expect.array(
        student.crop_and_concatenate(copied, x),
        maps([[centre, below]]),
        "the joined map",
        mistaken={
            "corner": maps([[corner, below]]),
            "order": maps([[below, centre]]),
            "added": maps([[centre]]) + maps([[below]]),
            "wrong-axis": maps([[centre], [below]]),
            "resized": maps([[[[0, 2], [8, 10]], below]]),
        },
    )


@graded(
    "join",
    points=1,
    title="Three rows to cut off, and four columns",
    hint="Of 4 rows 3 are too many: 1 goes above, 2 below. Of 6 columns 4 are too many: 2 on each side.",
)
def test_join_wide(student, expect):
    copied, x = numbered(4, 6), numbered(1, 2, start=50)
    expect.given(copied=copied, x=x)
    expect.array(
        student.crop_and_concatenate(copied, x),
        maps([[[[8, 9]], [[50, 51]]]]),
        "the joined map",
        mistaken={
            "one-margin": maps([[[[7, 8]], [[50, 51]]]]),
            "odd-above": maps([[[[14, 15]], [[50, 51]]]]),
            "corner": maps([[[[0, 1]], [[50, 51]]]]),
            "order": maps([[[[50, 51]], [[8, 9]]]]),
            "added": maps([[[[58, 60]]]]),
            "wrong-axis": maps([[[[8, 9]]], [[[50, 51]]]]),
        },
    )






# ------------------------------------------------------------------------------------------------------------ double


@graded(
    "double",
    points=1,
    title="The weights' names and shapes",
    hint="conv1 leads from `channels` to `width`, conv2 from `width` to `width`; both have kernels of 3 × 3.",
)
def test_double_shapes(student, expect):
    want = {
        "conv1.weight": (8, 3, 3, 3),
        "conv1.bias": (8,),
        "conv2.weight": (8, 8, 3, 3),
        "conv2.bias": (8,),
    }
    expect.same(student.DoubleConv.module(3, 8).shapes(), want, "the shapes of DoubleConv(3, 8)")


def tap(row, column, value=1.0):
    """A kernel of 3 x 3, (1, 1, 3, 3), that holds one number."""
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, row, column] = value
    return kernel


@graded(
    "double",
    points=1,
    title="Right minus left, then a sum",
    hint="The first convolution gives 1, -1, 3, -1 in each row, the ReLU 1, 0, 3, 0. The second adds up 3 × 3 of "
    "these and takes off 10.",
)
def test_double_by_hand(student, expect):
    x = torch.tensor([0.0, 2, 1, 1, 4, 0]).repeat(5, 1)[None, None]
    weights = {
        "conv1.weight": tap(1, 2) - tap(1, 0),
        "conv1.bias": torch.zeros(1),
        "conv2.weight": torch.ones(1, 1, 3, 3),
        "conv2.bias": torch.tensor([-10.0]),
    }
    expect.given(x=x, **{name.replace(".", "_"): value for name, value in weights.items()})
    got = student.DoubleConv.module(1, 1).load(weights)(x)
    not_padded(got, x, expect)
    expect.array(
        got,
        maps([[[[2, 0]]]]),
        "the output",
        tolerance=1e-5,
        mistaken={
            "no-first-relu": maps([[[[0, 0]]]]),
            "no-last-relu": maps([[[[2, -1]]]]),
            "no-relu": maps([[[[-1, -7]]]]),
        },
    )


def not_padded(got, x, expect):
    """The output of a module must be smaller than its input."""
    shape = tuple(getattr(got, "shape", ()))
    message = f"the output should be smaller than what the convolutions get, yours has shape {shape}."
    expect.true(shape[2:] != tuple(x.shape[2:]), message, hint="same-padding")












# ---------------------------------------------------------------------------------------------------------------- up


@graded(
    "up",
    points=1,
    title="The weights' names and shapes",
    hint="`up` leads from `channels` to `width`, with a kernel of 2 × 2. How many channels does conv1 see after the "
    "two maps were concatenated?",
)
def test_up_shapes(student, expect):
    want = {
        "up.weight": (6, 4, 2, 2),
        "up.bias": (4,),
        "conv1.weight": (4, 8, 3, 3),
        "conv1.bias": (4,),
        "conv2.weight": (4, 4, 3, 3),
        "conv2.bias": (4,),
    }
    expect.same(student.UpStep.module(6, 4).shapes(), want, "the shapes of UpStep(6, 4)")


@graded(
    "up",
    points=1.5,
    title="One step with numbers to follow",
    hint="The 5 in the centre becomes 5, 10, 15, 20, and with the bias of -12 these are -7, -2, 3, 8. conv1 takes the "
    "copied map once and the doubled one ten times, and adds 100; what of the copied map lies over these four?",
)
def test_up_by_hand(student, expect):
    x, copied = numbered(3, 3, start=1), numbered(8, 8)
    weights = {
        "up.weight": torch.tensor([[[[1.0, 2], [3, 4]]]]),
        "up.bias": torch.tensor([-12.0]),
        "conv1.weight": torch.cat([tap(1, 1), tap(1, 1, 10.0)], dim=1),
        "conv1.bias": torch.tensor([100.0]),
        "conv2.weight": tap(1, 1),
        "conv2.bias": torch.zeros(1),
    }
    shown = ("up.weight", "up.bias", "conv1.weight", "conv1.bias")
    expect.given(x=x, copied=copied, **{name.replace(".", "_"): weights[name] for name in shown})
    got = student.UpStep.module(1, 1).load(weights)(x, copied)
    not_padded(got, torch.empty(1, 1, 6, 6), expect)
    centre, corner, doubled = maps([[27, 28], [35, 36]]), maps([[18, 19], [26, 27]]), maps([[-7, -2], [3, 8]])
    expect.array(
        got,
        (100 + centre + 10 * doubled)[None, None],
        "the output",
        tolerance=1e-4,
        mistaken={
            "corner": (100 + corner + 10 * doubled)[None, None],
            "order": (100 + doubled + 10 * centre)[None, None],
            "relu-after-up": (100 + centre + 10 * np.maximum(doubled, 0))[None, None],
        },
    )










# -------------------------------------------------------------------------------------------------------------- tile


@graded(
    "tile",
    points=1,
    title="A tile in the upper left corner",
    hint="The tile's rows are -2, -1, 0, 1, 2, 3. Which rows of the image stand there, by the table?",
)
def test_tile_in_the_corner(student, expect):
    image = numbered(4, 4)[0]
    expect.given(image=image, top=0, left=0, size=2, margin=2)
    beyond = torch.zeros(1, 6, 6)
    beyond[:, 2:, 2:] = image
    expect.array(
        student.input_tile(image, 0, 0, 2, 2),
        picked(image, [2, 1, 0, 1, 2, 3], [2, 1, 0, 1, 2, 3]),
        "the tile",
        mistaken={
            "edge-repeated": picked(image, [1, 0, 0, 1, 2, 3], [1, 0, 0, 1, 2, 3]),
            "edge-stretched": picked(image, [0, 0, 0, 1, 2, 3], [0, 0, 0, 1, 2, 3]),
            "tile-shifted": picked(image, [0, 1, 2, 3, 2, 1], [0, 1, 2, 3, 2, 1]),
            "negative-index": picked(image, [2, 3, 0, 1, 2, 3], [2, 3, 0, 1, 2, 3]),
            "tile-mirrored": picked(image, [0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1]),
            "zeros-beyond": beyond,
        },
    )


def picked(image, rows, columns):
    """The image's rows and columns of these numbers: (C, len(rows), len(columns))."""
    return image[:, rows][:, :, columns]


@graded(
    "tile",
    points=1,
    title="A tile that reaches beyond the other side",
    hint="The tile's rows are 0 to 5. The last two are beyond the image, whose last row is 3: by the table, which rows "
    "stand there? Columns 1 to 6 are all inside.",
)
def test_tile_beyond(student, expect):
    image = numbered(4, 7)[0]
    expect.given(image=image, top=2, left=3, size=2, margin=2)
    inside = [1, 2, 3, 4, 5, 6]
    beyond = torch.zeros(1, 6, 6)
    beyond[:, :4] = image[:, :, 1:]
    expect.array(
        student.input_tile(image, 2, 3, 2, 2),
        picked(image, [0, 1, 2, 3, 2, 1], inside),
        "the tile",
        mistaken={
            "edge-repeated": picked(image, [0, 1, 2, 3, 3, 2], inside),
            "edge-stretched": picked(image, [0, 1, 2, 3, 3, 3], inside),
            "tile-shifted": picked(image, [2, 3, 2, 1, 0, 3], [3, 4, 5, 6, 5, 4]),
            "tile-mirrored": picked(image, [2, 3, 2, 3, 2, 3], [3, 4, 3, 4, 3, 4]),
            "rows-for-columns": picked(image, [1, 2, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]),
            "zeros-beyond": beyond,
        },
    )














# ---------------------------------------------------------------------------------------------------------- separate


@graded(
    "separate",
    points=1.5,
    title="Two cells side by side",
    hint="Columns 2 and 3 face each other, from the first row on. Does the pixel in column 1 have any neighbour of "
    "cell 2?",
)
def test_separate_by_hand(student, expect):
    instances = torch.zeros(5, 6, dtype=torch.int64)
    instances[:3, 1:3], instances[:3, 3:5] = 1, 2
    expect.given(instances=instances)
    want = torch.zeros_like(instances)
    want[:3, 1], want[:3, 4] = 1, 2
    in_place, one_side, edges = want.clone(), want.clone(), want.clone()
    in_place[2, 3], one_side[:3, 3] = 2, 2
    edges[0] = instances[0]
    expect.array(
        student.separate(instances),
        want,
        "the separated map",
        mistaken={
            "background-counts": torch.zeros_like(instances),
            "in-place": in_place,
            "one-side": one_side,
            "edges-missed": edges,
        },
    )


@graded(
    "separate",
    points=1,
    title="Two cells that meet at a corner",
    hint="Of 8 neighbours, 4 lie across a corner.",
)
def test_separate_at_a_corner(student, expect):
    instances = torch.tensor([[3, 3, 0, 0], [3, 3, 0, 0], [0, 0, 7, 7], [0, 0, 7, 7]])
    expect.given(instances=instances)
    want = torch.tensor([[3, 3, 0, 0], [3, 0, 0, 0], [0, 0, 0, 7], [0, 0, 7, 7]])
    in_place, background_too = want.clone(), torch.zeros_like(instances)
    in_place[2, 2], background_too[0, 0], background_too[3, 3] = 7, 3, 7
    mistaken = {
        "four-neighbours": instances,
        "wraps-round": torch.zeros_like(instances),
        "in-place": in_place,
        "background-counts": background_too,
    }
    expect.array(student.separate(instances), want, "the separated map", mistaken=mistaken)






# ----------------------------------------------------------------------------------------------------------- weights


@graded(
    "weights",
    points=2,
    title="Three cells in a row",
    hint="There are three cells, of the numbers 4, 9 and 2. The third pixel is 1 from the nearest and 3 from the next, "
    "so (1 + 3)² = 16 and 10 · exp(-16 / 50) = 7.261. And the seventh, between 9 and 2?",
)
def test_weights_by_hand(student, expect):
    instances = torch.tensor([[4, 4, 0, 0, 0, 9, 0, 0, 2]])
    expect.given(instances=instances, w0=10, sigma=5)
    want = border(16, 16, 16, 9, 9)
    expect.array(
        student.border_weights(instances),
        want,
        "the weights",
        tolerance=1e-3,
        mistaken={
            "nearest-only": border(1, 4, 1, 1, 1),
            "nearest-twice": border(4, 16, 4, 4, 4),
            "same-cell-twice": border(9, 16, 16, 9, 9),
            "first-two": border(49, 49, 49, 49, 49),
            "not-squared": border(4, 4, 4, 3, 3),
            "squares-added": border(10, 8, 10, 5, 5),
            "two-missing": border(32, 32, 32, 18, 18),
            "to-the-edge": border(9, 9, 9, 4, 4),
            "cells-too": border(16, 16, 16, 9, 9, cells=(25, 16, 9, 9)),
            "weight-times-border": np.where(instances > 0, 1, want - 1),
            "nothing-added": np.ones((1, 9)),
        },
    )


def border(third, fourth, fifth, seventh, eighth, cells=(math.inf,) * 4):
    """The weights of a row of nine pixels, from what stands above the fraction line at each."""
    above = [cells[0], cells[1], third, fourth, fifth, cells[2], seventh, eighth, cells[3]]
    return np.array([[1 + 10 * math.exp(-value / 50) for value in above]])


@graded(
    "weights",
    points=1,
    title="One cell alone",
    hint="What is the distance to the second nearest cell if there is only one? The task says what is left then.",
)
def test_weights_of_one_cell(student, expect):
    instances = torch.tensor([[0, 0, 5, 0]])
    expect.given(instances=instances, class_weights=(1, 2))
    nearest = np.array([4, 1, 0, 1])
    alone = np.array([[1.0, 1, 2, 1]])
    background = np.array([1, 1, 0, 1])
    expect.array(
        student.border_weights(instances, (1.0, 2.0)),
        alone,
        "the weights",
        tolerance=1e-3,
        mistaken={
            "classes-swapped": np.array([[2.0, 2, 1, 2]]),
            "one-cell-border": alone + 10 * background * np.exp(-nearest / 50),
            "nearest-twice": alone + 10 * background * np.exp(-4 * nearest / 50),
        },
    )








# -------------------------------------------------------------------------------------------------------------- loss


@graded(
    "loss",
    points=1.5,
    title="Two images of one pixel, by hand",
    hint="The first image's pixel has the probabilities 1/2 and 1/2. The second's has 3/4 and 1/4, and its true class "
    "is the second. Weigh each logarithm by the pixel's own weight, then take the mean of two.",
)
def test_loss_by_hand(student, expect):
    logits = torch.tensor([[[[0.0]], [[0.0]]], [[[math.log(3)]], [[0.0]]]])  # (2, 2, 1, 1)
    target, weights = torch.tensor([[[0]], [[1]]]), torch.tensor([[[1.0]], [[4.0]]])
    expect.given(logits=logits, target=target, weights=weights)
    losses, chances = (math.log(2), math.log(4)), (1 / 2, 1 / 4)
    total = losses[0] + 4 * losses[1]
    twice = [-math.log(math.exp(p) / (math.exp(p) + math.exp(1 - p))) for p in chances]
    expect.number(
        student.weighted_cross_entropy(logits, target, weights),
        total / 2,
        "the loss",
        tolerance=1e-4,
        mistaken={
            "softmax-minimised": -(chances[0] + 4 * chances[1]) / 2,
            "softmax-twice": (twice[0] + 4 * twice[1]) / 2,
            "wrong-class": (math.log(2) + 4 * math.log(4 / 3)) / 2,
            "wrong-softmax-axis": 0,  # each pixel is alone in its row and column
            "weights-ignored": sum(losses) / 2,
            "divided-by-weights": total / 5,
            "divided-by-classes": total / 4,
            "means-multiplied": 2.5 * sum(losses) / 2,
            "first-image-only": losses[0],
            "minus-forgotten": -total / 2,
            "sum-for-mean": total,
        },
    )


@graded(
    "loss",
    points=1,
    title="Logits of 1000 beside logits of 0",
    hint="The first pixel is right, with a loss of 0. The second is as wrong as can be: its p is rounded to 0, but "
    "-log p is 1000, a harmless number; so never let p itself be rounded. The third costs log 2.",
)
def test_loss_of_large_logits(student, expect):
    logits = torch.tensor([[[[1000.0, 1000.0, 0]], [[0.0, 0.0, 0]]]])
    target, weights = torch.tensor([[[0, 1, 1]]]), torch.ones(1, 1, 3)
    expect.given(logits=logits, target=target[0], weights=weights)
    got, total = student.weighted_cross_entropy(logits, target, weights), 1000 + math.log(2)
    mistaken = {
        "overflow": math.nan,
        "log-of-zero": math.inf,
        "shared-largest": -math.inf,
        "sum-for-mean": total,
        "divided-by-classes": total / 6,
        "minus-forgotten": -total / 3,
    }
    expect.number(got, total / 3, "the loss", tolerance=1e-2, mistaken=mistaken)
