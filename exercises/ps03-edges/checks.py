# The exercise's public tests, for the instant check. Editing them changes no grade.
"""The tests of ps03: filters by hand, four edge operators, thin edges, and regions between edges.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

from math import pi

import numpy as np

from autograder.forbidden import LIBRARIES
from autograder.suite import CheckFailed, Exercise, StudentError, graded

exercise = Exercise(
    "ps03-edges",
    cells={
        "correlate": 6,
        "convolve": 3,
        "gradient": 5,
        "direction": 3,
        "laplace": 5,
        "kirsch": 5,
        "thin": 5,
        "regions": 4,
    },
    preload=("numpy", "matplotlib.pyplot"),
    forbidden=(
        *LIBRARIES,
        "PIL.ImageDraw",  # floods
        "PIL.ImageFilter",  # correlates
        "numpy.convolve",
        "numpy.correlate",
        "numpy.gradient",
        "numpy.pad",
        "scipy",
        "torch",
    ),
    hints={
        # several tasks
        "uint8-wraps": "The image is uint8, which holds 0 to 255 and nothing below or above: what are 10 - 200 and "
        "2 · 200 in it? Convert to a type with a sign before you calculate.",
        # correlate
        "zero-border": "Your border is 0. A dark frame round the image is an edge that nobody photographed; the border "
        "should repeat the outermost pixels.",
        "mirrored-border": "Your border mirrors the image: next to the outermost pixel it shows the second one. "
        "Every pixel of the border should repeat the outermost one.",
        "rows-for-columns": "Rows and columns have changed places: `rows` makes the image higher, `columns` wider.",
        "empty-corners": "The sides are right, the corners are not. Which pixel of the image does a corner of the "
        "border repeat?",
        "kernel-turned": "You laid the kernel down turned by half a turn: that is convolution, task 2. In a "
        "correlation, `kernel[0, 0]` lies over the upper left neighbour.",
        "kernel-transposed": "Your kernel is transposed. `kernel[i, j]`: i counts its rows, downwards, and j its "
        "columns, to the right.",
        "mean-for-sum": "You divided by the size of the kernel. A correlation is the sum of the products; a kernel "
        "that should average has the division in its numbers.",
        "kept-in-image-type": "Your result has the image's type, uint8, and cannot hold negative numbers or numbers "
        "above 255. Which type should an array of sums have?",
        # convolve
        "not-turned": "That is the correlation. Convolution turns the kernel by half a turn first: what should a "
        "single bright pixel become?",
        "only-rows-flipped": "You exchanged top and bottom only, which mirrors the kernel. Half a turn exchanges left "
        "and right as well.",
        "only-columns-flipped": "You exchanged left and right only, which mirrors the kernel. Half a turn exchanges "
        "top and bottom as well.",
        "transposed-for-turned": "You transposed the kernel, that is mirrored it at its diagonal. After half a turn, "
        "where is the number that was in the upper left corner?",
        # gradient
        "gx-gy-swapped": "gx and gy have changed places: gx is what changes from left to right. Does the kernel for gx "
        "have its zeros in a row or in a column?",
        "wrong-sign": "Your signs are the opposite: gx should be positive where it gets brighter to the right, gy "
        "where it gets brighter downwards. Did you turn the kernel, or subtract the wrong way round?",
        "prewitt-for-sobel": "All three lines count alike in your kernel: that is Prewitt's operator. In Sobel's, the "
        "middle line counts twice.",
        "city-block": "You added up the sizes of gx and gy. That is longer than the arrow unless one of them is 0: "
        "think of Pythagoras.",
        "root-missing": "That is the square of the length.",
        "larger-of-both": "You took the larger of the two. Both contribute to the length of the arrow.",
        "int16-overflows": "gx and gy came as int16, and 200 · 200 does not fit into it. Convert before you square.",
        # direction
        "half-circle": "gy / gx is the same for an arrow and for its opposite, so an arctangent of one number knows "
        "half the circle only. Which NumPy function takes both?",
        "arguments-swapped": "Your angle is measured from the y axis. Which argument does the function take first?",
        "degrees": "Those are degrees. Asked are radians, from -π to π.",
        "y-upwards": "Your angles turn the other way. In mathematics y points up; in images it points down, and π/2 "
        "too.",
        "full-turn": "You count from 0 to 2π. Asked is an angle greater than -π and at most π.",
        "along-the-edge": "That is the direction in which the edge runs. The gradient points across it, to the bright "
        "side.",
        # laplace
        "four-for-eight": "With `neighbours=8` you still use four of them.",
        "centre-4-of-8": "Your kernel for eight neighbours takes the middle 4 times. The numbers of a Laplace kernel "
        "add up to 0: what else would it give where the image is flat?",
        "laplace-negated": "Your sign is the opposite. The neighbours count positive, the middle negative.",
        "both-sides": "You mark both pixels at each change of sign, so every edge is two pixels wide. Only the "
        "positive one of the two is asked for.",
        "strong-for-crossing": "You mark where the response is strong. That is on both sides of an edge; the edge is "
        "where its sign changes.",
        "zeros-missed": "On a ramp the response goes from positive through exactly 0 to negative, and there you mark "
        "nothing. Read the second rule again.",
        "zero-beside-negative": "You mark a 0 with a negative neighbour, as if it were positive. A 0 counts only "
        "between a positive and a negative pixel.",
        "any-difference": "Without regard to `threshold`, noise crosses zero everywhere. By how much do the two pixels "
        "differ?",
        "diagonals-too": "You look at the diagonal neighbours as well. The rules name four: left, right, above, below.",
        # kirsch
        "anticlockwise": "Your kernels go round the other way: after N comes NE, on the right.",
        "quarter-turns": "Quarter turns lead to N, W, S and E only. The kernels for NE, SE, SW, NW have their 5s "
        "round a corner: the outer numbers walk by one place.",
        "rows-rolled": "You moved the rows of the kernel. Let the eight outer numbers walk round the middle instead, "
        "as on a ring; the middle stays 0.",
        "centre-counts": "The number in the middle must be 0, so that the numbers of each kernel add up to 0. What "
        "would yours give where the image is flat?",
        "sum-of-responses": "You added up the responses. Every change of grey is seen by one kernel with plus and by "
        "its opposite with minus. Take the largest.",
        "unsigned": "You took the sizes of the responses. A strongly negative response says that the bright side is "
        "the other one; its kernel must not win.",
        "weakest": "That is the kernel with the smallest response.",
        "last-of-equals": "Where several responses are equally large, the lowest index should win. Yours takes "
        "the last.",
        "compass-from-1": "Your indices are one too high: the first kernel has index 0.",
        "starts-at-zero": "Where all responses are negative, you answer 0. The largest of -3 and -5 is -3: what does "
        "your search for the largest begin with?",
        # thin
        "across-the-ridge": "You compared with the neighbours along the edge. Where the gradient points right, the "
        "neighbours to look at are left and right.",
        "diagonals-mirrored": "Your diagonals are exchanged. y points down here, so 45° looks to the lower right and "
        "the upper left.",
        "no-diagonals": "You look left and right, or up and down, but never diagonally.",
        "both-of-equals": "Of two equal neighbours you keep both, and the edge stays two pixels wide. Greater than the "
        "one before, at least as great as the one after.",
        "none-of-equals": "Of two equal neighbours you drop both, and the edge is gone. Greater than the one before, "
        "at least as great as the one after.",
        "before-by-arrow": "You took 'before' and 'after' along the arrow. They are meant in reading order, whichever "
        "way the arrow points: else two opposite arrows on a ridge both keep, or both drop, their pixel.",
        "mask-for-magnitude": "You return which pixels stay. Asked is their magnitude, and 0 for the others.",
        "half-of-the-angles": "Some arrows that point up (negative angles) are treated wrongly. -45° and 135° are "
        "opposite, so they look at the same neighbours. Which ones do yours look at?",
        "cut-not-rounded": "You cut the angle off instead of rounding it: 40° is nearer to 45° than to 0°.",
        "wraps-round": "At the border, your neighbour is a pixel from the opposite side of the image. What is outside "
        "counts as 0. (`np.roll` and the index -1 both wrap round.)",
        "border-dropped": "You dropped all pixels at the border. They have neighbours too; those outside count as 0.",
        # regions
        "eight-neighbours": "Your flood leaks through diagonal edges, for it walks diagonally. Left, right, up and "
        "down only.",
        "edges-numbered": "You numbered the edges. The regions are made of the other pixels.",
        "numbers-from-0": "Your numbers are one too low: 0 means edge, and the first region is 1.",
        "by-columns": "Your regions are right, but you met them column by column. Reading order goes along the rows.",
        "one-pass": "You took numbers over from the left and from above only. A region that comes together further "
        "below keeps two numbers: a flood must run in all four directions before the next one starts.",
        "recursion": "Your function calls itself for each pixel, and Python gives up after some thousand calls. Keep "
        "the pixels that wait in a list, and take them out in a loop.",
        "wraps-left": "Index -1 is the last pixel of the row or column, so your flood walks out of the image on the "
        "left or above and comes in again on the other side.",
    },
)


def call(function, *arguments):
    try:
        return function(*arguments)
    except StudentError as error:
        if error.kind == "OverflowError":  # what NumPy 2 makes of -4 * uint8
            message = f"`{error.function}` raised OverflowError: a number does not fit into the type of the array."
            raise CheckFailed(message, "uint8-wraps") from error
        raise


def two_arrays(got, expect, what):
    is_pair = isinstance(got, list | tuple) and len(got) == 2
    expect.true(is_pair, f"The function should return two arrays, {what}.")
    return got


IMAGE = np.array([[1, 2, 4, 3], [0, 5, 1, 7], [2, 2, 6, 9]])  # two pixels, 5 and 1, with their border


# --------------------------------------------------------------------------------------------------------- correlate


@graded(
    "correlate",
    points=1,
    title="A border of 1 row and 2 columns",
    hint="Outside the image, each pixel repeats the nearest one inside.",
)
def test_border_by_hand(student, expect):
    image = np.array([[1, 2, 3], [4, 5, 6]])
    expect.given(image=image, rows=1, columns=2)
    want = np.array([[1, 1, 1, 2, 3, 3, 3], [1, 1, 1, 2, 3, 3, 3], [4, 4, 4, 5, 6, 6, 6], [4, 4, 4, 5, 6, 6, 6]])
    zeros = np.array([[0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 2, 3, 0, 0], [0, 0, 4, 5, 6, 0, 0], [0, 0, 0, 0, 0, 0, 0]])
    corners = want.copy()
    corners[[0, 0, 0, 0, 3, 3, 3, 3], [0, 1, 5, 6, 0, 1, 5, 6]] = 0
    expect.array(
        student.replicate_border(image, 1, 2),
        want,
        "the image with its border",
        mistaken={
            "zero-border": zeros,
            "mirrored-border": np.array([[6, 5, 4, 5, 6, 5, 4], [3, 2, 1, 2, 3, 2, 1]] * 2),
            "rows-for-columns": np.array([[1, 1, 2, 3, 3]] * 3 + [[4, 4, 5, 6, 6]] * 3),
            "empty-corners": corners,
        },
    )


@graded(
    "correlate",
    points=1,
    title="Correlate two pixels by hand",
    hint="Lay the kernel over the pixel 5: 1·1 + 2·2 + 3·4, then the next row of both. Then move it one to the right.",
)
def test_correlate_by_hand(student, expect):
    kernel = np.array([[1, 2, 3], [0, 1, 0], [0, 0, 4]])
    expect.given(padded=IMAGE, kernel=kernel)
    want = np.array([[46, 56]])  # 1 + 4 + 12 + 5 + 24 and 2 + 8 + 9 + 1 + 36
    expect.array(
        student.correlate(IMAGE, kernel),
        want,
        "the correlation",
        tolerance=1e-6,
        mistaken={
            "kernel-turned": np.array([[25, 36]]),
            "kernel-transposed": np.array([[36, 55]]),
            "mean-for-sum": want / 9,
        },
    )


@graded(
    "correlate",
    points=1,
    title="Negative weights, and an image of uint8",
    hint="The difference of the right and the left neighbour can be as low as -255. What can your result hold?",
)
def test_correlate_bytes(student, expect):
    padded = np.array([[10, 200, 30, 0, 255], [90, 90, 20, 250, 0]], np.uint8)
    kernel = np.array([[-1, 0, 1]])
    expect.given(padded=padded, kernel=kernel)
    want = np.array([[20, -200, 225], [-70, 160, -20]])
    expect.array(
        call(student.correlate, padded, kernel),
        want,
        "the correlation",
        tolerance=1e-6,
        mistaken={"kept-in-image-type": want % 256, "kernel-turned": -want},
    )








# ---------------------------------------------------------------------------------------------------------- convolve


@graded(
    "convolve",
    points=1,
    title="A single pixel becomes the kernel",
    hint="Everything is 0 but one pixel. Which number of the kernel lies on it when you calculate the pixel to its "
    "upper left? Which number should come out there?",
)
def test_stamp(student, expect):
    padded = np.zeros((5, 5), int)
    padded[2, 2] = 1
    kernel = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    expect.given(padded=padded, kernel=kernel)
    expect.array(
        student.convolve(padded, kernel),
        kernel,
        "the convolution",
        tolerance=1e-6,
        mistaken={
            "not-turned": np.array([[9, 8, 7], [6, 5, 4], [3, 2, 1]]),
            "only-rows-flipped": np.array([[3, 2, 1], [6, 5, 4], [9, 8, 7]]),
            "only-columns-flipped": np.array([[7, 8, 9], [4, 5, 6], [1, 2, 3]]),
            "transposed-for-turned": np.array([[9, 6, 3], [8, 5, 2], [7, 4, 1]]),
        },
    )


@graded(
    "convolve",
    points=0.5,
    title="A step, and a kernel that takes differences",
    hint="Turn -1 0 1 by half a turn, then multiply and add up.",
)
def test_convolve_a_step(student, expect):
    padded, kernel = np.array([[1, 1, 1, 6, 6, 6]]), np.array([[-1, 0, 1]])
    expect.given(padded=padded, kernel=kernel)
    want = np.array([[0, -5, -5, 0]])
    expect.array(student.convolve(padded, kernel), want, "the convolution", mistaken={"not-turned": -want})




# ---------------------------------------------------------------------------------------------------------- gradient


@graded(
    "gradient",
    points=1,
    title="The gradient of two pixels",
    hint="For gx at the pixel 5: (4 + 2·1 + 6) on its right less (1 + 2·0 + 2) on its left. And below less above?",
)
def test_sobel_by_hand(student, expect):
    expect.given(padded=IMAGE)
    gx, gy = two_arrays(student.sobel(IMAGE), expect, "gx and gy")
    want_x, want_y = np.array([[9, 12]]), np.array([[3, 10]])
    prewitt_x = np.array([[8, 10]])
    mistaken = {"gx-gy-swapped": want_y, "wrong-sign": -want_x, "prewitt-for-sobel": prewitt_x}
    expect.array(gx, want_x, "the gradient gx", tolerance=1e-6, mistaken=mistaken)
    expect.array(
        gy, want_y, "the gradient gy", tolerance=1e-6, mistaken={"gx-gy-swapped": want_x, "wrong-sign": -want_y}
    )


@graded(
    "gradient",
    points=1,
    title="The gradient of an image of uint8",
    hint="Follow one pixel by hand, and look at each number on the way.",
)
def test_sobel_of_bytes(student, expect):
    padded = np.array([[200, 200, 100, 10], [200, 150, 100, 10], [250, 100, 10, 10]], np.uint8)
    expect.given(padded=padded)
    gx, gy = two_arrays(call(student.sobel, padded), expect, "gx and gy")
    want_x, want_y = np.array([[-540, -560]]), np.array([[-240, -280]])
    mistaken = {"uint8-wraps": want_x % 256, "prewitt-for-sobel": np.array([[-440, -420]])}
    expect.array(gx, want_x, "the gradient gx", tolerance=1e-6, mistaken=mistaken)
    expect.array(gy, want_y, "the gradient gy", tolerance=1e-6, mistaken={"uint8-wraps": want_y % 256})


@graded(
    "gradient",
    points=0.5,
    title="The length of four arrows",
    hint="An arrow 3 to the right and 4 down is 5 long.",
)
def test_magnitude_by_hand(student, expect):
    gx, gy = np.array([[3.0, -5], [0, 8]]), np.array([[4.0, 12], [-7, -6]])
    expect.given(gx=gx, gy=gy)
    expect.array(
        student.magnitude(gx, gy),
        np.array([[5, 13], [7, 10]]),
        "the magnitude",
        tolerance=1e-4,
        mistaken={
            "city-block": np.array([[7, 17], [7, 14]]),
            "root-missing": np.array([[25, 169], [49, 100]]),
            "larger-of-both": np.array([[4, 12], [7, 8]]),
        },
    )






# --------------------------------------------------------------------------------------------------------- direction


@graded(
    "direction",
    points=1.5,
    title="Eight arrows",
    hint="Draw each arrow on paper, x to the right and y downwards: which part of a full turn is it, from the x axis "
    "towards the y axis?",
)
def test_direction_by_hand(student, expect):
    gx = np.array([[1, 1, 0, -1], [-1, -1, 0, 1]])
    gy = np.array([[0, 1, 1, 1], [0, -1, -1, -1]])
    expect.given(gx=gx, gy=gy)
    eighths = np.array([[0, 1, 2, 3], [4, -3, -2, -1]])
    expect.array(
        student.direction(gx, gy),
        eighths * pi / 4,
        "the direction",
        tolerance=1e-6,
        mistaken={
            "half-circle": np.array([[0, 1, 2, -1], [0, 1, -2, -1]]) * pi / 4,
            "arguments-swapped": np.array([[2, 1, 0, -1], [-2, -3, 4, 3]]) * pi / 4,
            "degrees": eighths * 45,
            "y-upwards": np.array([[0, -1, -2, -3], [4, 3, 2, 1]]) * pi / 4,
            "full-turn": np.array([[0, 1, 2, 3], [4, 5, 6, 7]]) * pi / 4,
            "along-the-edge": np.array([[2, 3, 4, -3], [-2, -1, 0, 1]]) * pi / 4,
        },
    )




# ----------------------------------------------------------------------------------------------------------- laplace


@graded(
    "laplace",
    points=1,
    title="Laplace's operator at two pixels",
    hint="At the pixel 5, with 4 neighbours: 2 + 0 + 1 + 2 - 4 · 5. With 8, the corners come in and the 5 counts "
    "8 times.",
)
def test_laplace_by_hand(student, expect):
    expect.given(padded=IMAGE)
    four, eight = np.array([[-15, 18]]), np.array([[-22, 30]])
    got = student.laplace(IMAGE, 4)
    expect.array(got, four, "the response with 4 neighbours", tolerance=1e-6, mistaken={"laplace-negated": -four})
    expect.array(
        student.laplace(IMAGE, 8),
        eight,
        "the response with 8 neighbours",
        tolerance=1e-6,
        mistaken={"four-for-eight": four, "centre-4-of-8": np.array([[-2, 34]]), "laplace-negated": -eight},
    )


@graded(
    "laplace",
    points=0.5,
    title="Laplace's operator on uint8",
    hint="A response is often negative, and here it goes down to -4 · 200.",
)
def test_laplace_of_bytes(student, expect):
    padded = np.array([[0, 0, 0, 0], [0, 200, 250, 0], [0, 0, 0, 0]], np.uint8)
    expect.given(padded=padded)
    want = np.array([[-550, -800]])
    mistaken = {"uint8-wraps": want % 256}
    expect.array(call(student.laplace, padded, 4), want, "the response", tolerance=1e-6, mistaken=mistaken)


@graded(
    "laplace",
    points=0.5,
    title="The zero crossing of a step",
    hint="Go along the row: where does a positive pixel have a negative neighbour?",
)
def test_crossing_of_a_step(student, expect):
    row = [0.0, 0, 6, -6, 0, 0, 5, 0, 0]
    expect.given(padded=np.array([row] * 3), threshold=0)
    step = np.array([[0, 1, 0, 0, 0, 0, 0]], bool)
    mistaken = {
        "both-sides": np.array([[0, 1, 1, 0, 0, 0, 0]], bool),
        "strong-for-crossing": np.array([[0, 1, 1, 0, 0, 1, 0]], bool),
        "zero-beside-negative": np.array([[0, 1, 0, 1, 0, 0, 0]], bool),
    }
    got = student.zero_crossings(np.array([row] * 3), 0)
    expect.array(got, step, "the zero crossings", kind="bool", mistaken=mistaken)


@graded(
    "laplace",
    points=0.5,
    title="The zero crossing of a ramp",
    hint="The response is positive where the ramp begins, negative where it ends, and 0 between. Which rule is that?",
)
def test_crossing_of_a_ramp(student, expect):
    row = [0.0, 0, 4, 0, -4, 0, 0, 5, 0]
    expect.given(padded=np.array([row] * 3), threshold=0)
    ramp = np.array([[0, 0, 1, 0, 0, 0, 0]], bool)
    got = student.zero_crossings(np.array([row] * 3), 0)
    mistaken = {
        "zeros-missed": np.zeros((1, 7), bool),
        "strong-for-crossing": np.array([[0, 1, 0, 1, 0, 0, 1]], bool),
        "zero-beside-negative": np.array([[0, 0, 1, 0, 1, 0, 0]], bool),
    }
    expect.array(got, ramp, "the zero crossings", kind="bool", mistaken=mistaken)








# ------------------------------------------------------------------------------------------------------------ kirsch


def eight_kernels(student, expect):
    """The student's kernels as a list, once there are eight of them."""
    got = student.compass_kernels()
    number = len(got) if isinstance(got, list | tuple) or (isinstance(got, np.ndarray) and got.ndim) else 0
    message = f"`compass_kernels` should return 8 kernels, yours returns {number or 'something else'}."
    expect.true(number == 8, message, hint="quarter-turns" if number == 4 else "")
    return list(got)


