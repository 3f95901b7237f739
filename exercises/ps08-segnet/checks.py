# The exercise's public tests, for the instant check. Editing them changes no grade.
"""The tests of ps08: pooling with places, unpooling, batch normalisation, a decoder block, bytes, class weights.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

import math

import numpy as np
import torch

from autograder.forbidden import LIBRARIES
from autograder.suite import Exercise, graded

exercise = Exercise(
    "ps08-segnet",
    cells={
        "pool": 6,
        "unpool": 5,
        "gradient": 4,
        "norm": 7,
        "block": 5,
        "memory": 4,
        "classes": 5,
    },
    # When torch first differentiates, it loads this: half a second, which each student's process would spend anew.
    preload=("numpy", "torch", "torch.fx.experimental.symbolic_shapes", "matplotlib.pyplot"),
    seconds=10,  # where several share a core, a call can take a while
    forbidden=(
        *LIBRARIES,
        "scipy",
        "torch.batch_norm",
        "torch.group_norm",
        "torch.instance_norm",
        "torch.layer_norm",
        "torch.max_pool1d",
        "torch.max_pool1d_with_indices",
        "torch.max_pool2d",
        "torch.max_pool3d",
        "torch.native_batch_norm",
        "torch.native_group_norm",
        "torch.native_layer_norm",
        "torch.nn.AdaptiveMaxPool2d",
        "torch.nn.BatchNorm1d",
        "torch.nn.BatchNorm2d",
        "torch.nn.BatchNorm3d",
        "torch.nn.FractionalMaxPool2d",
        "torch.nn.GroupNorm",
        "torch.nn.InstanceNorm1d",
        "torch.nn.InstanceNorm2d",
        "torch.nn.InstanceNorm3d",
        "torch.nn.LayerNorm",
        "torch.nn.LazyBatchNorm2d",
        "torch.nn.MaxPool1d",
        "torch.nn.MaxPool2d",
        "torch.nn.MaxPool3d",
        "torch.nn.MaxUnpool1d",
        "torch.nn.MaxUnpool2d",
        "torch.nn.MaxUnpool3d",
        "torch.nn.SyncBatchNorm",
        "torch.nn.functional.adaptive_max_pool2d",
        "torch.nn.functional.adaptive_max_pool2d_with_indices",
        "torch.nn.functional.batch_norm",
        "torch.nn.functional.fractional_max_pool2d",
        "torch.nn.functional.fractional_max_pool2d_with_indices",
        "torch.nn.functional.group_norm",
        "torch.nn.functional.instance_norm",
        "torch.nn.functional.layer_norm",
        "torch.nn.functional.max_pool1d",
        "torch.nn.functional.max_pool1d_with_indices",
        "torch.nn.functional.max_pool2d",
        "torch.nn.functional.max_pool2d_with_indices",
        "torch.nn.functional.max_pool3d",
        "torch.nn.functional.max_unpool1d",
        "torch.nn.functional.max_unpool2d",
        "torch.nn.functional.max_unpool3d",
        "torch.ops.aten",
    ),
    hints={
        # pool
        "mean-for-max": "You took the mean of each window.",
        "max-from-zero": "Where all four values are negative, yours is 0. Does your search for the largest begin at 0?",
        "indices-first": "You return the indices first. Asked are the maxima and then their indices.",
        "place-turned": "Within a window, your rows and columns have changed places. Of the four places 0 to 3 in "
        "reading order, which two are in its lower row?",
        "index-in-window": "Your indices count from 0 to 3 within each window. Asked is the place in the whole map.",
        "index-in-pooled": "Your indices count through the small map. What is the index of a window's pixel in the "
        "map before the pooling?",
        "column-major": "Your indices run down the columns. In reading order, how many pixels come before the first "
        "one of row y?",
        "index-over-all": "Your indices go on counting from one channel, or one image, to the next. Each map starts "
        "again at 0.",
        "last-of-equals": "Of equal values the first in reading order counts. Yours is another one.",
        "trimmed-width": "Your rows have the wrong length: the column that is left out of the pooling still counts "
        "for W.",
        "odd-kept-in-pool": "You pooled an odd last row or column by itself. Here it is left out.",
        # unpool
        "indices-ignored": "Every value stands in the upper left corner of its window. Use the indices.",
        "repeated": "You repeated each value over its window. One place of the four gets it, the others are 0.",
        "channels-mixed": "Values of several maps ended up in one. An index counts within the map of its own channel.",
        "size-ignored": "Your result is twice as large as the small map. `size` says how large it should be, and the "
        "indices count through a map of that width.",
        "nothing-put": "Your map is empty. `scatter` gives a new tensor back and leaves the old one as it was.",
        "size-turned": "`size` is (height, width); you took it the other way round.",
        # gradient
        "to-all": "All four pixels of a window get the whole gradient. Would the output change if a loser grew a "
        "little?",
        "shared": "You shared the gradient among the four, as an average pooling would.",
        "maxima-put": "The winners' own values stand in your map. What comes back to a winner's place is the gradient "
        "that arrives at the output.",
        "all-winners": "Where several values are equally large, only the first of them wins.",
        # norm
        "not-saved": "A tensor that is a plain attribute is not saved with a module, nor moved to a GPU with it. What "
        "is learnt is an `nn.Parameter`; what is only remembered is a buffer.",
        "unbiased-output": "You divided by the root of the unbiased variance (N - 1). That one is for the running "
        "variance only.",
        "variance-for-root": "You divided by the variance. Its root is missing.",
        "per-image": "You normalised each image for itself. Mean and variance are over the whole batch.",
        "per-pixel": "You took a mean for each pixel, over the batch alone. A channel has one mean, over images, rows "
        "and columns.",
        "one-mean-for-all": "You took one mean and one variance for all channels. Each channel has its own.",
        "along-columns": "Your numbers for the channels were matched with the columns: a tensor of shape (channels,) "
        "goes along the last axis. Which shape lines it up with the second one?",
        "running-in-training": "In training, the batch's own mean and variance count, not the running ones.",
        "moved-and-used": "You normalised by the running values, after they had moved. In training they are kept for "
        "later; the batch's own mean and variance count.",
        "moves-in-evaluation": "Your running values move in evaluation, too. They learn from training alone.",
        "momentum-swapped": "The momentum is the share of the new batch; yours is the share of what was there.",
        "biased-running": "Your running variance moved by the biased one. The factor N / (N - 1) is missing.",
        "count-of-all": "In the factor N / (N - 1), you counted the values of all channels. N is for one channel.",
        "count-of-images": "In the factor N / (N - 1), you counted images. N is the number of values of a channel: "
        "images times rows times columns.",
        "factor-turned": "Your running variance became smaller by the factor. N / (N - 1) is greater than 1.",
        "running-stay": "The running values did not move in training.",
        "running-replaced": "The running values are those of the last batch alone. They should remember the ones "
        "before.",
        "batch-in-evaluation": "In evaluation you normalised by the batch's own mean and variance. What does "
        "`self.training` say there?",
        "eps-outside": "A channel of very small values comes out wrong. Is epsilon added before the root is taken, or "
        "after?",
        "weight-and-bias-ignored": "Your result is the same whatever weight and bias are.",
        # block
        "same-size": "The convolution should leave the size as it is: pad by 1.",
        "no-relu": "Your output has negative values: the ReLU comes last.",
        "shift-first": "You added the shift before you multiplied by the scale.",
        "convolved-first": "You convolved the small map and unpooled the result, so the gaps are still there. Which "
        "comes first?",
        "places-ignored": "Every value was put into the upper left corner of its window. Use the indices.",
        "values-repeated": "You repeated each value over its window before the convolution. Unpooling leaves zeros.",
        # memory
        "bits-for-bytes": "You counted bits. A byte has 8 of them.",
        "index-per-pixel": "You counted an index for each pixel. There is one for each window of four.",
        "channels-forgotten": "You counted one channel. Each channel has its own maxima.",
        "bytes-forgotten": "You counted values. How many bytes has a float32?",
        "first-map-only": "You counted the first map only.",
        "rounded-down": "Bits that do not fill a byte need one all the same: round up.",
        "not-rounded": "There is no part of a byte: round up to a whole one.",
        "odd-kept": "You counted indices for an odd last row or column. They take no part in the pooling.",
        # classes
        "over-all-images": "You divided by the pixels of all images. In freq(c) only the images count in which c "
        "occurs.",
        "not-inverted": "Your frequent classes weigh more than the rare ones. Which of the two numbers is above the "
        "line?",
        "mean-for-median": "You took the mean of the frequencies. Which number is in the middle?",
        "not-balanced": "Your weights are 1 / freq(c). What stands above the line in the equation?",
        "absent-counted": "A class that occurs nowhere took part in the median. Leave it out.",
        "undefined": "Your weights are not numbers. Which class has 0 pixels in 0 images, and what became of the "
        "median with it?",
        "infinite": "A class that occurs nowhere should weigh 0. Yours divides by 0.",
        "lower-median": "For an even number of classes the median is the mean of the two in the middle. What does "
        "`torch.median` return then?",
    },
)


def maps(values):
    """Feature maps of floats, which a failed test shows as tables of numbers."""
    return np.array(values, float)




def pair(got, expect):
    """The two parts of what `pool_with_indices` returned."""
    is_pair = isinstance(got, list | tuple) and len(got) == 2
    expect.true(is_pair, "`pool_with_indices` should return two things: the maxima and their indices.")
    return got




FOUR_WINDOWS = torch.tensor([[[[1.0, 3, 2, 0], [4, 2, 0, 1], [5, 1, 7, 6], [0, 2, 8, 9]]]])


# -------------------------------------------------------------------------------------------------------------- pool


@graded(
    "pool",
    points=1,
    title="Four windows: the maxima",
    hint="The upper left window holds 1, 3, 4 and 2.",
)
def test_maxima_by_hand(student, expect):
    expect.given(x=FOUR_WINDOWS)
    maxima, _ = pair(student.pool_with_indices(FOUR_WINDOWS), expect)
    mistaken = {
        "mean-for-max": maps([[[[2.5, 0.75], [2, 7.5]]]]),
        "indices-first": maps([[[[4, 2], [8, 15]]]]),
    }
    expect.array(maxima, maps([[[[4, 2], [5, 9]]]]), "the maxima", mistaken=mistaken)


@graded(
    "pool",
    points=1.5,
    title="Four windows: the indices",
    hint="Number the 16 pixels in reading order, 0 to 15: the 4 stands at 4, the 2 of the upper right window at 2.",
)
def test_indices_by_hand(student, expect):
    expect.given(x=FOUR_WINDOWS)
    _, indices = pair(student.pool_with_indices(FOUR_WINDOWS), expect)
    mistaken = {
        "index-in-window": [[2, 0], [0, 3]],
        "index-in-pooled": [[0, 1], [2, 3]],
        "column-major": [[1, 8], [2, 15]],
        "place-turned": [[1, 2], [8, 15]],
    }
    got = only_map(indices, (2, 2), expect)
    expect.array(got, np.array([[4, 2], [8, 15]]), "the indices", kind="integer", mistaken=mistaken)


def only_map(indices, shape, expect):
    """The one map of one image's indices: with two axes, so that a failed test shows it as a table."""
    found, wanted = tuple(getattr(indices, "shape", ())), (1, 1, *shape)
    expect.true(found == wanted, f"the indices should have shape {wanted}, yours have {found}.")
    return indices[0, 0]


