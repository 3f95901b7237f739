# The exercise's public tests, for the instant check. Editing them changes no grade.
"""The tests of ps02: global, Otsu's and adaptive thresholds, what they are made of, and hysteresis.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

import math

import numpy as np

from autograder.forbidden import LIBRARIES
from autograder.pictures import picture
from autograder.results import Panel
from autograder.suite import CheckFailed, Exercise, StudentError, graded

exercise = Exercise(
    "ps02-thresholding",
    cells={
        "global-threshold": 3,
        "histogram": 3,
        "otsu": 7,
        "integral-image": 5,
        "adaptive": 6,
        "gaussian": 5,
        "hysteresis": 5,
    },
    preload=("numpy", "matplotlib.pyplot"),
    forbidden=(
        *LIBRARIES,
        "PIL.ImageFilter",
        "numba",
        "numpy.bincount",
        "numpy.convolve",
        "numpy.correlate",
        "numpy.histogram",
        "numpy.histogram2d",
        "numpy.histogramdd",
        "scipy",
        "torch",
    ),
    hints={
        # global-threshold, adaptive, hysteresis
        "equal-counted": "A pixel that equals the threshold is background: only greater values are foreground.",
        "dark-for-bright": "Your mask marks the dark pixels. Foreground is what is brighter.",
        # global-threshold
        "levels-for-mask": "You painted the mask with 0 and 255. A mask says yes or no: True and False.",
        "grey-values-kept": "You kept the grey values of the foreground. A mask only says which pixels they are.",
        "threshold-cut-off": "The threshold lost its fraction. In a picture from 0 to 1, what is left of 0.5 as a "
        "whole number?",
        # histogram
        "counted-once": "`counts[image] += 1` adds 1 to each element once, however often its index occurs. How can "
        "every pixel be counted?",
        "last-value-missing": "White, 255, is a grey value too. Where does `range(255)` end?",
        "bins-of-this-picture": "Your 256 bins share out the values from this picture's darkest to its brightest. "
        "Each grey value from 0 to 255 has a place of its own, whatever the picture holds.",
        "values-that-occur": "You list only the values that occur. Then nobody knows which count belongs to which "
        "value: there should be 256, most of them perhaps 0.",
        "shares-for-counts": "Those are shares of the pixels. Here they are to be counted.",
        "counter-overflow": "Your counters start again at 0 after 255. Of which type are they?",
        # otsu
        "counts-for-shares": "Your weights are numbers of pixels. w0 and w1 are shares of all pixels; what must they "
        "add up to?",
        "threshold-in-upper-class": "Your values are shifted by one: the threshold itself belongs to the dark class, "
        "`value <= t`.",
        "within-for-between": "That is the variance within the classes, which a good split makes small. Here the "
        "distance between their means is asked for.",
        "sums-for-means": "Your means are not divided by the pixels (or the share) of their own class.",
        "not-squared": "The difference of the means is not squared.",
        "weights-left-out": "You left the weights out. A single white pixel would then be a class as good as any "
        "other.",
        "empty-class": "0 / 0 is NaN: an empty class has no mean. Say 0 there, before you divide.",
        "last-of-equals": "Between two grey values that occur, all thresholds split alike. Take the lowest of them.",
        "variance-for-threshold": "You returned the greatest variance. Asked is where it is.",
        "not-the-greatest": "At your threshold the variance is least (or NaN, where a class is empty). Otsu takes the "
        "place where it is greatest.",
        # integral-image
        "no-border": "A row and a column are missing: element [0, 0] adds up no pixel at all, so it is 0.",
        "border-at-the-end": "The zeros belong at the top and at the left, where nothing has been added up yet.",
        "one-direction": "You added up along one direction only. A sum holds everything above and to the left.",
        "uint8-overflow": "A uint8 holds 0 to 255, then it starts again at 0. Which type can hold a sum?",
        "fractions-cut-off": "The fractions are gone: whatever you write into an integer array is cut off.",
        "corner-not-added": "The part above and to the left of the box is in both pieces that you subtract. How "
        "often should it go?",
        "last-row-and-column": "Your box is larger than asked for. As S has a row and a column of zeros in front, "
        "S[top, ...] already ends above the box: no - 1 is needed.",
        "x-y-swapped": "Rows and columns have changed places: an array is indexed by row first.",
        # adaptive, gaussian
        "zero-border": "Towards the border your means are too dark, for you took zeros outside. Repeat the border's "
        "pixels.",
        "border-shrinks": "At the border you averaged over the part of the block that is inside. Here the border's "
        "pixels are repeated, and all blocks have the same size.",
        "mirrored-border": "You mirrored the picture at its border. Here the border's own pixel is repeated.",
        "sum-for-mean": "Those are sums. How many pixels has a block?",
        "block-for-radius": "Your block reaches `block_size` pixels to each side. It should be `block_size` pixels "
        "wide as a whole.",
        # adaptive
        "offset-added": "The offset has the wrong sign: it is subtracted from the local mean.",
        "offset-ignored": "Your mask is that of offset 0.",
        "threshold-wraps": "What is 8 - 10 in uint8? A threshold below 0 became a very high one. Convert before you "
        "subtract.",
        "difference-wraps": "What is 60 - 90 in uint8? A pixel darker than its neighbourhood became a very bright one. "
        "Convert before you subtract.",
        # gaussian
        "not-normalised": "Your weights don't add up to 1, so the mean of a picture of all 100s would not be 100.",
        "no-factor-2": "The exponent is divided by sigma² alone. Where is the factor 2?",
        "sigma-for-variance": "The exponent is divided by sigma where sigma² should stand.",
        "not-centred": "Your weights are greatest at an end. Distances are counted from the middle of the block.",
        "one-pass": "You took the weighted means in one direction only. The other follows, on the result of the first.",
        # hysteresis
        "all-weak": "That is the low threshold alone. Which of these islands hold no strong pixel?",
        "strong-only": "That is the high threshold alone. What about weak pixels that are connected with strong ones?",
        "direct-neighbours-only": "You added the neighbours of the strong pixels, and stopped. Their neighbours may be "
        "weak too.",
        "four-neighbours": "You walk up, down, left and right. Diagonal neighbours are connected too.",
        "one-scan": "You went through the picture once, row by row. A chain that runs back up is then lost: repeat "
        "until nothing changes.",
        "edges-joined": "The left edge of a picture is no neighbour of its right edge, nor the top of the bottom. "
        "Who joined them?",
    },
)

F, T = False, True


# -------------------------------------------------------------------------------------------------- global-threshold


@graded(
    "global-threshold",
    points=1,
    title="Six pixels and the threshold 100",
    hint="Foreground is what is greater than the threshold. What about the pixel that equals it?",
)
def test_global_by_hand(student, expect):
    image = np.array([[50, 100, 101], [200, 99, 0]], np.uint8)
    expect.given(image=image, threshold=100)
    want = np.array([[F, F, T], [T, F, F]])
    expect.array(
        student.global_threshold(image, 100),
        want,
        "the mask",
        mistaken={
            "equal-counted": np.array([[F, T, T], [T, F, F]]),
            "dark-for-bright": np.array([[T, F, F], [F, T, T]]),
            "levels-for-mask": np.array([[0, 0, 255], [255, 0, 0]]),
            "grey-values-kept": np.array([[0, 0, 101], [200, 0, 0]]),
        },
    )


@graded(
    "global-threshold",
    points=0.5,
    title="A picture from 0 to 1",
    hint="The mask should hold True and False. What does a comparison of an array with a number give?",
)
def test_global_of_floats(student, expect):
    image = np.array([[0.2, 0.5, 0.7], [0, 0.51, 1]])
    expect.given(image=image, threshold=0.5)
    expect.array(
        student.global_threshold(image, 0.5),
        np.array([[F, F, T], [F, T, T]]),
        "the mask",
        kind="bool",
        mistaken={"threshold-cut-off": np.array([[T, T, T], [F, T, T]])},
    )




# --------------------------------------------------------------------------------------------------------- histogram


def expect_256(expect, got, want, what, show, **options):
    """`expect.array` for 256 numbers; if some are wrong, a table shows those at the places `show`."""
    try:
        expect.array(got, want, what, **options)
    except CheckFailed:
        if isinstance(got, np.ndarray) and got.shape == (256,) and got.dtype.kind in "biuf":
            yours, expected = np.stack([show, got[show]]), np.stack([show, want[show]])
            expect.panels[-2:] = [
                Panel("yours (place, value)", picture(yours, beside=expected)),
                Panel("expected (place, value)", picture(expected, beside=yours)),
            ]
        raise


@graded(
    "histogram",
    points=1,
    title="Nine pixels",
    hint="How many pixels are 0? How many are 1? And so on, up to 255.",
)
def test_histogram_by_hand(student, expect):
    image = np.array([[3, 3, 0], [7, 3, 255], [7, 0, 3]], np.uint8)
    expect.given(image=image)
    want = np.zeros(256, int)
    want[[0, 3, 7, 255]] = 2, 4, 2, 1
    expect_256(
        expect,
        student.histogram(image),
        want,
        "the histogram",
        show=[0, 1, 2, 3, 4, 7, 8, 254, 255],
        mistaken={
            "counted-once": want > 0,
            "last-value-missing": want[:255],
            "values-that-occur": np.array([2, 4, 2, 1]),
            "shares-for-counts": want / 9,
        },
    )


@graded(
    "histogram",
    points=0.5,
    title="A pale picture: grey values from 100 to 103",
    hint="The places of the values 0 to 99 are there too; they hold 0. The counts are whole numbers.",
)
def test_histogram_of_a_pale_picture(student, expect):
    image = np.array([[100, 101, 101], [103, 102, 101]], np.uint8)
    expect.given(image=image)
    want, spread = np.zeros(256, int), np.zeros(256, int)
    want[[100, 101, 102, 103]] = spread[[0, 85, 170, 255]] = 1, 3, 1, 1
    got, mistaken = student.histogram(image), {"bins-of-this-picture": spread}
    show = [0, 1, 85, 99, 100, 101, 102, 103, 104, 170, 255]
    expect_256(expect, got, want, "the histogram", show, kind="integer", mistaken=mistaken)




# -------------------------------------------------------------------------------------------------------------- otsu

# Sixteen pixels: 6 of value 10, 2 of 14, 8 of 50. Every share is exact in binary, so equal variances come out equal.
SIXTEEN = np.zeros(256, int)
SIXTEEN[[10, 14, 50]] = 6, 2, 8


def of_sixteen(split_at_10, split_at_14, unsplit=0.0):
    """What belongs to the thresholds from 10 to 13, from 14 to 49, and to all others."""
    return np.array([unsplit] * 10 + [split_at_10] * 4 + [split_at_14] * 36 + [unsplit] * 206)


@graded(
    "otsu",
    points=2,
    title="The between-class variance of sixteen pixels",
    hint="Up to t = 9 the dark class is empty. From 10 on it holds 6 of 16 pixels with the mean 10, the light class 10 "
    "of 16 with the mean 42.8. And from 14 on?",
)
def test_variance_by_hand(student, expect):
    expect.given(counts="6 pixels of value 10, 2 of value 14, 8 of value 50")
    # From 10 on: 6/16 with the mean 10, 10/16 with 42.8. From 14 on: 8/16 with the mean 11, 8/16 with 50.
    want = of_sixteen(6 / 16 * 10 / 16 * 32.8**2, 8 / 16 * 8 / 16 * 39**2)
    expect_256(
        expect,
        student.between_class_variance(SIXTEEN),
        want,
        "the variances",
        show=[0, 9, 10, 11, 13, 14, 15, 48, 49, 50, 51, 255],
        tolerance=1e-6,
        mistaken={
            "counts-for-shares": 256 * want,
            "threshold-in-upper-class": np.roll(want, 1),
            "within-for-between": of_sixteen(
                6 / 16 * 0 + 10 / 16 * (2 * 28.8**2 + 8 * 7.2**2) / 10,
                8 / 16 * (6 * 1**2 + 2 * 3**2) / 8 + 8 / 16 * 0,
            ),
            "sums-for-means": of_sixteen(6 / 16 * 10 / 16 * (3.75 - 26.75) ** 2, 8 / 16 * 8 / 16 * (5.5 - 25) ** 2),
            "not-squared": of_sixteen(6 / 16 * 10 / 16 * 32.8, 8 / 16 * 8 / 16 * 39),
            "weights-left-out": of_sixteen(32.8**2, 39**2),
            "empty-class": of_sixteen(6 / 16 * 10 / 16 * 32.8**2, 8 / 16 * 8 / 16 * 39**2, math.nan),
        },
    )


@graded(
    "otsu",
    points=1.5,
    title="Otsu's threshold of the same pixels",
    hint="The variance is greatest, and the same, from t = 14 to t = 49.",
)
def test_otsu_by_hand(student, expect):
    expect.given(counts="6 pixels of value 10, 2 of value 14, 8 of value 50")
    expect.number(
        student.otsu_threshold(SIXTEEN),
        14,
        "Otsu's threshold",
        mistaken={
            "threshold-in-upper-class": 15,
            "last-of-equals": 49,
            "variance-for-threshold": 8 / 16 * 8 / 16 * 39**2,
            "not-the-greatest": 0,
        },
    )


@graded(
    "otsu",
    points=0.5,
    title="A picture of one grey value",
    hint="Wherever the threshold is, one class is empty.",
)
def test_variance_of_one_value(student, expect):
    counts = np.zeros(256, int)
    counts[80] = 12
    expect.given(counts="12 pixels of value 80")
    got, mistaken = student.between_class_variance(counts), {"empty-class": np.full(256, math.nan)}
    expect_256(expect, got, np.zeros(256), "the variances", [0, 79, 80, 81, 255], mistaken=mistaken)










# ---------------------------------------------------------------------------------------------------- integral-image


@graded(
    "integral-image",
    points=1,
    title="The integral image of six pixels",
    hint="Element [y, x] adds up the y first rows and the x first columns: element [1, 2] is 1 + 2, element [2, 1] is "
    "1 + 4.",
)
def test_integral_by_hand(student, expect):
    image = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    expect.given(image=image)
    expect.array(
        student.integral_image(image),
        np.array([[0, 0, 0, 0], [0, 1, 3, 6], [0, 5, 12, 21]]),
        "the integral image",
        mistaken={
            "no-border": np.array([[1, 3, 6], [5, 12, 21]]),
            "border-at-the-end": np.array([[1, 3, 6, 0], [5, 12, 21, 0], [0, 0, 0, 0]]),
            "one-direction": np.array([[0, 0, 0, 0], [0, 1, 3, 6], [0, 4, 9, 15]]),
        },
    )


@graded(
    "integral-image",
    points=0.75,
    title="A bright picture",
    hint="200 + 200 is more than a uint8 can hold. Of which type are your sums?",
)
def test_integral_of_a_bright_picture(student, expect):
    image = np.full((2, 3), 200, np.uint8)
    expect.given(image=image)
    want = np.array([[0, 0, 0, 0], [0, 200, 400, 600], [0, 400, 800, 1200]])
    overflown = np.array([[0, 0, 0, 0], [0, 200, 144, 88], [0, 144, 32, 176]])
    expect.array(student.integral_image(image), want, "the integral image", mistaken={"uint8-overflow": overflown})


@graded(
    "integral-image",
    points=1,
    title="The sum of a box of four pixels",
    hint="Start from everything above row `bottom` and left of column `right`, and take away what is not in the box.",
)
def test_box_by_hand(student, expect):
    image = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])
    integral = np.array(
        [[0, 0, 0, 0, 0], [0, 1, 3, 6, 10], [0, 6, 14, 24, 36], [0, 15, 33, 54, 78], [0, 28, 60, 96, 136]]
    )
    expect.given(image=image, integral=integral, top=1, left=2, bottom=3, right=4)
    expect.number(
        student.box_sum(integral, 1, 2, 3, 4),
        7 + 8 + 11 + 12,
        "the sum of the box",
        mistaken={
            "corner-not-added": 78 - 10 - 33,
            "last-row-and-column": 78 - 0 - 15 + 0,
            "x-y-swapped": 96 - 24 - 28 + 6,
        },
    )






# ---------------------------------------------------------------------------------------------------------- adaptive


@graded(
    "adaptive",
    points=1,
    title="The local means of twelve pixels",
    hint="Around the first pixel, with the border repeated, the block of 3 × 3 holds 18 four times and 9 five times.",
)
def test_local_mean_by_hand(student, expect):
    image = np.array([[18, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 27]], np.uint8)
    expect.given(image=image, block_size=3)
    want = np.array([[13, 11, 9, 9], [11, 10, 11, 13], [9, 9, 13, 17]])
    expect.array(
        student.local_mean(image, 3),
        want,
        "the local means",
        tolerance=1e-6,
        mistaken={
            "sum-for-mean": 9 * want,
            "zero-border": np.array([[5, 7, 6, 4], [7, 10, 11, 8], [4, 6, 8, 6]]),
            "border-shrinks": 9 + np.array([[2.25, 1.5, 0, 0], [1.5, 1, 2, 3], [0, 0, 3, 4.5]]),
            "mirrored-border": np.array([[10, 10, 9, 9], [10, 10, 11, 11], [9, 9, 11, 11]]),
            "block-for-radius": 9 + np.array([[180, 180, 180, 180], [162, 189, 216, 243], [144, 198, 252, 306]]) / 49,
        },
    )


@graded(
    "adaptive",
    points=0.75,
    title="The local means of a bright picture",
    hint="Nine times 200 is 1800, and the mean of nine 200s is 200.",
)
def test_local_mean_of_a_bright_picture(student, expect):
    image = np.full((4, 5), 200, np.uint8)
    expect.given(image=image, block_size=3)
    mistaken = {"uint8-overflow": np.full((4, 5), 8 / 9)}
    got = student.local_mean(image, 3)
    expect.array(got, np.full((4, 5), 200), "the local means", tolerance=1e-6, mistaken=mistaken)


@graded(
    "adaptive",
    points=0.75,
    title="A threshold with the offset 7",
    hint="Each pixel has its own threshold, the local mean less 7. For the first it is 95 - 7.",
)
def test_adaptive_by_hand(student, expect):
    image = np.array([[104.0, 90, 80, 121], [120, 130, 140, 151]])
    local = np.array([[95.0, 85, 80, 120], [125, 137, 149, 163]])
    expect.given(image=image, local=local, offset=7)
    expect.array(
        student.adaptive_threshold(image, local, 7),
        np.array([[T, T, T, T], [T, F, F, F]]),
        "the mask",
        kind="bool",
        mistaken={
            "equal-counted": np.array([[T, T, T, T], [T, T, F, F]]),
            "offset-added": np.array([[T, F, F, F], [F, F, F, F]]),
            "offset-ignored": np.array([[T, T, F, T], [F, F, F, F]]),
            "dark-for-bright": np.array([[F, F, F, F], [F, F, T, T]]),
        },
    )


def mask_of(student, image, local, offset):
    try:
        return student.adaptive_threshold(image, local, offset)
    except StudentError as error:
        if error.kind == "OverflowError":  # what NumPy 2 makes of uint8 - (-10)
            message = "`adaptive_threshold` raised OverflowError: a number does not fit into the type of the array."
            raise CheckFailed(message, "threshold-wraps") from error
        raise


@graded(
    "adaptive",
    points=0.5,
    title="Image and local mean in uint8",
    hint="The four thresholds are -2, 180, 80 and -1.",
)
def test_adaptive_of_bytes(student, expect):
    image, local = np.array([[5, 200, 60, 10]], np.uint8), np.array([[8, 190, 90, 9]], np.uint8)
    expect.given(image=image, local=local, offset=10)
    expect.array(
        mask_of(student, image, local, 10),
        np.array([[T, T, F, T]]),
        "the mask",
        mistaken={"threshold-wraps": np.array([[F, T, F, F]]), "difference-wraps": np.array([[T, T, T, T]])},
    )








# ---------------------------------------------------------------------------------------------------------- gaussian


@graded(
    "gaussian",
    points=1,
    title="Five weights",
    hint="For block_size 5, sigma is 0.3 · (2 - 1) + 0.8 = 1.1, and x runs from -2 to 2.",
)
def test_weights_by_hand(student, expect):
    expect.given(block_size=5)
    one, two = math.exp(-1 / (2 * 1.1**2)), math.exp(-4 / (2 * 1.1**2))
    flat, flatter = math.exp(-1 / (2 * 1.1)), math.exp(-4 / (2 * 1.1))
    raw, powers = np.array([two, one, 1, one, two]), [math.exp(-(x**2) / (2 * 1.1**2)) for x in range(5)]
    expect.array(
        student.gaussian_weights(5),
        raw / raw.sum(),
        "the weights",
        tolerance=1e-6,
        mistaken={
            "not-normalised": raw,
            "no-factor-2": raw**2 / (raw**2).sum(),
            "sigma-for-variance": np.array([flatter, flat, 1, flat, flatter]) / (1 + 2 * flat + 2 * flatter),
            "not-centred": np.array(powers) / sum(powers),
        },
    )


@graded(
    "gaussian",
    points=1.5,
    title="The weighted means of twelve pixels",
    hint="Along the first row you get 6, 2, 0, 0. Now the same along the columns, with these numbers.",
)
def test_weighted_mean_by_hand(student, expect):
    image = np.array([[8, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 16]], np.uint8)
    weights = np.array([0.25, 0.5, 0.25])
    expect.given(image=image, weights=weights)
    want = np.array([[4.5, 1.5, 0, 0], [1.5, 0.5, 1, 3], [0, 0, 3, 9]])
    expect.array(
        student.weighted_mean(image, weights),
        want,
        "the weighted means",
        tolerance=1e-6,
        mistaken={
            "one-pass": np.array([[6, 2, 0, 0], [0, 0, 0, 0], [0, 0, 4, 12]]),
            "zero-border": np.array([[2, 1, 0, 0], [1, 0.5, 1, 2], [0, 0, 2, 4]]),
            "fractions-cut-off": np.floor(want),
        },
    )






# -------------------------------------------------------------------------------------------------------- hysteresis


@graded(
    "hysteresis",
    points=1.25,
    title="A chain, and two islands",
    hint="Start at the 9. Which of its eight neighbours are above 3? And which of theirs?",
)
def test_chain_by_hand(student, expect):
    image = np.array(
        [
            [1, 1, 1, 1, 1, 1, 1, 1],
            [1, 9, 5, 5, 1, 1, 5, 1],
            [1, 1, 1, 1, 5, 1, 1, 1],
            [1, 1, 1, 1, 1, 5, 5, 1],
            [1, 5, 1, 1, 1, 1, 1, 1],
            [1, 1, 1, 1, 3, 9, 1, 1],
        ]
    )
    expect.given(image=image, low=3, high=7)
    expect.array(
        student.hysteresis(image, 3, 7),
        drawn("........", ".###....", "....#...", ".....##.", "........", ".....#.."),
        "the mask",
        kind="bool",
        mistaken={
            "all-weak": image > 3,
            "strong-only": image > 7,
            "direct-neighbours-only": drawn("........", ".##.....", "........", "........", "........", ".....#.."),
            "four-neighbours": drawn("........", ".###....", "........", "........", "........", ".....#.."),
            "equal-counted": drawn("........", ".###....", "....#...", ".....##.", "........", "....##.."),
        },
    )


@graded(
    "hysteresis",
    points=0.75,
    title="A chain that climbs back up",
    hint="The strong pixel is at the end of the chain. The chain may run in any direction.",
)
def test_chain_upwards(student, expect):
    image = np.array([[0, 5, 5, 5, 0], [0, 5, 0, 5, 0], [0, 5, 0, 0, 0], [5, 0, 0, 0, 0], [0, 5, 5, 9, 0]])
    expect.given(image=image, low=3, high=7)
    scanned = drawn(".....", ".....", ".....", ".....", "..##.")
    expect.array(student.hysteresis(image, 3, 7), image > 3, "the mask", mistaken={"one-scan": scanned})


@graded(
    "hysteresis",
    points=0.5,
    title="Pixels at opposite edges",
    hint="The weak pixels at the edges have no strong neighbour: beyond the edge there is nothing.",
)
def test_edges_are_not_joined(student, expect):
    image = np.zeros((4, 6), int)
    image[1, 0], image[1, 5], image[3, 2], image[0, 2] = 9, 5, 9, 5
    expect.given(image=image, low=3, high=7)
    expect.array(student.hysteresis(image, 3, 7), image > 7, "the mask", mistaken={"edges-joined": image > 3})






def drawn(*rows):
    """A mask from a drawing: True where there is a #."""
    return np.array([[mark == "#" for mark in row] for row in rows])