@graded(
    "kirsch",
    points=1,
    title="The kernels for N, NE and E",
    hint="The three 5s walk clockwise: in N they lie above the middle, in E to its right.",
)
def test_kernels_by_hand(student, expect):
    kernels = eight_kernels(student, expect)
    north = np.array([[5, 5, 5], [-3, 0, -3], [-3, -3, -3]])
    north_east = np.array([[-3, 5, 5], [-3, 0, 5], [-3, -3, -3]])
    north_west = np.array([[5, 5, -3], [5, 0, -3], [-3, -3, -3]])
    filled = np.where(north == 0, -3, north)
    expect.array(kernels[0], north, "the kernel N", mistaken={"centre-counts": filled})
    mistaken = {"anticlockwise": north_west, "rows-rolled": np.array([[-3, -3, -3], [5, 5, 5], [-3, 0, -3]])}
    expect.array(kernels[1], north_east, "the kernel NE", mistaken=mistaken)
    expect.array(kernels[2], np.array([[-3, -3, 5], [-3, 0, 5], [-3, -3, 5]]), "the kernel E")


@graded(
    "kirsch",
    points=1,
    title="The strongest of four plain kernels",
    hint="The kernels are right less left, below less above, left less right, above less below. At the pixel 5 they "
    "give -7, -7, 7 and 7.",
)
def test_strongest_by_hand(student, expect):
    padded = np.array([[1, 9, 4, 3, 6], [8, 5, 1, 2, 0], [2, 2, 6, 9, 6]])
    right = np.array([[0, 0, 0], [-1, 0, 1], [0, 0, 0]])
    expect.given(padded=padded)
    got = student.strongest(padded, np.array([right, right.T, -right, -right.T]))
    strength, compass = two_arrays(got, expect, "the strength and the compass direction")
    want = np.array([[7, 3, 6]])
    mistaken = {"sum-of-responses": np.zeros((1, 3)), "weakest": -want}
    expect.array(strength, want, "the strength", tolerance=1e-6, mistaken=mistaken)
    mistaken = {
        "unsigned": np.array([[0, 0, 1]]),
        "compass-from-1": np.array([[3, 3, 2]]),
        "last-of-equals": np.array([[3, 2, 1]]),
    }
    expect.array(compass, np.array([[2, 2, 1]]), "the compass direction", mistaken=mistaken)