@graded(
    "pool",
    points=1,
    title="Equal values",
    hint="All four sevens are largest. Which of them comes first in reading order?",
)
def test_indices_of_equals(student, expect):
    x = torch.tensor([[[[7.0, 7, 0, 3], [7, 7, 3, 3]]]])
    expect.given(x=x)
    _, indices = pair(student.pool_with_indices(x), expect)
    mistaken = {"last-of-equals": [[5, 7]], "index-in-window": [[0, 1]]}
    expect.array(only_map(indices, (1, 2), expect), np.array([[0, 3]]), "the indices", mistaken=mistaken)






# ------------------------------------------------------------------------------------------------------------ unpool


@graded(
    "unpool",
    points=1.5,
    title="Four values back in their places",
    hint="Index 4 is the first pixel of row 1; index 2 is the third of row 0.",
)
def test_unpool_by_hand(student, expect):
    x, indices = torch.tensor([[[[4.0, 2], [5, 9]]]]), torch.tensor([[[[4, 2], [8, 15]]]])
    expect.given(x=x, indices=indices[0, 0], size=(4, 4))
    expect.array(
        student.unpool(x, indices, (4, 4)),
        maps([[[[0, 0, 2, 0], [4, 0, 0, 0], [5, 0, 0, 0], [0, 0, 0, 9]]]]),
        "the unpooled map",
        mistaken={
            "indices-ignored": maps([[[[4, 0, 2, 0], [0, 0, 0, 0], [5, 0, 9, 0], [0, 0, 0, 0]]]]),
            "repeated": maps([[[[4, 4, 2, 2], [4, 4, 2, 2], [5, 5, 9, 9], [5, 5, 9, 9]]]]),
            "nothing-put": np.zeros((1, 1, 4, 4)),
        },
    )


