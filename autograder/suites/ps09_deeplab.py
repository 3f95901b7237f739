"""The tests of ps09: atrous convolutions by hand, what they span and see, ASPP, and a step of mean field.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect. Many kernels here are 1000, 100, 10, 1: with them, an answer spells the digits
that were read.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.forbidden import CONVOLUTIONS, LIBRARIES
from autograder.suite import Exercise, graded

exercise = Exercise(
    "ps09-deeplab",
    cells={
        "line": 4,
        "sizes": 4,
        "conv": 7,
        "holes": 4,
        "field": 5,
        "aspp": 6,
        "crf": 6,
    },
    # When torch first differentiates, it loads this: half a second, which each student's process would spend anew.
    preload=("numpy", "torch", "torch.fx.experimental.symbolic_shapes", "matplotlib.pyplot"),
    seconds=10,  # where several share a core, a call can take a while
    forbidden=(
        *LIBRARIES,
        *CONVOLUTIONS,
        "scipy",
        "torch.nn.Unfold",
        "torch.nn.functional.unfold",
    ),
    hints={
        # line, conv
        "flipped": "Your kernel is turned round: its last number meets what its first should meet.",
        "strided": "You moved the whole kernel on by the rate, and its taps lie side by side. In the formula, which "
        "of i and k is the rate multiplied with?",
        "rate-ignored": "Your taps lie side by side, as at rate 1.",
        "one-too-far": "Your taps lie too far apart. From one tap to the next it is `rate` steps, so `rate` - 1 "
        "numbers lie between.",
        "border-short": "Answers are missing at the end. At the last place the kernel's last tap lies on the last "
        "number: where does its first tap lie then?",
        "padded": "You answer where the kernel sticks out, too. This function does not pad.",
        "wraps-round": "At the end, your kernel goes on at the beginning. What does `roll` do with numbers that fall "
        "off?",
        "one-axis": "Your rate works along one axis only.",
        "rows-for-columns": "Rows and columns of your kernel have changed places.",
        "padding-scaled": "You multiplied the padding by the rate. Who calls the function has done that already.",
        "padding-ignored": "Your result is as small as without any padding.",
        "one-sided": "Your result has the right size, but all the padding stands at the bottom and on the right.",
        "columns-padded": "Your zeros stand on the left and on the right only. There are four sides.",
        "averaged": "You took the mean over the channels. The formula adds up.",
        "first-channel": "You used the first channel of the input only.",
        "last-tap": "Only the last tap is in your result. What happens in a loop to what was there before?",
        # sizes
        "rate-zeros": "You put as many numbers between two taps as the rate says. At rate 1 the taps are neighbours: "
        "how many lie between them then?",
        "span-of-steps": "You counted the steps from the first tap to the last. With no step at all, how many numbers "
        "does the kernel span?",
        "span-too-long": "You counted a whole rate for each tap. Is there anything to be skipped after the last one?",
        "padding-of-rate-1": "That keeps the size at rate 1 only. How much does a line lose at this rate?",
        "both-sides": "That is what both sides need together.",
        "rate-alone": "For three taps the padding is the rate. What if the kernel has five?",
        # holes
        "too-many-zeros": "There is a zero too many between neighbouring taps: how many lie between them at rate 1?",
        "zeros-behind": "Your kernel has zeros behind its last taps. It ends with a tap.",
        "blown-up": "You repeated each tap. There is one of each, and zeros between.",
        "zeros-around": "There are zeros around your taps. The kernel begins and ends with a tap.",
        # field
        "multiplied": "You multiplied the spans. How many numbers does a second layer of three taps at rate 1 add to a "
        "field of 3?",
        "spans-added": "You added whole spans. A layer with a single tap sees nothing more than what was seen before.",
        "rates-forgotten": "You counted taps. How far apart are they?",
        "rates-as-strides": "You let each layer spread the ones after it, as strides do. A rate spreads its own layer "
        "only: neighbouring answers still belong to neighbouring numbers.",
        "rates-for-taps": "A layer is (taps, rate), in this order; you took the first number for the rate.",
        "field-from-zero": "Your field begins at 0. Without any layer, how many pixels does a pixel see?",
        "all-seen": "You mark the whole square. Which places does a single layer at rate 2 leave out?",
        "last-layer-only": "Your mask shows what one layer reads. Each of these places reads the layer below at "
        "several places.",
        "united": "You collected the places of all layers side by side. Each place of one layer reads several of the "
        "next: what becomes of place 4, if the next layer reads 0, 2 and 4 steps on from it?",
        "or-for-and": "You mark whole rows and columns. A pixel counts if its row and its column both do.",
        "diagonal": "You mark places on the diagonal only. Row and column need not be the same place.",
        # aspp
        "unknown-to-the-module": "The module does not know your kernels, so they would never learn. What kind of list "
        "does the docstring name?",
        "added": "You add the branches. Concatenated, they have as many channels as all of them together.",
        "all-at-rate-1": "The taps of all your kernels lie side by side, as at rate 1.",
        "rates-swapped": "Each of your kernels meets another one's rate.",
        "image-first": "The branches stand in another order. Which is the last?",
        "image-not-mean": "Your branch for the whole map has too large a number. Asked is the mean.",
        "image-not-pooled": "Your branch for the whole map still shows where the light is. What is its mean over?",
        "image-once": "The map's mean stands at one pixel only. Every pixel is to have it.",
        "one-mean-for-all": "You took one mean for all images of the batch. What has an image to do with its "
        "neighbours?",
        "no-branch-relu": "Numbers below 0 came through from a branch. What does each branch end with?",
        "no-last-relu": "Your output has numbers below 0. What follows the projection?",
        # crf
        "hears-itself": "Your pixels hear themselves. What of k is not to count?",
        "repels": "Your pixels pull each other away from what they hold. What was heard for one label counts against "
        "which ones?",
        "unary-forgotten": "The network's own opinion is missing in your result.",
        "unary-sign": "Your unary has the wrong sign: an unlikely label has a large one, and that counts against it.",
        "unary-as-probability": "You took the logarithm of the unary. It is minus a logarithm already.",
        "old-opinion": "You took the present probabilities for the network's opinion. They are the same in the first "
        "step only.",
        "over-pixels": "Your probabilities of one label add up to 1 over the pixels. At each pixel, those of its "
        "labels should.",
        "not-normalised": "Your rows do not add up to 1.",
        "mean-message": "You divided the messages by the sum of their weights. Step 1 adds up.",
        "hard-votes": "You let each pixel speak for its likeliest label alone. It speaks for every label, as much as "
        "it holds it likely.",
        "others-averaged": "You took the mean over the other labels. Step 2 adds up.",
        "two-labels-only": "You took the messages of the labels in reverse order. With two labels that is the other "
        "one; what of three?",
        "one-after-another": "Some of your pixels hear others that have changed in this very step. All of them change "
        "at the same time.",
        "zero-by-zero": "Your result is not a number: every exponential was rounded to 0, and 0 divided by 0 is "
        "undefined. What happens to the fraction if the same number is taken off all labels of a pixel?",
    },
)


def maps(values):
    """Feature maps of floats, which a failed test shows as tables of numbers."""
    return np.array(values, float)


def random_tensor(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


# -------------------------------------------------------------------------------------------------------------- line


@graded(
    "line",
    points=1.5,
    title="Rate 2, spelt in digits",
    hint="The first answer reads x[0], x[2] and x[4], so it spells 345. The last one reads x[2], x[4] and x[6].",
)
def test_line_by_hand(student, expect):
    x, w = torch.tensor([3.0, 1, 4, 1, 5, 9, 2]), torch.tensor([100.0, 10, 1])
    expect.given(x=x, w=w, rate=2)
    expect.array(
        student.atrous_conv1d(x, w, 2),
        maps([345, 119, 452]),
        "the answer",
        tolerance=1e-3,
        mistaken={
            "flipped": maps([543, 911, 254]),
            "strided": maps([314, 415, 592]),
            "rate-ignored": maps([314, 141, 415, 159, 592]),
            "one-too-far": maps([312]),
            "border-short": maps([345, 119]),
            "padded": maps([34, 11, 345, 119, 452, 190, 520]),
            "wraps-round": maps([345, 119, 452, 193, 521, 934, 211]),
        },
    )


@graded(
    "line",
    points=1,
    title="Two taps, at rate 1 and at rate 5",
    hint="At rate 1 the taps are neighbours. At rate 5, two taps span six numbers: in how many places do they fit on "
    "seven?",
)
def test_line_at_other_rates(student, expect):
    x, w = torch.tensor([3.0, 1, 4, 1, 5, 9, 2]), torch.tensor([10.0, 1])
    expect.given(x=x, w=w)
    mistaken = {
        "flipped": maps([13, 41, 14, 51, 95, 29]),
        "one-too-far": maps([34, 11, 45, 19, 52]),
        "border-short": maps([31, 14, 41, 15, 59]),
        "padded": maps([31, 14, 41, 15, 59, 92, 20]),
        "wraps-round": maps([31, 14, 41, 15, 59, 92, 23]),
    }
    got = student.atrous_conv1d(x, w, 1)
    expect.array(got, maps([31, 14, 41, 15, 59, 92]), "the answer at rate 1", tolerance=1e-3, mistaken=mistaken)
    mistaken = {
        "strided": maps([31, 92]),
        "rate-ignored": maps([31, 14, 41, 15, 59, 92]),
    }
    got = student.atrous_conv1d(x, w, 5)
    expect.array(got, maps([39, 12]), "the answer at rate 5", tolerance=1e-3, mistaken=mistaken)


@graded(
    "line",
    points=1.5,
    title="Any line, kernel and rate",
    hint="Try one tap, a kernel that is longer than its rate, and a kernel that fits only once.",
    hidden=True,
)
def test_line_of_any_kind(student, rng, expect):
    for taps, rate, extra in ((1, 3, 4), (5, 2, 6), (int(rng.integers(3, 6)), int(rng.integers(3, 6)), 0)):
        x, w = random_tensor(rng, rate * (taps - 1) + 1 + extra), random_tensor(rng, taps)
        want = [sum(float(w[k] * x[i + rate * k]) for k in range(taps)) for i in range(extra + 1)]
        what = f"the answer to {taps} taps at rate {rate}"
        expect.array(student.atrous_conv1d(x, w, rate), maps(want), what, tolerance=1e-4)


# ------------------------------------------------------------------------------------------------------------- sizes


@graded(
    "sizes",
    points=1,
    title="What three, five and one tap span",
    hint="Draw three taps at rate 2: a tap, a gap, a tap, a gap, a tap.",
)
def test_spans_by_hand(student, expect):
    expect.given(taps=3, rate=2)
    mistaken = {"rate-zeros": 7, "span-of-steps": 4, "span-too-long": 6}
    expect.number(student.effective_size(3, 2), 5, "the span of 3 taps at rate 2", mistaken=mistaken)
    expect.number(student.effective_size(5, 4), 17, "the span of 5 taps at rate 4")
    expect.number(student.effective_size(1, 7), 1, "the span of 1 tap at rate 7")


@graded(
    "sizes",
    points=1,
    title="The padding for three, five and two taps",
    hint="Five taps at rate 4 span 17, so a line of 17 shrinks to 1: it loses 16. How much must each side give?",
)
def test_paddings_by_hand(student, expect):
    expect.given(taps=5, rate=4)
    mistaken = {"padding-of-rate-1": 2, "both-sides": 16, "rate-alone": 4}
    expect.number(student.same_padding(5, 4), 8, "the padding for 5 taps at rate 4", mistaken=mistaken)
    expect.number(student.same_padding(3, 2), 2, "the padding for 3 taps at rate 2")
    expect.number(student.same_padding(2, 2), 1, "the padding for 2 taps at rate 2")
    expect.number(student.same_padding(1, 3), 0, "the padding for 1 tap at rate 3")


@graded(
    "sizes",
    points=0.5,
    title="Where no padding keeps the size",
    hint="Four taps at rate 3 shorten a line by 9. Can two equal paddings make up for that?",
)
def test_paddings_that_are_none(student, expect):
    student.same_padding(3, 1)  # must not raise: not every ValueError is for what has no padding
    expect.raises(lambda: student.same_padding(2, 1), ValueError, "`same_padding(2, 1)`")
    expect.raises(lambda: student.same_padding(4, 3), ValueError, "`same_padding(4, 3)`")


@graded(
    "sizes",
    points=1.5,
    title="Any kernel and rate",
    hint="Try even numbers of taps, with even rates and with odd ones.",
    hidden=True,
)
def test_sizes_of_any_kernel(student, rng, expect):
    kernels = [(2, 1), (2, 4), (6, 3), (7, 1), *rng.integers(1, 12, (4, 2)).tolist()]
    for taps, rate in kernels:
        places = range(0, rate * taps, rate)
        what = f"{taps} taps at rate {rate}"
        expect.number(student.effective_size(taps, rate), places[-1] + 1, f"the span of {what}")
        lost = places[-1]
        if lost % 2:
            expect.raises(lambda k=taps, r=rate: student.same_padding(k, r), ValueError, f"the padding for {what}")
        else:
            expect.number(student.same_padding(taps, rate), lost / 2, f"the padding for {what}")


# -------------------------------------------------------------------------------------------------------------- conv

SPELL = torch.tensor([[[[1000.0, 100], [10, 1]]]])  # a kernel whose answers spell the four digits that it reads


@graded(
    "conv",
    points=1.5,
    title="Four digits at rate 2",
    hint="The first answer reads 3 and 4 in the first row, 5 and 5 in the third, so it spells 3455.",
)
def test_conv_by_hand(student, expect):
    x = torch.tensor([[[[3.0, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8], [9, 7, 9, 3]]]])
    expect.given(x=x, weight=SPELL, rate=2)
    expect.array(
        student.atrous_conv2d(x, SPELL, 2),
        maps([[[[3455, 1138], [5299, 9673]]]]),
        "the answer",
        tolerance=1e-2,
        mistaken={
            "flipped": maps([[[[5543, 8311], [9925, 3769]]]]),
            "strided": maps([[[[3159, 4126], [5397, 5893]]]]),
            "rate-ignored": maps([[[[3159, 1492, 4126], [5953, 9235, 2658], [5397, 3579, 5893]]]]),
            "one-too-far": maps([[[[3193]]]]),
            "border-short": maps([[[[3455]]]]),
            "one-axis": maps([[[[3153, 1435, 4158], [5997, 9279, 2693]]]]),
            "rows-for-columns": maps([[[[3545, 1318], [5929, 9763]]]]),
            "last-tap": maps([[[[5, 8], [9, 3]]]]),
        },
    )


@graded(
    "conv",
    points=1,
    title="A padding of 1",
    hint="The answer in the middle spells the four corners. The one in the upper left corner reads three zeros of the "
    "padding, and the 5 in the middle.",
)
def test_conv_with_padding(student, expect):
    x = torch.tensor([[[[3.0, 1, 4], [1, 5, 9], [2, 6, 5]]]])
    expect.given(x=x, weight=SPELL, rate=2, padding=1)
    expect.array(
        student.atrous_conv2d(x, SPELL, 2, 1),
        maps([[[[5, 19, 50], [106, 3425, 1060], [500, 1900, 5000]]]]),
        "the answer",
        tolerance=1e-2,
        mistaken={
            "padding-scaled": maps(
                [
                    [
                        [
                            [3, 1, 34, 10, 40],
                            [1, 5, 19, 50, 90],
                            [302, 106, 3425, 1060, 4050],
                            [100, 500, 1900, 5000, 9000],
                            [200, 600, 2500, 6000, 5000],
                        ]
                    ]
                ]
            ),
            "padding-ignored": maps([[[[3425]]]]),
            "one-sided": maps([[[[3425, 1060, 4050], [1900, 5000, 9000], [2500, 6000, 5000]]]]),
            "columns-padded": maps([[[[106, 3425, 1060]]]]),
        },
    )


@graded(
    "conv",
    points=1.5,
    title="Two images, two channels, three kernels",
    hint="Three kernels give three channels of output. The first spells: two digits of channel 0, then two of "
    "channel 1. The second copies channel 0, the third takes channel 1 two places on, with a minus.",
)
def test_conv_of_channels(student, expect):
    x = torch.tensor([[[[3.0, 1, 4, 1]], [[5, 9, 2, 6]]], [[[5, 3, 5, 8]], [[9, 7, 9, 3]]]])  # (2, 2, 1, 4)
    weight = torch.tensor([[[[1000.0, 100]], [[10, 1]]], [[[1, 0]], [[0, 0]]], [[[0, 0]], [[0, -1]]]])  # (3, 2, 1, 2)
    expect.given(x=x, weight=weight, rate=2)
    want = maps([[[[3452, 1196]], [[3, 1]], [[-2, -6]]], [[[5599, 3873]], [[5, 3]], [[-9, -3]]]])
    first = maps([[[[3400, 1100]], [[3, 1]], [[0, 0]]], [[[5500, 3800]], [[5, 3]], [[0, 0]]]])
    got = student.atrous_conv2d(x, weight, rate=2)
    expect.array(got, want, "the answer", tolerance=1e-2, mistaken={"averaged": want / 2, "first-channel": first})


@graded(
    "conv",
    points=2,
    title="Any maps, kernels, rate and padding",
    hint="Maps and kernels need not be square. Try a rate of 3 with a padding of 4, and no rate and padding at all.",
    hidden=True,
)
def test_conv_of_any_kind(student, rng, expect):
    for rate, padding, K, M in ((1, 0, 2, 3), (2, 1, 4, 5), (3, 4, int(rng.choice([2, 4])), 3)):
        C, D = int(rng.integers(3, 5)), int(rng.integers(5, 7))
        H, W = rate * (K - 1) + int(rng.integers(2, 6)), rate * (M - 1) + int(rng.integers(6, 9))
        x, weight = random_tensor(rng, 2, C, H, W), random_tensor(rng, D, C, K, M)
        layer = {} if rate == 1 else {"rate": rate, "padding": padding}
        want = F.conv2d(x, weight, padding=padding, dilation=rate)
        got = student.atrous_conv2d(x, weight, **layer)
        expect.array(got, want, f"the answer at rate {rate} with padding {padding}", tolerance=1e-3)


@graded(
    "conv",
    points=1,
    title="Kernels that fit only once, and kernels of one tap",
    hint="What is the output's size if the kernel spans the whole map? And if it is 1 × 1, at a high rate?",
    hidden=True,
)
def test_conv_at_the_limits(student, rng, expect):
    rate = int(rng.integers(2, 5))
    x, weight = random_tensor(rng, 1, 2, 3 * rate + 1, rate + 1), random_tensor(rng, 3, 2, 4, 2)
    got = student.atrous_conv2d(x, weight, rate)
    expect.array(got, F.conv2d(x, weight, dilation=rate), "the answer of a kernel that fits once", tolerance=1e-3)
    got = student.atrous_conv2d(x, weight[:, :, :1, :1], rate, 1)
    want = F.conv2d(x, weight[:, :, :1, :1], padding=1)
    expect.array(got, want, "the answer of kernels of 1 × 1, with padding 1", tolerance=1e-3)


# ------------------------------------------------------------------------------------------------------------- holes


@graded(
    "holes",
    points=1,
    title="Four taps at rate 3",
    hint="Two zeros lie between 1 and 2. Four numbers in a row are 1, 0, 0, 2.",
)
def test_holes_by_hand(student, expect):
    weight = torch.tensor([[1.0, 2], [3, 4]])
    expect.given(weight=weight, rate=3)
    want = maps([[1, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]])
    too_many = np.zeros((5, 5))
    too_many[::4, ::4] = weight
    expect.array(
        student.with_holes(weight, 3),
        want,
        "the kernel",
        mistaken={
            "too-many-zeros": too_many,
            "zeros-behind": np.pad(want, (0, 2)),
            "blown-up": maps([[1, 1, 1, 2, 2, 2]] * 3 + [[3, 3, 3, 4, 4, 4]] * 3),
            "one-axis": maps([[1, 0, 0, 2], [3, 0, 0, 4]]),
            "zeros-around": np.pad(want, 2),
        },
    )


@graded(
    "holes",
    points=1,
    title="Two rows of three taps, at rates 2 and 1",
    hint="Two rows become three, three columns five. At rate 1 there is nothing to put between.",
)
def test_holes_of_a_wide_kernel(student, expect):
    weight = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    expect.given(weight=weight, rate=2)
    want = maps([[1, 0, 2, 0, 3], [0, 0, 0, 0, 0], [4, 0, 5, 0, 6]])
    expect.array(student.with_holes(weight, 2), want, "the kernel at rate 2")
    expect.array(student.with_holes(weight, 1), weight, "the kernel at rate 1")


@graded(
    "holes",
    points=1,
    title="Many kernels at once",
    hint="A network's weights have four axes. Only the last two are rows and columns.",
    hidden=True,
)
def test_holes_of_many(student, rng, expect):
    for shape in ((4, 3, 3, 2), (5, 2, 4)):
        weight, rate = random_tensor(rng, *shape), int(rng.integers(2, 6))
        *others, K, M = shape
        want = np.zeros((*others, rate * K - rate + 1, rate * M - rate + 1))
        for k, m in np.ndindex(K, M):
            want[..., k * rate, m * rate] = weight[..., k, m]
        expect.array(student.with_holes(weight, rate), want, "the kernels", tolerance=1e-6)


@graded(
    "holes",
    points=1,
    title="An ordinary convolution with it is an atrous one",
    hint="Size and places must be right, or the answers lie elsewhere.",
    hidden=True,
)
def test_holes_make_it_atrous(student, rng, expect):
    rate = int(rng.integers(2, 5))
    x, weight = random_tensor(rng, 2, 3, 4 * rate, 5 * rate), random_tensor(rng, 4, 3, 3, 4)
    holes = student.with_holes(weight, rate)
    span = 4, 3, 2 * rate + 1, 3 * rate + 1
    shape = tuple(getattr(holes, "shape", ()))
    message = f"kernels of 3 × 4 taps at rate {rate} should have shape {span}, yours have {shape}."
    expect.true(shape == span, message)
    want = F.conv2d(x, weight, dilation=rate)
    expect.array(
        F.conv2d(x, torch.as_tensor(holes).float()), want, "the answer of an ordinary convolution", tolerance=1e-3
    )


# ------------------------------------------------------------------------------------------------------------- field


@graded(
    "field",
    points=1,
    title="The field of three layers, by hand",
    hint="1 pixel. Three taps at rate 1 add 2, at rate 2 they add 4. And at rate 3?",
)
def test_field_by_hand(student, expect):
    layers = [(3, 1), (3, 2), (3, 3)]
    expect.given(layers=layers)
    mistaken = {
        "multiplied": 105,
        "spans-added": 15,
        "rates-forgotten": 7,
        "rates-as-strides": 9,
        "field-from-zero": 12,
        "rates-for-taps": 10,
    }
    expect.number(student.receptive_field(layers), 13, "the receptive field", mistaken=mistaken)
    expect.number(student.receptive_field([(5, 4), (1, 7)]), 17, "the field of [(5, 4), (1, 7)]")


def cross(line):
    """The square of pixels whose row and column are both among the places of a line, given as 0 and 1."""
    return np.outer(line, line).astype(bool)


@graded(
    "field",
    points=1.5,
    title="Three taps at rate 2, twice",
    hint="Along one axis: place 0 of the topmost layer reads 0, 2 and 4, and so do places 2 and 4, each from itself "
    "on.",
)
def test_seen_by_hand(student, expect):
    layers = [(3, 2), (3, 2)]
    expect.given(layers=layers)
    line = [1, 0, 1, 0, 1, 0, 1, 0, 1]
    rows = np.array(line, bool)
    expect.array(
        student.seen(layers),
        cross(line),
        "the mask",
        kind="bool",
        mistaken={
            "all-seen": np.ones((9, 9), bool),
            "last-layer-only": cross([1, 0, 0, 0, 1, 0, 0, 0, 1]),
            "united": cross([1, 0, 1, 0, 1, 0, 0, 0, 0]),
            "or-for-and": rows[:, None] | rows,
            "diagonal": np.diag(rows),
        },
    )
    expect.array(student.seen([(3, 1), (3, 2)]), cross([1] * 7), "the mask of [(3, 1), (3, 2)]", kind="bool")


def random_layers(rng):
    """Three or four layers (taps, rate)."""
    count = int(rng.integers(3, 5))
    return [(int(rng.integers(1, 5)), int(rng.integers(1, 6))) for _ in range(count)]


@graded(
    "field",
    points=1,
    title="The field of any layers",
    hint="Try kernels of 1 × 1 at a high rate, even kernels, and no layer at all.",
    hidden=True,
)
def test_field_of_any_layers(student, rng, expect):
    for layers in ([], [(2, 3)], random_layers(rng), [*random_layers(rng), (3, 12), (1, 9)]):
        lost = sum(len(range(0, taps * rate, rate)[1:]) * rate for taps, rate in layers)
        expect.number(student.receptive_field(layers), 1 + lost, f"the field of {layers}")


@graded(
    "field",
    points=1.5,
    title="What any layers see",
    hint="Try rates 2 and 3, kernels of two and of four taps, and a single tap at a high rate.",
    hidden=True,
)
def test_seen_by_any_layers(student, rng, expect):
    for layers in ([(2, 2), (2, 3)], [(3, 3), (3, 3), (1, 5)], [(4, 2), (2, 5)], [*random_layers(rng), (2, 4)]):
        reached = torch.ones(1, 1, 1, 1)
        for taps, rate in layers:
            reached = F.conv_transpose2d(reached, torch.ones(1, 1, taps, taps), dilation=rate)
        expect.array(student.seen(layers), reached[0, 0].numpy() > 0, f"the mask of {layers}", kind="bool")


# -------------------------------------------------------------------------------------------------------------- aspp


@graded(
    "aspp",
    points=1,
    title="The weights' names and shapes",
    hint="The projection sees the channels of every branch: one of 1 × 1, one for each rate, one for the whole map.",
)
def test_aspp_shapes(student, expect):
    want = {
        "point.weight": (4, 3),
        "point.bias": (4,),
        "atrous.0": (4, 3, 3, 3),
        "atrous.1": (4, 3, 3, 3),
        "image.weight": (4, 3),
        "image.bias": (4,),
        "project.weight": (4, 16),
        "project.bias": (4,),
    }
    expect.given(channels=3, width=4, rates=(1, 2))
    got = student.ASPP.module(3, 4, (1, 2)).shapes()
    mistaken = {"unknown-to-the-module": sorted(name for name in want if "atrous" not in name)}
    expect.same(sorted(got), sorted(want), "the list of the weights' names", mistaken=mistaken)
    for name, shape in want.items():
        mistaken = {"added": (4, 4)} if name == "project.weight" else None
        expect.same(got[name], shape, f"the shape of {name}", mistaken=mistaken)


def one_channel(rates, point=0.0, image=(0.0, 0.0), project=(), bias=0.0):
    """Weights of a pyramid of one channel: kernels of ones at every rate, `image` with its bias, no other."""
    return {
        "point.weight": torch.tensor([[point]]),
        "point.bias": torch.zeros(1),
        **{f"atrous.{number}": torch.ones(1, 1, 3, 3) for number in range(len(rates))},
        "image.weight": torch.tensor([[image[0]]]),
        "image.bias": torch.tensor([image[1]]),
        "project.weight": torch.tensor([project]),
        "project.bias": torch.tensor([bias]),
    }


@graded(
    "aspp",
    points=1.5,
    title="A point of light, and a digit for each branch",
    hint="Print each branch's shape: all are (1, 1, 5, 5). The mean is 1/25, times its weight 25, so the thousands are "
    "1 everywhere. The hundreds show rate 2, the tens rate 1, the ones the point itself.",
)
def test_aspp_by_hand(student, expect):
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    weights = one_channel((1, 2), point=1.0, image=(25.0, 0.0), project=(1.0, 10.0, 100.0, 1000.0))
    expect.given(x=x, rates=(1, 2), weight_of_point=1, weight_of_image=25, weights_of_project=(1, 10, 100, 1000))
    row0, row1 = [1100, 1000, 1100, 1000, 1100], [1000, 1010, 1010, 1010, 1000]
    want = maps([[[row0, row1, [1100, 1010, 1111, 1010, 1100], row1, row0]]])
    row0, row1 = [1010, 1000, 1010, 1000, 1010], [1000, 1100, 1100, 1100, 1000]
    swapped = maps([[[row0, row1, [1010, 1100, 1111, 1100, 1010], row1, row0]]])
    row0, row1 = [1001, 1, 1001, 1, 1001], [1, 101, 101, 101, 1]
    image_first = maps([[[row0, row1, [1001, 101, 1111, 101, 1001], row1, row0]]])
    once = want - 1000
    once[0, 0, 0, 0] += 1000
    not_pooled = want - 1000
    not_pooled[0, 0, 2, 2] += 25000
    dark, lit = [1000] * 5, [1000, 1110, 1110, 1110, 1000]
    at_rate_1 = maps([[[dark, lit, [1000, 1110, 1111, 1110, 1000], lit, dark]]])
    expect.array(
        student.ASPP.module(1, 1, (1, 2)).load(weights)(x),
        want,
        "the output",
        tolerance=1e-2,
        mistaken={
            "rates-swapped": swapped,
            "image-first": image_first,
            "all-at-rate-1": at_rate_1,
            "image-not-mean": want + 24000,
            "image-not-pooled": not_pooled,
            "image-once": once,
        },
    )


@graded(
    "aspp",
    points=1,
    title="Where ReLUs stand",
    hint="At rate 2, eight of nine taps lie outside a map of 2 × 2, so the branch gives x itself. The mean is 0, with "
    "its bias -1. What is left of -1 after a ReLU?",
)
def test_aspp_relus(student, expect):
    x = torch.tensor([[[[-1.0, 2], [3, -4]]]])
    weights = one_channel((2,), point=1.0, image=(1.0, -1.0), project=(1.0, 10.0, -100.0), bias=-15.0)
    expect.given(x=x, rates=(2,), bias_of_image=-1, weights_of_project=(1, 10, -100), bias_of_project=-15)
    expect.array(
        student.ASPP.module(1, 1, (2,)).load(weights)(x),
        maps([[[[0, 7], [18, 0]]]]),
        "the output",
        tolerance=1e-3,
        mistaken={
            "no-branch-relu": maps([[[[74, 107], [118, 41]]]]),
            "no-last-relu": maps([[[[-15, 7], [18, -15]]]]),
        },
    )


def pyramid(x, weights, rates, mean_over=(2, 3)):
    """What `ASPP` gives, or what it gives with a mean over other axes."""

    def dense(values, name):
        return F.conv2d(values, weights[f"{name}.weight"][..., None, None], weights[f"{name}.bias"])

    branches = [dense(x, "point")]
    for number, rate in enumerate(rates):
        branches.append(F.conv2d(x, weights[f"atrous.{number}"], padding=rate, dilation=rate))
    branches.append(dense(x.mean(dim=mean_over, keepdim=True).expand_as(x), "image"))
    return dense(torch.cat(branches, dim=1).relu(), "project").relu()


def pyramid_weights(rng, channels, width, rates):
    """Random weights by name. Two biases lie high: what a ReLU sets to 0 would hide mistakes before it."""
    weights = {"project.weight": random_tensor(rng, width, (len(rates) + 2) * width)}
    for name in ("point", "image"):
        weights[f"{name}.weight"] = random_tensor(rng, width, channels)
        weights[f"{name}.bias"] = random_tensor(rng, width)
    weights |= {f"atrous.{number}": random_tensor(rng, width, channels, 3, 3) for number in range(len(rates))}
    weights["image.bias"] += 3
    return weights | {"project.bias": 5 + random_tensor(rng, width)}


@graded(
    "aspp",
    points=1.5,
    title="Several images, channels and rates",
    hint="Does it work for any number of rates, in any order, and is each image's mean its own?",
    hidden=True,
)
def test_aspp_of_many(student, rng, expect):
    for rates in ((3, 1, 2), (int(rng.integers(4, 12)),)):
        weights, x = pyramid_weights(rng, 3, 4, rates), random_tensor(rng, 2, 3, 7, 9)
        mistaken = {"one-mean-for-all": pyramid(x, weights, rates, mean_over=(0, 2, 3))}
        got = student.ASPP.module(3, 4, rates).load(weights)(x)
        expect.array(got, pyramid(x, weights, rates), "the output", tolerance=1e-2, mistaken=mistaken)


@graded(
    "aspp",
    points=1,
    title="It can be trained",
    hint="A loss must reach every weight of every branch, and the input through all of them.",
    hidden=True,
)
def test_aspp_gradients(student, rng, expect):
    rates = (1, 2)
    weights, x, upstream = (
        pyramid_weights(rng, 2, 3, rates),
        random_tensor(rng, 2, 2, 5, 6),
        random_tensor(rng, 2, 3, 5, 6),
    )
    learnt = {name: value.clone().requires_grad_() for name, value in weights.items()}
    image = x.clone().requires_grad_()
    wanted = torch.autograd.grad(pyramid(image, learnt, rates), [image, *learnt.values()], upstream)
    found = student.ASPP.module(2, 3, rates).load(weights).gradients(x, upstream=upstream)
    expect.array(found.inputs[0], wanted[0], "the gradient at the input", tolerance=1e-2)
    for name, gradient in zip(learnt, wanted[1:], strict=True):
        expect.array(found.weights[name], gradient, f"the gradient at {name}", tolerance=1e-2)


# --------------------------------------------------------------------------------------------------------------- crf


def of_odds(*odds):
    """Probabilities of two labels from the odds of the first, a row for each pixel."""
    return maps([[one / (1 + one), 1 / (1 + one)] for one in odds])


@graded(
    "crf",
    points=2,
    title="Three pixels and two labels",
    hint="Pixel 1 hears 2 · 0.9 + 0.5 · 0.2 = 1.9 for the first label and 0.6 for the second, so its odds 0.4 : 0.6 "
    "are multiplied by e to the 1.3.",
)
def test_crf_by_hand(student, expect):
    Q = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])  # the network's: odds 4, 2/3 and 3/7
    kernel = torch.tensor([[1, 2, 0.5], [2, 1, 0.5], [0.5, 0.5, 1]])
    expect.given(Q=Q, probabilities_of_the_network=p, kernel=kernel)
    e = math.exp
    log = math.log
    twice = log(0.8) / log(0.2), log(0.4) / log(0.6), log(0.3) / log(0.7)  # odds, if the logarithm is taken twice
    raw = maps([[0.8 * e(-1.2), 0.2 * e(-1.3)], [0.4 * e(-0.6), 0.6 * e(-1.9)], [0.3 * e(-0.25), 0.7 * e(-0.75)]])
    expect.array(
        student.mean_field_step(Q, -p.log(), kernel),
        of_odds(4 * e(0.1), 2 / 3 * e(1.3), 3 / 7 * e(0.5)),
        "the new Q",
        tolerance=1e-3,
        mistaken={
            "hears-itself": of_odds(4 * e(0.9), 2 / 3 * e(1.5), 3 / 7 * e(-0.1)),
            "repels": of_odds(4 * e(-0.1), 2 / 3 * e(-1.3), 3 / 7 * e(-0.5)),
            "unary-forgotten": of_odds(e(0.1), e(1.3), e(0.5)),
            "unary-sign": of_odds(1 / 4 * e(0.1), 3 / 2 * e(1.3), 7 / 3 * e(0.5)),
            "unary-as-probability": of_odds(
                *(wrong * e(heard) for wrong, heard in zip(twice, (0.1, 1.3, 0.5), strict=True))
            ),
            "old-opinion": of_odds(9 * e(0.1), 3 / 2 * e(1.3), 1 / 4 * e(0.5)),
            "mean-message": of_odds(4 * e(0.1 / 2.5), 2 / 3 * e(1.3 / 2.5), 3 / 7 * e(0.5)),
            "hard-votes": of_odds(4 * e(1.5), 2 / 3 * e(1.5), 3 / 7 * e(1)),
            "not-normalised": raw,
            "over-pixels": raw / raw.sum(axis=0),
            "one-after-another": of_odds(4 * e(0.1), 2 / 3 * e(0.9621), 3 / 7 * e(0.4512)),
        },
    )


@graded(
    "crf",
    points=1,
    title="Two pixels and three labels",
    hint="Against the first label counts what was heard for the second and for the third together.",
)
def test_crf_of_three_labels(student, expect):
    Q = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
    expect.given(Q=Q, unary="log(3) everywhere", kernel=torch.tensor([[0.0, 1], [1, 0]]))
    e = math.exp
    rows = [[e(0.1), e(0.6), e(0.3)], [e(0.5), e(0.3), e(0.2)]]  # each pixel hears the other
    half = [[e(0.05), e(0.3), e(0.15)], [e(0.25), e(0.15), e(0.1)]]
    mirrored = [[e(-0.3), e(-0.6), e(-0.1)], [e(-0.2), e(-0.3), e(-0.5)]]
    want, mean, two = (maps([[value / sum(row) for value in row] for row in r]) for r in (rows, half, mirrored))
    got = student.mean_field_step(Q, torch.full((2, 3), math.log(3)), torch.tensor([[0.0, 1], [1, 0]]))
    raw = maps([[value / e(1) for value in row] for row in rows]) / 3  # each hears 1 in all
    mistaken = {
        "others-averaged": mean,
        "two-labels-only": two,
        "not-normalised": raw,
        "over-pixels": raw / raw.sum(axis=0),
    }
    expect.array(got, want, "the new Q", tolerance=1e-3, mistaken=mistaken)


def crf_inputs(rng, pixels, labels, strength):
    """Random Q and unary, and a symmetric kernel that would let pixels hear themselves."""
    Q, p = (rng.dirichlet(np.ones(labels), pixels) for _ in range(2))
    kernel = strength * rng.random((pixels, pixels))
    return Q, -np.log(p), kernel + kernel.T


def step_in_loops(Q, unary, kernel):
    """A step of mean field, pixel by pixel and label by label."""
    new = np.zeros_like(Q)
    for i in range(len(Q)):
        costs = []
        for label in range(Q.shape[1]):
            cost = unary[i, label]
            for j in range(len(Q)):
                cost += kernel[i, j] * (1 - Q[j, label]) if j != i else 0  # 1 - Q: what j gives to other labels
            costs.append(cost)
        new[i] = np.exp(min(costs) - np.array(costs))
        new[i] /= new[i].sum()
    return new


@graded(
    "crf",
    points=2,
    title="Many pixels, any number of labels",
    hint="Try four labels, and a kernel whose diagonal is not the same everywhere.",
    hidden=True,
)
def test_crf_of_many(student, rng, expect):
    for labels in (2, int(rng.integers(3, 6))):
        inputs = crf_inputs(rng, 12, labels, 0.3)
        got = student.mean_field_step(*(torch.from_numpy(values).float() for values in inputs))
        expect.array(got, step_in_loops(*inputs), "the new Q", tolerance=1e-4)


@graded(
    "crf",
    points=1,
    title="Pixels that hear very much",
    hint="What counts against each label can be in the thousands. Are your results numbers then?",
    hidden=True,
)
def test_crf_of_large_messages(student, rng, expect):
    Q, unary, kernel = crf_inputs(rng, 20, 3, 100.0)
    Q = 1 / 3 + 0.01 * (Q - 1 / 3)  # nearly undecided, or the loudest label would win whatever else is wrong
    inputs = Q, unary, kernel
    got = student.mean_field_step(*(torch.from_numpy(values).float() for values in inputs))
    mistaken = {"zero-by-zero": np.full((20, 3), np.nan)}
    expect.array(got, step_in_loops(*inputs), "the new Q", tolerance=1e-2, mistaken=mistaken)