@graded(
    "kirsch",
    points=0.5,
    title="A dark pixel on the right, by Kirsch's kernels for NE and W",
    hint="NE: 5 · (10 + 10 + 0) - 3 · 50. W: 5 · 30 - 3 · (40 + 0). Which is larger?",
)
def test_dark_neighbour(student, expect):
    padded = np.array([[10, 10, 10], [10, 10, 0], [10, 10, 10]], np.uint8)
    kernels = np.array([[[-3, 5, 5], [-3, 0, 5], [-3, -3, -3]], [[5, -3, -3], [5, 0, -3], [5, -3, -3]]])
    expect.given(padded=padded, NE=kernels[0], W=kernels[1])
    got = call(student.strongest, padded, kernels)
    strength, compass = two_arrays(got, expect, "the strength and the compass direction")
    expect.array(strength, np.array([[30]]), "the strength", mistaken={"unsigned": [[50]], "weakest": [[-50]]})
    expect.array(compass, np.array([[1]]), "the compass direction", mistaken={"compass-from-1": [[2]]})






# -------------------------------------------------------------------------------------------------------------- thin

PEAKS = np.array([[1, 2, 9], [3, 5, 4], [2, 7, 1]])


@graded(
    "thin",
    points=1,
    title="Arrows to the right, arrows down",
    hint="With all arrows to the right, each pixel looks at its left and its right neighbour: of the row 3 5 4, "
    "5 stays.",
)
def test_thin_straight(student, expect):
    expect.given(magnitude=PEAKS)
    across, down = np.array([[0, 0, 9], [0, 5, 0], [0, 7, 0]]), np.array([[0, 0, 9], [3, 0, 0], [0, 7, 0]])
    got = student.thin(PEAKS, np.zeros((3, 3)))
    inside = np.array([[0, 0, 0], [0, 5, 0], [0, 0, 0]])
    mistaken = {"across-the-ridge": down, "mask-for-magnitude": across > 0, "border-dropped": inside}
    expect.array(got, across, "what stays with all arrows to the right", mistaken=mistaken)
    got = student.thin(PEAKS, np.full((3, 3), pi / 2))
    expect.array(got, down, "what stays with all arrows down", mistaken={"across-the-ridge": across})


