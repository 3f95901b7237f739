"""The tests of ps06: dense layers as kernels, sizes and fields, upsampling by stamps, FCN's skips, loss with void.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from autograder.forbidden import CONVOLUTIONS, CROSS_ENTROPY, LIBRARIES
from autograder.suite import Exercise, graded

exercise = Exercise(
    "ps06-fcn",
    cells={
        "head": 5,
        "sizes": 6,
        "kernel": 4,
        "stamps": 6,
        "matrix": 4,
        "skips": 6,
        "loss": 5,
    },
    # When torch first differentiates, it loads this: half a second, which each student's process would spend anew.
    preload=("numpy", "torch", "torch.fx.experimental.symbolic_shapes", "matplotlib.pyplot"),
    seconds=10,  # where several share a core, a call can take a while
    forbidden=(
        *LIBRARIES,
        *CONVOLUTIONS,
        *CROSS_ENTROPY,
        "scipy",
        "torch.grid_sampler",
        "torch.grid_sampler_2d",
        "torch.nn.Upsample",
        "torch.nn.UpsamplingBilinear2d",
        "torch.nn.UpsamplingNearest2d",
        "torch.nn.functional.grid_sample",
        "torch.nn.functional.interpolate",
        "torch.nn.functional.upsample",
        "torch.nn.functional.upsample_bilinear",
        "torch.nn.functional.upsample_nearest",
    ),
    hints={
        # head
        "channels-last": "Your kernels are filled with the channels running fastest. A map is flattened channel by "
        "channel: which of channel, row and column changes most slowly?",
        "rows-for-columns": "Rows and columns have changed places in your kernels.",
        "flipped": "Your kernels are turned by 180 degrees. A layer called a convolution multiplies its kernel with "
        "the window as it lies there, without turning it.",
        "still-dense": "A dense layer after the first is a convolution too, and its kernel has four axes. How large a "
        "window does it see?",
        "inputs-first": "In your further kernels inputs and outputs have changed places. A dense layer's weights have "
        "a row for each output; which axis of a kernel tensor counts outputs?",
        # sizes
        "padding-once": "On how many sides does the padding stand?",
        "plus-one-forgotten": "You counted the steps from one place of the kernel to the next. How many places are "
        "there with no step at all?",
        "rounded-up": "The last step does not fit in whole. What does the formula do with the half that is left?",
        "plus-one-inside": "You added the 1 before you divided by the stride. How many whole steps are there, and how "
        "many places do they lead through?",
        "strides-forgotten": "You added up kernel - 1 for each layer. After a layer of stride 2, how far apart in the "
        "image are two neighbours?",
        "jump-after": "You multiplied by the stride of the layer before you used it. How far apart are the numbers "
        "that a layer reads: its inputs, not its outputs?",
        "multiplied": "You multiplied the kernels. How many pixels does a second kernel of 3 × 3 add to a field of 3?",
        "whole-kernels": "You added whole kernels. A kernel of 1 × 1 sees nothing more than what was seen before.",
        "field-from-zero": "Your field begins at 0. Before the first layer, how many pixels does a pixel see?",
        "strides-added": "You added the strides up. Two layers of stride 2 after each other: how far apart are "
        "neighbours then?",
        "own-stride": "You multiplied a kernel's steps with its own layer's stride. How far apart its inputs lie was "
        "settled by the layers before it.",
        "last-stride": "Your total stride is the last layer's own. What have the layers before it done to the distance "
        "between neighbours?",
        "swapped": "The two numbers have changed places: the field comes first.",
        # kernel
        "centre-off": "Your kernel is not symmetric: its peak stands on a tap. With an even number of taps, where is "
        "the middle?",
        "normalised": "Your taps add up to 1. Each output must get 1 in all; but from how many stamps?",
        "round-tent": "Your kernel is a cone: it depends on the distance to the centre. A tap at (i, j) is a product "
        "of two.",
        "added": "You added where the task multiplies.",
        "mean-of-tents": "You took the mean of two taps where the task multiplies them.",
        "pyramid": "Your kernel is a pyramid: it takes the smaller of two taps. A tap at (i, j) is their product.",
        "too-pointed": "Your tent is too narrow: it should reach 0 just beyond its last tap.",
        "odd-made-even": "For an odd factor your kernel is one tap too long: the middle tap is shared by both sides.",
        # stamps
        "overwritten": "Where stamps overlap, yours show the last one only. What has become of those before it?",
        "gathered": "Your kernel is turned by 180 degrees: that happens if each output collects from its neighbours "
        "in the kernel's own order. Let each input paint instead.",
        "stride-ignored": "Your stamps lie one pixel apart, whatever the stride.",
        "side-by-side": "You put the stamps side by side. They lie a stride apart, and may overlap.",
        "padding-enlarges": "Your padding makes the output larger. That of a transposed convolution undoes that of a "
        "convolution: what does it take?",
        "padding-ignored": "Your result is as large as without any padding. What does a padding do to the rim?",
        "one-sided": "Your result has the right size, but you cut everything off at one end.",
        "empty-slice": "Your result is empty. If you cut by `[padding:-padding]`: what does `[0:-0]` keep?",
        # matrix
        "kernel-turned": "Your kernel stands backwards in its rows. Which input does its first number meet?",
        "wraps-round": "Part of your kernel came back in at the other end of a row. What does a negative index mean in "
        "Python, and what should a tap that meets the padding do?",
        "negative-column": "Your first row goes on at its other end. In Python column -1 is the last one; what should "
        "a tap that meets the padding do?",
        "padded-columns": "You have a column for each padding cell as well. There is one for each input; what meets "
        "the padding meets zeros and is left out.",
        "already-transposed": "Yours is the transposed matrix. Each row gives one output.",
        "no-stride": "Your rows move on by one input each, whatever the stride.",
        "no-padding": "Your first row begins at the first input, whatever the padding.",
        "rows-without-padding": "You have as many rows as without any padding. At how many places does the kernel fit "
        "among 1 + 4 + 1 cells?",
        # skips
        "skip-forgotten": "A skip is missing: your result is the same whatever x8 holds.",
        "concatenated": "You put the scores behind each other, along the channels. FCN adds them.",
        "averaged": "You took means of scores. FCN adds them: a skip that has nothing to say is 0 and changes nothing.",
        "repeated": "You repeated each pixel. `twice_as_large` interpolates.",
        "corner": "You kept the upper left corner of a finer map. Which part of it lies over the coarse one?",
        "odd-above": "If an odd number of rows or columns is too many, one more goes at the bottom or on the right. "
        "Yours goes at the top or on the left.",
        "reshaped": "Your score layers mix channels and places. `reshape` and `view` keep the numbers in their order "
        "and only cut it anew; which function moves an axis?",
        "probabilities": "Your scores are 1 everywhere, as the soft-max of a single class is. Asked are the scores "
        "themselves.",
        "relu-on-scores": "Your scores are cut off below 0. A score against a class is worth as much as one for it.",
        # loss
        "void-in-mean": "You divided by the number of all pixels. How many of them count?",
        "void-as-class": "You took void pixels for pixels of some class.",
        "sum-for-mean": "That is the sum over the pixels. Asked is the mean.",
        "softmax-twice": "It looks as if a soft-max was taken twice: what comes out of one are probabilities already, "
        "not scores.",
        "log-of-mean": "You took the logarithm of the mean probability. Each pixel has its own logarithm.",
        "wrong-softmax-axis": "At each pixel, the probabilities of the classes should add up to 1. Over which axis "
        "did yours?",
        "image-by-image": "You took the mean of each image and then the mean of these. All counted pixels weigh the "
        "same, whichever image they are in.",
        "overflow": "Your result is not a number: e to the 1000 is infinite, and infinity divided by infinity is "
        "undefined. What happens to the fraction if the same number is taken off all scores of a pixel?",
        "infinite": "Your result is infinite. Either e to the 1000 was taken, or the logarithm of a probability that "
        "had been rounded to 0. Write the logarithm of the fraction as a difference; how large are its parts then?",
        "minus-forgotten": "Your loss is negative. The logarithm of a probability is never above 0: which sign does "
        "the loss give it?",
        "largest-left-out": "You took the largest score off and never put it back: the logarithm of the sum begins "
        "with m.",
        "shared-largest": "You took one and the same number off all pixels. For a pixel whose scores are far smaller, "
        "every power of e is then rounded to 0. Whose largest score does each pixel need?",
        "nothing-counted": "Your mean of no pixels at all is 0 divided by 0.",
    },
)


def maps(values):
    """Feature maps of floats, which a failed test shows as tables of numbers."""
    return np.array(values, float)


def random_tensor(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


# -------------------------------------------------------------------------------------------------------------- head


def list_of(got, number, expect):
    """The kernels that `as_convolutions` returned."""
    is_list = isinstance(got, list | tuple) and len(got) == number
    kernels = "one kernel" if number == 1 else f"{number} kernels"
    expect.true(is_list, f"`as_convolutions` should return a list of {kernels} here: one for each dense layer.")
    return got


@graded(
    "head",
    points=1.5,
    title="One dense layer on two channels of 2 × 2",
    hint="Which of the eight weights met channel 0, row 0, column 1 when the map was flattened?",
)
def test_head_by_hand(student, expect):
    weight = torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8]])
    expect.given(weight=weight, grid=(2, 2, 2))
    (kernel,) = list_of(student.as_convolutions([weight], (2, 2, 2)), 1, expect)
    expect.array(
        kernel,
        maps([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]]),
        "the kernel",
        mistaken={
            "channels-last": maps([[[[1, 3], [5, 7]], [[2, 4], [6, 8]]]]),
            "rows-for-columns": maps([[[[1, 3], [2, 4]], [[5, 7], [6, 8]]]]),
            "flipped": maps([[[[4, 3], [2, 1]], [[8, 7], [6, 5]]]]),
        },
    )


@graded(
    "head",
    points=1,
    title="The shapes of three layers on 4 channels of 2 × 5",
    hint="The first kernel is as large as the grid. What is left of rows and columns after it?",
)
def test_head_shapes(student, expect):
    weights = [torch.zeros(6, 40), torch.zeros(5, 6), torch.zeros(3, 5)]
    expect.given(grid=(4, 2, 5), shapes_of_the_weights=[(6, 40), (5, 6), (3, 5)])
    got = list_of(student.as_convolutions(weights, (4, 2, 5)), 3, expect)
    expect.same(
        [shape_of(kernel) for kernel in got],
        [(6, 4, 2, 5), (5, 6, 1, 1), (3, 5, 1, 1)],
        "the list of the kernels' shapes",
        mistaken={
            "still-dense": [(6, 4, 2, 5), (5, 6), (3, 5)],
            "rows-for-columns": [(6, 4, 5, 2), (5, 6, 1, 1), (3, 5, 1, 1)],
            "inputs-first": [(6, 4, 2, 5), (6, 5, 1, 1), (5, 3, 1, 1)],
        },
    )


def dense_head(rng, grid, widths):
    """Random weights and biases of dense layers on a map of shape `grid`, small enough for sums of a few units."""
    inputs = [math.prod(grid), *widths]
    weights = [random_tensor(rng, n, m) / math.sqrt(m) for m, n in pairwise(inputs)]
    return weights, [random_tensor(rng, n) for n in widths]


def sliding_answer(x, kernels, biases):
    """What a head of these kernels says about a map (1, C, H, W), with a ReLU between the layers: (K, H', W')."""
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        x = F.conv2d(torch.relu(x) if number else x, torch.as_tensor(kernel).float(), bias)
    return x[0]


def dense_answer(window, weights, biases):
    """What the dense head says about a window (C, h, w): (K,)."""
    x = window.flatten().double()
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = weight.double() @ (torch.relu(x) if number else x) + bias
    return x


def check_head(student, rng, expect, grid, extra):
    """A random head of three layers must answer for a map with `extra` rows and columns as for each of its windows."""
    channels, height, width = grid
    weights, biases = dense_head(rng, grid, (7, 6, 4))
    kernels = list_of(student.as_convolutions(weights, grid), 3, expect)
    shapes = [(7, *grid), (6, 7, 1, 1), (4, 6, 1, 1)]
    expect.same([shape_of(kernel) for kernel in kernels], shapes, "the list of the kernels' shapes")
    rows, columns = extra
    x = random_tensor(rng, channels, height + rows, width + columns)
    want = np.zeros((4, rows + 1, columns + 1))
    for i, j in np.ndindex(rows + 1, columns + 1):
        want[:, i, j] = dense_answer(x[:, i : i + height, j : j + width], weights, biases)
    expect.array(sliding_answer(x[None], kernels, biases), want, "what the layers answer", tolerance=1e-3)


@graded(
    "head",
    points=1.5,
    title="The same answer on a map of the old size",
    hint="A head of three layers, on a map that is higher than it is wide, should say what the dense layers said.",
    hidden=True,
)
def test_head_says_the_same(student, rng, expect):
    grid = (int(rng.integers(3, 6)), int(rng.integers(4, 6)), int(rng.integers(2, 4)))
    check_head(student, rng, expect, grid, (0, 0))


@graded(
    "head",
    points=1,
    title="A map of answers on a larger map",
    hint="Each answer should be what the dense layers say about the window there.",
    hidden=True,
)
def test_head_slides(student, rng, expect):
    check_head(student, rng, expect, (3, 2, 5), tuple(int(n) for n in rng.integers(2, 6, 2)))


# ------------------------------------------------------------------------------------------------------------- sizes

# Up to fc6 as a convolution.
ALEXNET = [(11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0), (6, 1, 0)]
VGG16 = [layer for times in (2, 2, 3, 3, 3) for layer in [*[(3, 1, 1)] * times, (2, 2, 0)]] + [(7, 1, 0)]


@graded(
    "sizes",
    points=1,
    title="The output's size, by hand",
    hint="10 pixels, kernel 3, stride 2, padding 1: the kernel begins at places 0, 2, 4, 6 and 8 of 12. Would 10 fit? "
    "Then the next layer begins with what this one leaves.",
)
def test_sizes_by_hand(student, expect):
    several = [(3, 1, 0), (2, 2, 0), (3, 1, 1)]
    expect.given(size=10, layers=[(5, 1, 2)], other_layers=[(3, 2, 1)], size_of_a_third_case=14, its_layers=several)
    mistaken = {"padding-once": 8, "plus-one-forgotten": 9}
    got = student.output_size(10, [(5, 1, 2)])
    expect.number(got, 10, "the size after (5, 1, 2) on 10 pixels", mistaken=mistaken)
    got = student.output_size(10, [(3, 2, 1)])
    expect.number(got, 5, "the size after (3, 2, 1) on 10 pixels", mistaken={"rounded-up": 6})
    got, what = student.output_size(14, several), "the size after (3, 1, 0), (2, 2, 0) and (3, 1, 1) on 14 pixels"
    expect.number(got, 6, what, mistaken={"plus-one-inside": 5})


@graded(
    "sizes",
    points=1,
    title="The receptive field of three layers, by hand",
    hint="1 pixel, then 3. A pooling of 2 adds 1 step of 1 pixel. The last kernel, of 5, adds 4 steps: of how many "
    "pixels?",
)
def test_field_by_hand(student, expect):
    layers = [(3, 1, 1), (2, 2, 0), (5, 1, 2)]
    expect.given(layers=layers)
    got = student.receptive_field(layers)
    mistaken = {
        "strides-forgotten": (8, 2),
        "jump-after": (13, 2),
        "multiplied": (30, 2),
        "whole-kernels": (16, 2),
        "field-from-zero": (11, 2),
        "own-stride": (9, 2),
        "strides-added": (12, 4),
        "last-stride": (12, 1),
        "swapped": (2, 12),
    }
    expect.same(got, (12, 2), "field and total stride", mistaken=mistaken)


@graded(
    "sizes",
    points=1,
    title="AlexNet and VGG16, as in the paper's table 1",
    hint="Go through AlexNet layer by layer: 227 pixels become 55, 27, 27, 13 and so on; the chapter Convolution "
    "arithmetic has the fields in a table.",
)
def test_fields_of_the_paper(student, expect):
    expect.given(layers_of_AlexNet=ALEXNET, layers_of_VGG16=VGG16)
    expect.same(student.receptive_field(ALEXNET), (355, 32), "AlexNet's field and total stride")
    expect.same(student.receptive_field(VGG16), (404, 32), "VGG16's field and total stride")
    expect.number(student.output_size(227, ALEXNET), 1, "the number of AlexNet's answers along 227 pixels")


def random_layers(rng, count):
    """Layers (kernel, stride, padding) whose padding is less than the kernel."""
    kernels, strides = rng.integers(1, 8, count).tolist(), rng.integers(1, 4, count).tolist()
    return [(k, s, int(rng.integers(0, k))) for k, s in zip(kernels, strides, strict=True)]


def places(size, layers):
    """In how many places the last kernel fits, by trying one after the other."""
    for kernel, stride, padding in layers:
        size = sum(place + kernel <= size + padding for place in range(-padding, size + padding, stride))
    return size


@graded(
    "sizes",
    points=1.5,
    title="The output's size for any layers",
    hint="Try strides that leave something over, kernels of 1, and padding of more than 1.",
    hidden=True,
)
def test_sizes_of_any_layers(student, rng, expect):
    for count in (1, 2, 3, 4):
        layers, size = [*random_layers(rng, count), (5, 1, 2)], int(rng.integers(150, 250))
        while places(size, layers) % 2 == 0:  # or the pooling would leave nothing over
            size += 1
        layers.append((2, 2, 0))
        expect.number(student.output_size(size, layers), places(size, layers), f"the size for {size} pixels")


@graded(
    "sizes",
    points=1.5,
    title="The receptive field of any layers",
    hint="Try several strides in a row, and a kernel of 1 with a stride.",
    hidden=True,
)
def test_fields_of_any_layers(student, rng, expect):
    for count in (1, 3, 5):
        layers = [*random_layers(rng, count), (3, 2, 1), (1, 3, 0), (4, 1, 0)]
        # What outputs 0 and 1 see, followed back through the layers.
        first, last, second = 0, 0, 1
        for kernel, stride, padding in reversed(layers):
            first, second = first * stride - padding, second * stride - padding
            last = last * stride - padding + kernel - 1
        want = (last - first + 1, second - first)
        expect.same(student.receptive_field(layers), want, f"field and total stride of {count + 3} layers")


# ------------------------------------------------------------------------------------------------------------ kernel


@graded(
    "kernel",
    points=1,
    title="Factor 2: four taps",
    hint="The middle of taps 0, 1, 2 and 3 lies at 1.5. Taps along an axis: 1/4, 3/4, 3/4, 1/4.",
)
def test_kernel_for_two(student, expect):
    expect.given(factor=2)
    y, x = np.mgrid[:4, :4]
    expect.array(
        student.bilinear_kernel(2),
        maps([[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]) / 16,
        "the kernel",
        tolerance=1e-5,
        mistaken={
            "centre-off": maps([[0, 0, 0, 0], [0, 1, 2, 1], [0, 2, 4, 2], [0, 1, 2, 1]]) / 4,
            "normalised": maps([[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]) / 64,
            "added": maps([[2, 4, 4, 2], [4, 6, 6, 4], [4, 6, 6, 4], [2, 4, 4, 2]]) / 4,
            "mean-of-tents": maps([[1, 2, 2, 1], [2, 3, 3, 2], [2, 3, 3, 2], [1, 2, 2, 1]]) / 4,
            "pyramid": maps([[1, 1, 1, 1], [1, 3, 3, 1], [1, 3, 3, 1], [1, 1, 1, 1]]) / 4,
            "round-tent": np.maximum(0, 1 - np.hypot(y - 1.5, x - 1.5) / 2),
            "too-pointed": maps([[0, 0, 0, 0], [0, 4, 4, 0], [0, 4, 4, 0], [0, 0, 0, 0]]) / 9,
        },
    )


@graded(
    "kernel",
    points=1,
    title="Factor 3: five taps",
    hint="The middle of taps 0 to 4 is tap 2, which is 1. How much is lost with each step of a third?",
)
def test_kernel_for_three(student, expect):
    expect.given(factor=3)
    taps = maps([1, 2, 3, 2, 1]) / 3
    even, narrow = maps([1, 3, 5, 5, 3, 1]) / 6, maps([0, 1, 2, 1, 0]) / 2
    expect.array(
        student.bilinear_kernel(3),
        taps[:, None] * taps,
        "the kernel",
        tolerance=1e-5,
        mistaken={
            "odd-made-even": even[:, None] * even,
            "normalised": taps[:, None] * taps / 9,
            "added": taps[:, None] + taps,
            "mean-of-tents": (taps[:, None] + taps) / 2,
            "pyramid": np.minimum(taps[:, None], taps),
            "too-pointed": narrow[:, None] * narrow,
        },
    )


@graded(
    "kernel",
    points=1,
    title="Other factors",
    hint="Try a factor of 1, and a large one.",
    hidden=True,
)
def test_kernel_for_any_factor(student, rng, expect):
    for factor in (1, 4, int(rng.integers(5, 12)), 16):
        # A tent is two boxes, one sliding over the other: in how many ways do two steps lead to a tap?
        ways = np.zeros(2 * factor - factor % 2)
        for i, j in np.ndindex(factor, factor):
            for tap in (i + j, i + j + 1 - factor % 2):  # for an even factor between two taps: half to each
                ways[tap] += 0.5
        taps = ways / factor
        got = student.bilinear_kernel(factor)
        expect.array(got, np.outer(taps, taps), f"the kernel for factor {factor}", tolerance=1e-4)


@graded(
    "kernel",
    points=1,
    title="It interpolates",
    hint="A map that climbs evenly should still do so when it is larger, and a map of equal values should stay equal.",
    hidden=True,
)
def test_kernel_interpolates(student, rng, expect):
    for factor in (int(rng.choice([4, 6, 8])), int(rng.choice([3, 5, 7]))):
        kernel, side = student.bilinear_kernel(factor), 2 * factor - factor % 2
        expect.true(shape_of(kernel) == (side, side), f"the kernel for factor {factor} should be {side} × {side}.")
        level, across, down = rng.uniform(1, 3, 3)
        y, x = np.mgrid[:6, :7]
        ramp = torch.from_numpy(level + across * x + down * y)
        kernel = torch.as_tensor(kernel).double()
        got = F.conv_transpose2d(ramp[None, None], kernel[None, None], stride=factor, padding=(side - factor) // 2)
        # Pixel i of the larger map has its centre at (i + 1/2) / factor - 1/2 of the small one.
        y, x = ((np.arange(n * factor) + 0.5) / factor - 0.5 for n in (6, 7))
        want = level + across * x + down * y[:, None]
        inside = slice(factor, -factor)
        expect.array(got[0, 0, inside, inside], want[inside, inside], "the larger map's inside", tolerance=1e-3)


# ------------------------------------------------------------------------------------------------------------ stamps

SMALL_MAP = torch.tensor([[1.0, 2], [3, 4]])
STAMP = torch.tensor([[1.0, 0, 2], [0, 1, 0], [3, 0, 0]])
STAMPED = maps([[1, 0, 4, 0, 4], [0, 1, 0, 2, 0], [6, 0, 16, 0, 8], [0, 3, 0, 4, 0], [9, 0, 12, 0, 0]])
OVERWRITTEN = maps([[1, 0, 2, 0, 4], [0, 1, 0, 2, 0], [3, 0, 4, 0, 8], [0, 3, 0, 4, 0], [9, 0, 12, 0, 0]])
TURNED = maps([[0, 0, 3, 0, 6], [0, 1, 0, 2, 0], [2, 0, 14, 0, 14], [0, 3, 0, 4, 0], [6, 0, 11, 0, 4]])


@graded(
    "stamps",
    points=1.5,
    title="Four stamps of 3 × 3, two pixels apart",
    hint="The 1 paints rows 0 to 2 and columns 0 to 2; the 2 paints columns 2 to 4. What do they give in column 2?",
)
def test_stamps_by_hand(student, expect):
    expect.given(x=SMALL_MAP, kernel=STAMP, stride=2)
    apart = maps(
        [
            [1, 0, 2, 2, 0, 4],
            [0, 1, 0, 0, 2, 0],
            [3, 0, 0, 6, 0, 0],
            [3, 0, 6, 4, 0, 8],
            [0, 3, 0, 0, 4, 0],
            [9, 0, 0, 12, 0, 0],
        ]
    )
    expect.array(
        student.transposed_convolution(SMALL_MAP, STAMP, 2),
        STAMPED,
        "the larger map",
        tolerance=1e-5,
        mistaken={
            "overwritten": OVERWRITTEN,
            "gathered": TURNED,
            "side-by-side": apart,
            "stride-ignored": maps([[1, 2, 2, 4], [3, 5, 8, 8], [3, 9, 4, 0], [9, 12, 0, 0]]),
            "empty-slice": np.zeros((0, 0)),
        },
    )


@graded(
    "stamps",
    points=1.5,
    title="The same with a padding of 1",
    hint="Of the 5 × 5 before, one row and column on each side go.",
)
def test_stamps_with_padding(student, expect):
    expect.given(x=SMALL_MAP, kernel=STAMP, stride=2, padding=1)
    expect.array(
        student.transposed_convolution(SMALL_MAP, STAMP, 2, 1),
        STAMPED[1:4, 1:4],
        "the larger map",
        tolerance=1e-5,
        mistaken={
            "padding-enlarges": np.pad(STAMPED, 1),
            "padding-ignored": STAMPED,
            "one-sided": STAMPED[:3, :3],
            "overwritten": OVERWRITTEN[1:4, 1:4],
            "gathered": TURNED[1:4, 1:4],
        },
    )


def collected(x, kernel, stride, padding):
    """A transposed convolution, output by output: from which inputs, and through which taps?"""
    size = [stride * (n - 1) + k - 2 * padding for n, k in zip(x.shape, kernel.shape, strict=True)]
    result = np.zeros(size)
    for i, j in np.ndindex(*size):
        for row, column in np.ndindex(*x.shape):
            k, m = i + padding - row * stride, j + padding - column * stride
            if 0 <= k < kernel.shape[0] and 0 <= m < kernel.shape[1]:
                result[i, j] += float(x[row, column]) * float(kernel[k, m])
    return result


@graded(
    "stamps",
    points=2,
    title="Any map, kernel, stride and padding",
    hint="Map and kernel need not be square. Try a stride of 3 and a padding of 2.",
    hidden=True,
)
def test_stamps_of_any_kind(student, rng, expect):
    for stride, padding in ((1, 0), (2, 1), (3, 2)):
        x = random_tensor(rng, *rng.integers(3, 6, 2).tolist())
        kernel = random_tensor(rng, int(rng.integers(4, 6)), int(rng.integers(6, 8)))
        got = student.transposed_convolution(x, kernel, stride, padding)
        expect.array(got, collected(x, kernel, stride, padding), "the larger map", tolerance=1e-3)


@graded(
    "stamps",
    points=1,
    title="Stamps that leave gaps",
    hint="If the stride is larger than the kernel, some pixels get no paint at all.",
    hidden=True,
)
def test_stamps_with_gaps(student, rng, expect):
    x, kernel = random_tensor(rng, 3, 4), random_tensor(rng, 2, 2)
    stride = int(rng.integers(3, 6))
    got = student.transposed_convolution(x, kernel, stride)
    expect.array(got, collected(x, kernel, stride, 0), "the larger map", tolerance=1e-3)


# ------------------------------------------------------------------------------------------------------------ matrix


@graded(
    "matrix",
    points=1,
    title="Five inputs, stride 2",
    hint="Two outputs, so two rows. The first sees inputs 0, 1 and 2, the second inputs 2, 3 and 4.",
)
def test_matrix_by_hand(student, expect):
    kernel = torch.tensor([1.0, 2, 3])
    expect.given(kernel=kernel, size=5, stride=2)
    want = maps([[1, 2, 3, 0, 0], [0, 0, 1, 2, 3]])
    expect.array(
        student.convolution_matrix(kernel, 5, 2),
        want,
        "the matrix",
        mistaken={
            "kernel-turned": maps([[3, 2, 1, 0, 0], [0, 0, 3, 2, 1]]),
            "already-transposed": want.T,
            "no-stride": maps([[1, 2, 3, 0, 0], [0, 1, 2, 3, 0]]),
            "empty-slice": np.zeros((2, 0)),
        },
    )


@graded(
    "matrix",
    points=1,
    title="Four inputs with a padding of 1",
    hint="The first output sees a padding cell and inputs 0 and 1. So which numbers of the kernel meet an input?",
)
def test_matrix_with_padding(student, expect):
    kernel = torch.tensor([1.0, 2, 3])
    expect.given(kernel=kernel, size=4, stride=1, padding=1)
    padded = [[1, 2, 3, 0, 0, 0], [0, 1, 2, 3, 0, 0], [0, 0, 1, 2, 3, 0], [0, 0, 0, 1, 2, 3]]
    expect.array(
        student.convolution_matrix(kernel, 4, 1, 1),
        maps([[2, 3, 0, 0], [1, 2, 3, 0], [0, 1, 2, 3], [0, 0, 1, 2]]),
        "the matrix",
        mistaken={
            "wraps-round": maps([[2, 3, 0, 1], [1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2]]),
            "negative-column": maps([[2, 3, 0, 1], [1, 2, 3, 0], [0, 1, 2, 3], [0, 0, 1, 2]]),
            "rows-without-padding": maps([[1, 2, 3, 0], [0, 1, 2, 3]]),
            "padded-columns": maps(padded),
            "no-padding": maps([[1, 2, 3, 0], [0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 1]]),
        },
    )


def check_matrix(student, rng, expect, kernel, size, stride, padding):
    """The matrix must be a convolution, and its transpose the transposed convolution."""
    layer = {"stride": stride, "padding": padding}
    unit = torch.eye(size)[:, None]  # what becomes of each unit vector is a column
    want = F.conv1d(unit, kernel[None, None], **layer)[:, 0].T
    got = student.convolution_matrix(kernel, size, stride, padding)
    expect.array(got, want, "the matrix", tolerance=1e-4)
    y = random_tensor(rng, len(want))
    left_over = (size + 2 * padding - len(kernel)) % stride
    want = F.conv_transpose1d(y[None, None], kernel[None, None], **layer, output_padding=left_over)[0, 0]
    expect.array(torch.as_tensor(got).float().T @ y, want, "the transposed matrix times y", tolerance=1e-3)


@graded(
    "matrix",
    points=1,
    title="The matrix of any convolution",
    hint="Try a stride that leaves an input over at the end, together with a padding.",
    hidden=True,
)
def test_matrix_of_any_convolution(student, rng, expect):
    for stride in (1, 2, 3):
        kernel, padding = random_tensor(rng, int(rng.integers(4, 6))), int(rng.integers(1, 3))
        size = stride * int(rng.integers(4, 7)) + len(kernel) - 2 * padding + (stride > 1)  # one left over
        check_matrix(student, rng, expect, kernel, size, stride, padding)


@graded(
    "matrix",
    points=1,
    title="A kernel longer than the line",
    hint="With enough padding, a kernel of 7 fits a line of 3. Then rows are cut at both ends.",
    hidden=True,
)
def test_matrix_of_a_long_kernel(student, rng, expect):
    size = int(rng.integers(3, 5))
    check_matrix(student, rng, expect, random_tensor(rng, 7), size, 1, 3)
    check_matrix(student, rng, expect, random_tensor(rng, 6), size, 2, 4)


# ------------------------------------------------------------------------------------------------------------- skips


@graded(
    "skips",
    points=1,
    title="The weights' names and shapes",
    hint="Each score layer leads from the channels of its own map to the classes.",
)
def test_skips_shapes(student, expect):
    want = {
        "score8.weight": (5, 2),
        "score8.bias": (5,),
        "score16.weight": (5, 3),
        "score16.bias": (5,),
        "score32.weight": (5, 4),
        "score32.bias": (5,),
    }
    expect.same(student.SkipHead.module(2, 3, 4, 5).shapes(), want, "the shapes of SkipHead(2, 3, 4, 5)")


def one_class(weight8, weight16, weight32):
    """Score layers of one channel and one class, without bias."""
    layers = {"score8": weight8, "score16": weight16, "score32": weight32}
    weights = {f"{name}.weight": torch.tensor([[float(weight)]]) for name, weight in layers.items()}
    return weights | {f"{name}.bias": torch.zeros(1) for name in layers}


def added_once(got, expect):
    """The scores must not be three channels for one class."""
    message = f"the scores should have one channel for each class, 1 here; yours have shape {shape_of(got)}."
    expect.true(shape_of(got) != (1, 3, 4, 4), message, hint="concatenated")


@graded(
    "skips",
    points=1.5,
    title="One coarse number, and two finer maps",
    hint="Print each step: s32 is 4, of shape (1, 1, 1, 1); s16 is 4 more than ten times x16, of shape (1, 1, 2, 2); "
    "s8 has shape (1, 1, 4, 4).",
)
def test_skips_by_hand(student, expect):
    x8, x16, x32 = (
        torch.zeros(1, 1, 4, 4),
        torch.tensor([[[[1.0, 2], [3, 4]]]]),
        torch.tensor([[[[4.0]]]]),
    )
    x8[0, 0, 1, 2] = 1
    expect.given(x8=x8, x16=x16, x32=x32, weight_of_score8=100, weight_of_score16=10, weight_of_score32=1)
    got = student.SkipHead.module(1, 1, 1, 1).load(one_class(100, 10, 1))(x8, x16, x32)
    added_once(got, expect)
    s8 = maps([[[[14, 16.5, 21.5, 24], [19, 21.5, 26.5, 29], [29, 31.5, 36.5, 39], [34, 36.5, 41.5, 44]]]])
    bright = 100 * x8.numpy()
    rows = maps([[[[14, 14, 24, 24], [14, 14, 24, 24], [34, 34, 44, 44], [34, 34, 44, 44]]]])
    expect.array(
        got,
        s8 + bright,
        "the scores",
        tolerance=1e-3,
        mistaken={
            "skip-forgotten": s8,
            "repeated": rows + bright,
            "averaged": (s8 / 2 + bright) / 2,
            "probabilities": np.ones((1, 1, 4, 4)),
        },
    )


@graded(
    "skips",
    points=1,
    title="Two channels, a score below 0, and a finer map that must be cropped",
    hint="s32 is -4, and so is s16. Twice 2 × 2 is 4 × 4, and x8 has 6 × 7: of 7 columns 3 are too many, and 1 goes on "
    "the left. Of the two channels of x8 the first counts once, the other not at all.",
)
def test_skips_crop(student, expect):
    x8 = torch.arange(84.0).reshape(1, 2, 6, 7)
    x16, x32 = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 1, 1), -4.0)
    weights = one_class(1, 1, 1) | {"score8.weight": torch.tensor([[1.0, 0]])}
    expect.given(x8=x8, x16=x16, x32=x32, weights_of_score8=weights["score8.weight"], other_weights=1)
    got = student.SkipHead.module(2, 1, 1, 1).load(weights)(x8, x16, x32)
    added_once(got, expect)
    rows = 7 * np.arange(4.0)[:, None] + np.arange(4)  # the upper left 4 x 4 of the first channel
    expect.array(
        got,
        rows[None, None] + 8 - 4,
        "the scores",
        tolerance=1e-4,
        mistaken={
            "corner": rows[None, None] - 4,
            "odd-above": rows[None, None] + 9 - 4,
            "relu-on-scores": rows[None, None] + 8,
            "reshaped": 2 * (rows[None, None] + 8) - 4,
            "skip-forgotten": np.full((1, 1, 4, 4), -4.0),
        },
    )


def same(x):
    return x


def skip_head(x8, x16, x32, weights, after_score=same, top_left=False):
    """What `SkipHead` gives, or what it gives with a mistake in it."""
    result = None
    for name, x in (("score32", x32), ("score16", x16), ("score8", x8)):
        weight = weights[f"{name}.weight"][..., None, None]
        scores = after_score(F.conv2d(x, weight, weights[f"{name}.bias"]))
        if result is not None:
            result = F.interpolate(result, scale_factor=2, mode="bilinear")
            top, left = (0 if top_left else (scores.shape[axis] - result.shape[axis]) // 2 for axis in (2, 3))
            scores = result + scores[..., top : top + result.shape[2], left : left + result.shape[3]]
        result = scores
    return result


def skip_inputs(rng, sizes):
    """Weights for 4, 5 and 6 channels and 3 classes, and a batch of two with maps of these sizes."""
    weights = {}
    for name, channels in (("score8", 4), ("score16", 5), ("score32", 6)):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = random_tensor(rng, 3, channels), random_tensor(rng, 3)
    return weights, [random_tensor(rng, 2, channels, *size) for channels, size in zip((4, 5, 6), sizes, strict=True)]


@graded(
    "skips",
    points=1.5,
    title="Several channels, classes and images",
    hint="Maps that are not square, larger than needed at both skips, with biases and scores of both signs.",
    hidden=True,
)
def test_skips_of_many(student, rng, expect):
    extra = rng.integers(0, 2, 4).tolist()
    h16, w16 = 6 + 1 + extra[0], 8 + 2 + extra[1]
    h8, w8 = 12 + 3 + extra[2], 16 + 1 + extra[3]
    weights, inputs = skip_inputs(rng, ((h8, w8), (h16, w16), (3, 4)))
    got = student.SkipHead.module(4, 5, 6, 3).load(weights)(*inputs)
    mistaken = {
        "relu-on-scores": skip_head(*inputs, weights, after_score=torch.relu),
        "corner": skip_head(*inputs, weights, top_left=True),
    }
    expect.array(got, skip_head(*inputs, weights), "the scores", tolerance=1e-3, mistaken=mistaken)


@graded(
    "skips",
    points=1,
    title="It can be trained",
    hint="A loss must reach all three score layers and all three maps, the coarsest through both upsamplings.",
    hidden=True,
)
def test_skips_gradients(student, rng, expect):
    weights, inputs = skip_inputs(rng, ((8, 12), (4, 6), (2, 3)))
    upstream = random_tensor(rng, 2, 3, 8, 12)
    learnt = {name: value.clone().requires_grad_() for name, value in weights.items()}
    starts = [x.clone().requires_grad_() for x in inputs]
    wanted = torch.autograd.grad(skip_head(*starts, learnt), [*starts, *learnt.values()], upstream)
    found = student.SkipHead.module(4, 5, 6, 3).load(weights).gradients(*inputs, upstream=upstream)
    for name, got, gradient in zip(("x8", "x16", "x32"), found.inputs, wanted, strict=False):
        expect.array(got, gradient, f"the gradient at {name}", tolerance=1e-3)
    for name, gradient in zip(learnt, wanted[3:], strict=True):
        expect.array(found.weights[name], gradient, f"the gradient at {name}", tolerance=1e-3)


# -------------------------------------------------------------------------------------------------------------- loss


@graded(
    "loss",
    points=1.5,
    title="Two pixels that count, and one that does not",
    hint="The true classes' probabilities are 1/2 and 1/5. Add their -log p, and divide by how many pixels? 255 is no "
    "class, so there is no score to pick for it.",
)
def test_loss_by_hand(student, expect):
    scores = torch.tensor([[[[0.0, math.log(4), 5]], [[0.0, 0.0, 0]]]])  # (1, 2, 1, 3)
    target = torch.tensor([[[0, 1, 255]]])
    expect.given(scores=scores, target=target[0])
    total = math.log(2) + math.log(5)
    third = math.log(1 + math.exp(-5))  # the void pixel's, if it were of class 0
    twice = [-math.log(math.exp(p) / (math.exp(p) + math.exp(1 - p))) for p in (1 / 2, 1 / 5)]
    expect.number(
        student.pixel_loss(scores, target),
        total / 2,
        "the loss",
        tolerance=1e-4,
        mistaken={
            "void-in-mean": total / 3,
            "void-as-class": (total + third) / 3,
            "sum-for-mean": total,
            "softmax-twice": sum(twice) / 2,
            "log-of-mean": -math.log(7 / 20),
            "wrong-softmax-axis": (math.log(5 + math.exp(5)) + math.log(3)) / 2,
            "minus-forgotten": -total / 2,
            "largest-left-out": (math.log(2) + math.log(5 / 4)) / 2,
        },
    )


@graded(
    "loss",
    points=1,
    title="Scores of 1000 beside scores of 0",
    hint="The first pixel is right, with a loss of 0. The second is as wrong as can be: its p is rounded to 0, but "
    "-log p is 1000, a harmless number; so never let p itself be rounded. The third costs log 2.",
)
def test_loss_of_large_scores(student, expect):
    scores = torch.tensor([[[[1000.0, 1000.0, 0, 0]], [[0.0, 0.0, 0, 0]]]])
    target = torch.tensor([[[0, 1, 1, 255]]])
    expect.given(scores=scores, target=target[0])
    total = 1000 + math.log(2)
    mistaken = {
        "overflow": math.nan,
        "infinite": math.inf,
        "shared-largest": -math.inf,
        "void-in-mean": total / 4,
        "sum-for-mean": total,
    }
    expect.number(student.pixel_loss(scores, target), total / 3, "the loss", tolerance=1e-2, mistaken=mistaken)


@graded(
    "loss",
    points=1.5,
    title="Several classes and images",
    hint="Try five classes and two images, one of them nearly all void.",
    hidden=True,
)
def test_loss_of_many(student, rng, expect):
    scores = torch.from_numpy(rng.uniform(-40, 40, (2, 5, 4, 6)).astype(np.float32))
    target = torch.from_numpy(rng.integers(0, 5, (2, 4, 6)))
    target[0, rng.random((4, 6)) < 0.2] = 255
    target[1, :3] = 255
    target[0, 0, :2], target[1, 3, 0] = 0, 4  # some pixels count in any case
    losses = [[], []]
    for image, row, column in np.ndindex(*target.shape):
        values, label = scores[image, :, row, column].tolist(), int(target[image, row, column])
        if label != 255:
            highest = max(values)
            losses[image].append(highest + math.log(sum(math.exp(v - highest) for v in values)) - values[label])
    means = [sum(values) / len(values) for values in losses]
    want = sum(map(sum, losses)) / sum(map(len, losses))
    mistaken = {
        "image-by-image": sum(means) / 2,
        "void-in-mean": sum(map(sum, losses)) / target.numel(),
    }
    expect.number(student.pixel_loss(scores, target), want, "the loss", tolerance=1e-2, mistaken=mistaken)


@graded(
    "loss",
    points=1,
    title="Nothing to learn from",
    hint="What does the task say about a batch in which every pixel is void?",
    hidden=True,
)
def test_loss_of_nothing(student, rng, expect):
    scores, target = random_tensor(rng, 1, 3, 2, 4), torch.full((1, 2, 4), 255)
    got = student.pixel_loss(scores, target)
    expect.number(got, 0, "the loss of void pixels alone", mistaken={"nothing-counted": math.nan})