@graded(
    "unpool",
    points=1,
    title="A map of 5 × 3",
    hint="Three columns: index 4 is row 1, column 1, and index 6 is row 2, column 0.",
)
def test_unpool_to_an_odd_size(student, expect):
    x, indices = torch.tensor([[[[8.0], [3]]]]), torch.tensor([[[[4], [6]]]])
    expect.given(x=x, indices=indices[0, 0], size=(5, 3))
    expect.array(
        student.unpool(x, indices, (5, 3)),
        maps([[[[0, 0, 0], [0, 8, 0], [3, 0, 0], [0, 0, 0], [0, 0, 0]]]]),
        "the unpooled map",
        mistaken={
            "size-ignored": maps([[[[0, 0], [0, 0], [8, 0], [3, 0]]]]),
            "size-turned": maps([[[[0, 0, 0, 0, 8], [0, 3, 0, 0, 0], [0, 0, 0, 0, 0]]]]),
            "nothing-put": np.zeros((1, 1, 5, 3)),
            "indices-ignored": maps([[[[8, 0, 0], [0, 0, 0], [3, 0, 0], [0, 0, 0], [0, 0, 0]]]]),
        },
    )








# ---------------------------------------------------------------------------------------------------------- gradient


@graded(
    "gradient",
    points=1.5,
    title="Four windows",
    hint="The 4 wins the upper left window, so the 10 goes to its place, row 1 and column 0.",
)
def test_gradient_by_hand(student, expect):
    upstream = torch.tensor([[[[10.0, 20], [30, 40]]]])
    expect.given(x=FOUR_WINDOWS, upstream=upstream)
    to_all = maps([[[[10, 10, 20, 20], [10, 10, 20, 20], [30, 30, 40, 40], [30, 30, 40, 40]]]])
    expect.array(
        student.pool_gradient(FOUR_WINDOWS, upstream),
        maps([[[[0, 0, 20, 0], [10, 0, 0, 0], [30, 0, 0, 0], [0, 0, 0, 40]]]]),
        "the gradient",
        tolerance=1e-6,
        mistaken={
            "to-all": to_all,
            "shared": to_all / 4,
            "maxima-put": maps([[[[0, 0, 2, 0], [4, 0, 0, 0], [5, 0, 0, 0], [0, 0, 0, 9]]]]),
        },
    )