@graded(
    "thin",
    points=1,
    title="Diagonal arrows",
    hint="Arrows to the lower right: the 5 looks at the 1 to its upper left and the 1 to its lower right.",
)
def test_thin_diagonal(student, expect):
    expect.given(magnitude=PEAKS)
    falling, rising = np.array([[0, 0, 9], [0, 5, 4], [2, 7, 0]]), np.array([[1, 0, 9], [3, 0, 0], [0, 7, 1]])
    straight = np.array([[[0, 0, 9], [0, 5, 0], [0, 7, 0]], [[0, 0, 9], [3, 0, 0], [0, 7, 0]]])
    for eighth, want, other, where in ((1, falling, rising, "lower right"), (3, rising, falling, "lower left")):
        got = student.thin(PEAKS, np.full((3, 3), eighth * pi / 4))
        mistaken = {"diagonals-mirrored": other, "wraps-round": np.array([[0, 0, 9], [0, 5, 4], [0, 0, 0]])}
        is_straight = isinstance(got, np.ndarray) and any(np.array_equal(got, kept) for kept in straight)
        mistaken |= {"no-diagonals": got} if is_straight else {}
        expect.array(got, want, f"what stays with all arrows to the {where}", mistaken=mistaken)


@graded(
    "thin",
    points=0.5,
    title="Two equal neighbours, under arrows to the right and to the left",
    hint="The first 5 is greater than the 2 before it and as great as the 5 after it. And the second?",
)
def test_thin_plateau(student, expect):
    magnitude = np.array([[0, 2, 5, 5, 2, 0]] * 2)
    direction = np.array([[0.0] * 6, [pi] * 6])
    expect.given(magnitude=magnitude, direction=direction)
    want = np.array([[0, 0, 5, 0, 0, 0]] * 2)
    expect.array(
        student.thin(magnitude, direction),
        want,
        "what stays",
        mistaken={
            "both-of-equals": np.array([[0, 0, 5, 5, 0, 0]] * 2),
            "none-of-equals": np.zeros((2, 6)),
            "before-by-arrow": np.array([[0, 0, 5, 0, 0, 0], [0, 0, 0, 5, 0, 0]]),
        },
    )