@graded(
    "gradient",
    points=1,
    title="Two equal winners",
    hint="Of the two nines, the one that comes first in reading order wins.",
)
def test_gradient_of_equals(student, expect):
    x, upstream = torch.tensor([[[[1.0, 9], [9, 2]]]]), torch.tensor([[[[6.0]]]])
    expect.given(x=x, upstream=upstream)
    mistaken = {
        "all-winners": maps([[[[0, 6], [6, 0]]]]),
        "last-of-equals": maps([[[[0, 0], [6, 0]]]]),
        "shared": maps([[[[1.5, 1.5], [1.5, 1.5]]]]),
        "to-all": maps([[[[6, 6], [6, 6]]]]),
        "maxima-put": maps([[[[0, 9], [0, 0]]]]),
    }
    want = maps([[[[0, 6], [0, 0]]]])
    expect.array(student.pool_gradient(x, upstream), want, "the gradient", tolerance=1e-6, mistaken=mistaken)




# -------------------------------------------------------------------------------------------------------------- norm


@graded(
    "norm",
    points=1,
    title="What is learnt and what is remembered",
    hint="Two parameters, weight and bias, and two buffers, running_mean and running_var; look at how each begins. To "
    "see them, this test calls `forward` once, in evaluation.",
)
def test_norm_at_first(student, expect):
    norm = student.BatchNorm.module(3)
    expect.same(norm.shapes(), {"weight": (3,), "bias": (3,)}, "the shapes of what BatchNorm(3) learns")
    state = norm.state_after(torch.zeros(2, 3, 1, 1), train=False)
    for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
        expect.true(name in state, f"nothing named `{name}` is saved with the module.", hint="not-saved")
        mistaken = {"moves-in-evaluation": np.full(3, 0.9)} if name == "running_var" else None
        what = f"`{name}` of a new BatchNorm(3), after an evaluation"
        expect.array(state[name], np.full(3, float(value)), what, tolerance=1e-6, mistaken=mistaken)


# Two images of two channels, 1 x 2 pixels. Channel 0 has the mean 4 and the variance 5 (20 / 3 unbiased), channel 1 the
# mean 30 and the variance 100 (400 / 3 unbiased).
TWO_IMAGES = torch.tensor([[[[1.0, 3]], [[20, 20]]], [[[5, 7]], [[40, 40]]]])


def state_of(weight, bias, mean, variance):
    """Weights and buffers of a BatchNorm of two channels."""
    values = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}


def two_channels(first, second, weight=(2, 1), bias=(10, 0)):
    """What comes of two normalised channels, each given as four values: of image 1, then of image 2."""
    channels = zip((first, second), weight, bias, strict=True)
    return np.stack([maps(values).reshape(2, 1, 2) * w + b for values, w, b in channels], axis=1)


@graded(
    "norm",
    points=1.5,
    title="Training: two images of two channels",
    hint="In channel 0, the mean of 1, 3, 5 and 7 is 4, their variance (9 + 1 + 1 + 9) / 4 = 5. Take off 4, divide by "
    "the root of 5, times 2, plus 10. Channel 1 has the mean 30, the variance 100, the weight 1 and the bias 0.",
)
def test_norm_in_training(student, expect):
    image_1, image_2 = TWO_IMAGES.reshape(2, 2, 2)  # a row for each channel
    expect.given(image_1=image_1, image_2=image_2, weight=maps([2, 1]), bias=maps([10, 0]))
    a, b = maps([-3, -1, 1, 3]), maps([-10, -10, 10, 10])
    root = math.sqrt
    columns = (maps(TWO_IMAGES) - [4, 30]) / [root(5), 10] * [2, 1] + [10, 0]
    expect.array(
        student.BatchNorm.module(2).load(state_of([2, 1], [10, 0], [0, 0], [1, 1]))(TWO_IMAGES, train=True),
        two_channels(a / root(5), b / 10),
        "the output",
        tolerance=1e-3,
        mistaken={
            "unbiased-output": two_channels(a / root(20 / 3), b / root(400 / 3)),
            "variance-for-root": two_channels(a / 5, b / 100),
            "per-image": two_channels([-1, 1, -1, 1], [0, 0, 0, 0]),
            "per-pixel": two_channels([-1, -1, 1, 1], [-1, -1, 1, 1]),
            "one-mean-for-all": two_channels((a - 13) / root(221.5), (b + 13) / root(221.5)),
            "along-columns": columns,
            "running-in-training": two_channels([1, 3, 5, 7], [20, 20, 40, 40]),
            "moved-and-used": two_channels((a + 3.6) / root(0.9 + 2 / 3), (b + 27) / root(0.9 + 40 / 3)),
            "weight-and-bias-ignored": two_channels(a / root(5), b / 10, weight=(1, 1), bias=(0, 0)),
        },
    )