# ----------------------------------------------------------------------------------------------------------- regions


@graded(
    "regions",
    points=1,
    title="A diamond of edges",
    hint="The diamond's pixels touch by their corners only. Five areas: four corners, and the inside.",
)
def test_diamond(student, expect):
    edges = np.array([[0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]], bool)
    expect.given(edges=edges)
    want = np.array([[1, 1, 0, 2, 2], [1, 0, 3, 0, 2], [0, 3, 3, 3, 0], [4, 0, 3, 0, 5], [4, 4, 0, 5, 5]])
    expect.array(
        student.regions(edges),
        want,
        "the numbers",
        kind="integer",
        mistaken={
            "eight-neighbours": (~edges).astype(int),
            "edges-numbered": np.array(
                [[0, 0, 1, 0, 0], [0, 2, 0, 3, 0], [4, 0, 0, 0, 5], [0, 6, 0, 7, 0], [0, 0, 8, 0, 0]]
            ),
            "numbers-from-0": want - 1,
            "by-columns": np.array([0, 1, 4, 3, 2, 5])[want],
            "one-pass": np.array([[1, 1, 0, 2, 2], [1, 0, 3, 0, 2], [0, 4, 4, 4, 0], [5, 0, 4, 0, 6], [5, 5, 0, 7, 7]]),
            "wraps-left": np.where(edges, 0, np.where(want == 3, 2, 1)),
        },
    )


@graded(
    "regions",
    points=0.5,
    title="A region with three arms",
    hint="All three arms hang together at the bottom, so they are one region. When do you find that out?",
)
def test_fork(student, expect):
    edges = np.array([[0, 1, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
    expect.given(edges=edges)
    want = np.array([[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]])
    mistaken = {"one-pass": np.array([[1, 0, 2, 0, 3], [1, 0, 2, 0, 3], [1, 1, 1, 1, 1]])}
    expect.array(student.regions(edges), want, "the numbers", mistaken=mistaken)


@graded(
    "regions",
    points=0.5,
    title="A large region",
    hint="70 × 90 pixels without an edge are one region, of 6300 pixels.",
)
def test_large_region(student, expect):
    try:
        got = student.regions(np.zeros((70, 90), bool))
    except StudentError as error:
        if error.kind == "RecursionError":
            raise CheckFailed("`regions` called itself too often: RecursionError.", "recursion") from error
        raise
    expect.array(got, np.ones((70, 90), int), "the numbers")