@graded(
    "norm",
    points=1,
    title="Training: the running values move",
    hint="In channel 0, the mean was 2, the batch's is 4: 0.9 · 2 + 0.1 · 4. The variance was 1, the batch's is 20 / 3 "
    "without bias.",
)
def test_norm_remembers(student, expect):
    image_1, image_2 = TWO_IMAGES.reshape(2, 2, 2)
    before = {"running_mean": maps([2, 10]), "running_var": maps([1, 1])}
    expect.given(image_1=image_1, image_2=image_2, **before, momentum=0.1)
    state = student.BatchNorm.module(2).load(state_of([1, 1], [0, 0], [2, 10], [1, 1])).state_after(TWO_IMAGES)
    expect.array(
        state["running_mean"],
        maps([2.2, 12]),
        "the running mean",
        tolerance=1e-4,
        mistaken={
            "momentum-swapped": maps([3.8, 28]),
            "running-stay": maps([2, 10]),
            "running-replaced": maps([4, 30]),
            "one-mean-for-all": maps([3.5, 10.7]),
        },
    )
    variance = maps([5, 100])  # the batch's, biased
    expect.array(
        state["running_var"],
        0.9 + 0.1 * variance * 4 / 3,
        "the running variance",
        tolerance=1e-4,
        mistaken={
            "biased-running": 0.9 + 0.1 * variance,
            "count-of-all": 0.9 + 0.1 * variance * 8 / 7,
            "count-of-images": 0.9 + 0.1 * variance * 2,
            "factor-turned": 0.9 + 0.1 * variance * 3 / 4,
            "running-stay": maps([1, 1]),
        },
    )










# ------------------------------------------------------------------------------------------------------------- block


@graded(
    "block",
    points=1,
    title="The weights: names, shapes, and how they begin",
    hint="A convolution without bias, and two parameters with a number for each channel of the output. At first, the "
    "block neither scales nor shifts. To see that, this test calls `forward` once.",
)
def test_block_shapes(student, expect):
    want = {"conv.weight": (5, 4, 3, 3), "scale": (5,), "shift": (5,)}
    expect.same(student.DecoderBlock.module(4, 5).shapes(), want, "the shapes of DecoderBlock(4, 5)")
    x, indices = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0, 2], [8, 10]]]])
    state = student.DecoderBlock.module(1, 4).state_after(x, indices, train=False)
    for name, value in (("scale", 1), ("shift", 0)):
        expect.array(state[name], np.full(4, float(value)), f"`{name}` of a new DecoderBlock(1, 4)")


@graded(
    "block",
    points=1.5,
    title="Four values by hand",
    hint="Write down the unpooled map of 4 × 4. The kernel adds to each pixel its right neighbour. Then times 2, "
    "minus 3, and nothing below 0.",
)
def test_block_by_hand(student, expect):
    x, indices = torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.tensor([[[[5, 2], [8, 15]]]])
    kernel = torch.tensor([[[[0.0, 0, 0], [0, 1, 1], [0, 0, 0]]]])
    weights = {"conv.weight": kernel, "scale": torch.tensor([2.0]), "shift": torch.tensor([-3.0])}
    expect.given(x=x, indices=indices[0, 0], kernel=kernel, scale=2, shift=-3)
    got = student.DecoderBlock.module(1, 1).load(weights)(x, indices)
    shape = tuple(getattr(got, "shape", ()))
    message = f"the output should have shape (1, 1, 4, 4), yours has {shape}."
    expect.true(shape != (1, 1, 2, 2), message, hint="same-size")
    expect.array(
        got,
        maps([[[[0, 1, 1, 0], [0, 0, 0, 0], [3, 0, 0, 0], [0, 0, 5, 5]]]]),
        "the output",
        tolerance=1e-5,
        mistaken={
            "no-relu": maps([[[[-3, 1, 1, -3], [-1, -1, -3, -3], [3, -3, -3, -3], [-3, -3, 5, 5]]]]),
            "shift-first": maps([[[[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2]]]]),
            "convolved-first": maps([[[[0, 0, 1, 0], [0, 3, 0, 0], [11, 0, 0, 0], [0, 0, 0, 5]]]]),
            "places-ignored": maps([[[[0, 1, 1, 0], [0, 0, 0, 0], [3, 5, 5, 0], [0, 0, 0, 0]]]]),
            "values-repeated": maps([[[[1, 3, 5, 1], [1, 3, 5, 1], [9, 11, 13, 5], [9, 11, 13, 5]]]]),
        },
    )










# ------------------------------------------------------------------------------------------------------------ memory


@graded(
    "memory",
    points=1,
    title="Two feature maps",
    hint="2 · 4 · 6 values and 3 · 2 · 2 values, of 4 bytes each.",
)
def test_maps_by_hand(student, expect):
    expect.given(shapes=[(2, 4, 6), (3, 2, 2)])
    mistaken = {"bytes-forgotten": 60, "channels-forgotten": 4 * (24 + 4), "first-map-only": 4 * 48}
    expect.number(student.bytes_of_maps([(2, 4, 6), (3, 2, 2)]), 240, "the number of bytes", mistaken=mistaken)


@graded(
    "memory",
    points=1.5,
    title="The indices of two maps",
    hint="2 · 2 · 3 windows and 3 · 1 · 1, together 15. How many bytes are 15 indices of 64 bits, of 8 bits, and of 2 "
    "bits?",
)
def test_indices_take_bytes(student, expect):
    shapes = [(2, 4, 6), (3, 2, 2)]
    expect.given(shapes=shapes)
    mistaken = {"bits-for-bytes": 960, "index-per-pixel": 480, "channels-forgotten": 56, "first-map-only": 96}
    expect.number(student.bytes_of_indices(shapes, 64), 120, "the number of bytes with 64 bits", mistaken=mistaken)
    expect.number(student.bytes_of_indices(shapes, 8), 15, "the number of bytes with 8 bits")
    mistaken = {"rounded-down": 3, "not-rounded": 3.75}
    expect.number(student.bytes_of_indices(shapes), 4, "the number of bytes with 2 bits", mistaken=mistaken)




# ----------------------------------------------------------------------------------------------------------- classes

TWO_LABEL_MAPS = torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 1]], [[0, 0, 2, 2], [0, 0, 2, 2]]])


@graded(
    "classes",
    points=1.5,
    title="The two label maps of the example",
    hint="freq(0) = 10/16, freq(1) = 2/8, freq(2) = 4/8. Which is in the middle?",
)
def test_classes_by_hand(student, expect):
    expect.given(target_1=TWO_LABEL_MAPS[0], target_2=TWO_LABEL_MAPS[1])
    expect.array(
        student.median_frequency_weights(TWO_LABEL_MAPS, 3),
        maps([0.8, 2, 1]),
        "the weights",
        tolerance=1e-4,
        mistaken={
            "over-all-images": maps([0.4, 2, 1]),
            "not-inverted": maps([1.25, 0.5, 1]),
            "mean-for-median": maps([1.375 / 3 / 0.625, 1.375 / 3 / 0.25, 1.375 / 3 / 0.5]),
            "not-balanced": maps([1.6, 4, 2]),
        },
    )


@graded(
    "classes",
    points=1,
    title="A class that occurs nowhere",
    hint="Class 3 has no pixel in any map. What should its weight be, and should it change the others'?",
)
def test_classes_without_pixels(student, expect):
    expect.given(target_1=TWO_LABEL_MAPS[0], target_2=TWO_LABEL_MAPS[1], classes=4)
    nothing = math.inf
    expect.array(
        student.median_frequency_weights(TWO_LABEL_MAPS, 4),
        maps([0.8, 2, 1, 0]),
        "the weights",
        tolerance=1e-4,
        mistaken={
            "absent-counted": maps([0.6, 1.5, 0.75, 0]),
            "infinite": maps([0.8, 2, 1, nothing]),
            "undefined": np.full(4, math.nan),
            "over-all-images": maps([0.4, 2, 1, 0]),
            "not-inverted": maps([1.25, 0.5, 1, 0]),
            "mean-for-median": maps([1.375 / 3 / 0.625, 1.375 / 3 / 0.25, 1.375 / 3 / 0.5, 0]),
            "not-balanced": maps([1.6, 4, 2, 0]),
        },
    )
