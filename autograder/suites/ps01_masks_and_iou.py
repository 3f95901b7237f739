"""The tests of ps01: label maps, run lengths, and the numbers that say how good a segmentation is.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

import math
from itertools import cycle, groupby, pairwise

import numpy as np

from autograder.forbidden import LIBRARIES
from autograder.suite import CheckFailed, Exercise, StudentError, graded

exercise = Exercise(
    "ps01-masks-and-iou",
    cells={
        "rgb-to-ids": 3,
        "label-maps": 4,
        "panoptic-maps": 6,
        "rle": 6,
        "confusion-matrix": 6,
        "four-metrics": 7,
        "iou-and-dice": 4,
    },
    # Students like to import Matplotlib in a solution cell; loaded beforehand, that takes no time. It needs PIL.
    preload=("numpy", "matplotlib.pyplot"),
    forbidden=(
        *LIBRARIES,
        "panopticapi",
        "pycocotools",
        "scipy",
        "torch",
    ),
    hints={
        # rgb-to-ids
        "uint8-overflow": "A uint8 holds 0 to 255. What is 256 · 1 in it? Give the colours a wider type before you "
        "multiply.",
        "blue-first": "Your red and blue have changed places: red is channel 0 and counts ones.",
        "base-255": "A channel has 256 different values, 0 among them, so the next one counts steps of 256, not 255.",
        # label-maps, panoptic-maps
        "background-as-instance": "There is one mask too many: 0 is no object. Which values of the map are objects?",
        "numbers-as-range": "Objects are not always numbered 1, 2, 3, ... without gaps. Ask the map which numbers it "
        "holds.",
        "first-value-dropped": "One object is missing. The smallest value in a map is not always the background: "
        "here every pixel belongs to an object.",
        "replaced-in-place": "A pixel that you have just given its category is found again when the next segment's "
        "id equals that category. Read from one array and write into another.",
        "void-as-zero": "A pixel that belongs to no segment is void, 255. With 0 it would count as category 0, which "
        "is a real one in many data sets.",
        "stuff-as-instances": "Stuff (sky, ground, ...) is not counted, so it has no instances. Which segments have a "
        "category in `things`?",
        "one-mask-per-category": "Two objects of one category must stay two masks. What tells them apart in `ids`?",
        # rle
        "row-major": "You went along the rows. COCO goes down the columns: first column from top to bottom, then the "
        "second. NumPy calls that order 'F', and the transposed mask has it too.",
        "no-leading-zero": "The first count is always for background. When the first pixel is set, how many "
        "background pixels come before it?",
        "last-run-missing": "The counts of all runs must add up to H · W. Which pixels has nobody counted when the "
        "mask ends?",
        "starts-with-object": "Object and background have changed places: the first count is for background.",
        # confusion-matrix
        "transposed": "Your matrix is transposed: rows are the truth, columns the prediction.",
        "ignored-counted": "The pixels to ignore were counted as one of the classes. They belong in no cell at all.",
        "index-overflow": "With 21 classes a combined number such as 21 · target + pred can pass 255, and these maps "
        "are uint8. Convert before you multiply.",
        # four-metrics
        "count-for-ratio": "That is a number of pixels, but a score is a share, 0 to 1: of how many pixels?",
        "integer-division": "`//` cuts the fraction off. Divide with `/`.",
        "pixel-for-mean-accuracy": "That is the pixel accuracy, in which large classes count more. Here each class "
        "has one vote: first the share for each class, then the mean.",
        "columns-for-rows": "You divided by what was predicted as each class (the columns, precision). Accuracy "
        "divides by what truly belongs to it.",
        "overlap-counted-twice": "Row sum and column sum both hold the pixels on the diagonal. In the union each "
        "pixel counts once.",
        "dice-for-iou": "That is Dice, 2 · intersection / (sum of both). IoU divides by the union.",
        "iou-of-totals": "You added up all classes before dividing. The mean IoU first takes each class's own IoU.",
        "weights-from-prediction": "Your weights are the predicted pixels of each class. A class's frequency is its "
        "share of the true pixels.",
        "unweighted": "That is the plain mean of the IoUs. Here each class counts by its share of the true pixels.",
        "accuracy-weighted": "You weighted the classes' accuracies (which gives the pixel accuracy again). The thing "
        "to weight is each class's IoU.",
        "absent-as-zero": "A class that occurs neither in the truth nor in the prediction got 0 points, as if it had "
        "been missed. Nobody could have found it: leave it out of the mean.",
        "absent-as-one": "A class that occurs nowhere counted as perfectly found. Leave it out of the mean instead.",
        "nan-in-the-mean": "0 / 0 is NaN, and one NaN makes the whole mean NaN. Which classes can be averaged at all?",
        "invented-left-out": "A class that was predicted but is not there has an IoU of 0, and it counts: its union "
        "is not empty.",
        # iou-and-dice
        "sum-for-union": "The sum of both areas counts the pixels that they share twice. The union counts them once.",
        "xor-for-union": "Your denominator leaves the shared pixels out. The union holds them too.",
        "no-factor-2": "The sum of both areas holds the shared pixels twice. So must the numerator: what would "
        "yours give for two equal masks?",
        "iou-for-dice": "That is the IoU. Dice divides by the sum of both areas.",
        "empty-as-one": "Two empty masks share nothing and miss nothing: 0 / 0. Say NaN, so that whoever averages "
        "can see that there was nothing to measure.",
        "empty-as-zero": "Both masks are empty, so nothing was missed: 0 would punish a correct prediction. The "
        "answer is 0 / 0, NaN.",
    },
)


# ------------------------------------------------------------------------------------------------------- rgb-to-ids


def ids_of(student, rgb):
    try:
        return student.rgb_to_ids(rgb)
    except StudentError as error:
        if error.kind == "OverflowError":  # what NumPy 2 makes of 256 * uint8
            message = "`rgb_to_ids` raised OverflowError: a number does not fit into the type of the array."
            raise CheckFailed(message, "uint8-overflow") from error
        raise


@graded("rgb-to-ids", points=0.5, title="Ids below 256", hint="With green and blue at 0, the id is red itself.")
def test_ids_of_red_alone(student, rng, expect):
    red = rng.integers(1, 256, (3, 4)).astype(np.uint8)
    rgb = np.stack([red, np.zeros_like(red), np.zeros_like(red)], axis=-1)
    expect.given(red=red, green=rgb[..., 1], blue=rgb[..., 2])
    expect.array(ids_of(student, rgb), red, "the ids", mistaken={"blue-first": red.astype(int) * 65536})


@graded(
    "rgb-to-ids",
    points=1,
    title="Four pixels worked by hand",
    hint="Red counts ones, green counts 256s, blue counts 256 · 256s: the pixel (5, 1, 0) has the id 5 + 256 = 261.",
)
def test_ids_by_hand(student, expect):
    rgb = np.array([[[5, 1, 0], [0, 0, 1]], [[255, 255, 0], [10, 20, 30]]], np.uint8)
    expect.given(red=rgb[..., 0], green=rgb[..., 1], blue=rgb[..., 2])
    expect.array(
        ids_of(student, rgb),
        np.array([[261, 65536], [65535, 1971210]]),
        "the ids",
        mistaken={
            "uint8-overflow": rgb[..., 0],
            "blue-first": np.array([[327936, 1], [16776960, 660510]]),
            "base-255": np.array([[260, 65025], [65280, 1955860]]),
        },
    )


@graded(
    "rgb-to-ids",
    points=1.5,
    title="A whole picture",
    hint="An id can be as large as 256³ - 1, and no loop over pixels is needed: the channels are three arrays (H, W).",
    hidden=True,
)
def test_ids_of_a_picture(student, rng, expect):
    ids = rng.integers(0, 256**3, (24, 31))
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    expect.array(ids_of(student, rgb), ids, "the ids", mistaken={"uint8-overflow": rgb[..., 0]})


# ------------------------------------------------------------------------------------------------------- label-maps


@graded(
    "label-maps",
    points=2,
    title="Two objects, numbered 2 and 5",
    hint="One mask for each object, True where the map holds its number, in ascending order of the numbers.",
)
def test_two_objects(student, expect):
    labels = np.array([[0, 2, 2, 0, 5], [0, 2, 0, 5, 5], [0, 0, 0, 5, 0]])
    masks = [labels == 2, labels == 5]
    expect.given(labels=labels)
    expect.array(
        student.labels_to_instances(labels),
        np.array(masks),
        "the stack of masks",
        kind="bool",
        mistaken={
            "background-as-instance": np.array([labels == 0, *masks]),
            "numbers-as-range": np.array([labels == number for number in (1, 2, 3, 4, 5)]),
        },
    )


@graded(
    "label-maps",
    points=1,
    title="Objects that fill the picture",
    hint="Not every map has background, objects touch, and their numbers may be large.",
    hidden=True,
)
def test_no_background(student, rng, expect):
    numbers = np.sort(rng.choice(np.arange(3, 900), 5, replace=False)).astype(np.uint16)
    labels = np.tile(np.repeat(rng.permutation(numbers), 5), (18, 1))  # five upright stripes
    masks = np.array([labels == number for number in numbers])
    got = student.labels_to_instances(labels)
    expect.array(got, masks, "the stack of masks", mistaken={"first-value-dropped": masks[1:]})


@graded(
    "label-maps",
    points=1,
    title="A picture without any object",
    hint="No objects means no masks: a stack of shape (0, H, W), so that whoever counts its masks finds 0.",
    hidden=True,
)
def test_no_object(student, rng, expect):
    height, width = (int(size) for size in rng.integers(4, 12, 2))
    labels = np.zeros((height, width), np.int64)
    expect.array(
        student.labels_to_instances(labels),
        np.zeros((0, height, width), bool),
        "the stack of masks",
        mistaken={"background-as-instance": np.ones((1, height, width), bool)},
    )


# ---------------------------------------------------------------------------------------------------- panoptic-maps

# Two discs (category 1) that touch, a square (3), ground (5) which is stuff, and two pixels of no segment.
IDS = np.array([[7, 7, 9, 9, 9], [7, 7, 9, 4, 0], [2, 2, 2, 4, 0]])
SEGMENTS = [
    {"id": 7, "category_id": 1},
    {"id": 9, "category_id": 1},
    {"id": 4, "category_id": 3},
    {"id": 2, "category_id": 5},
]


@graded(
    "panoptic-maps",
    points=1,
    title="The categories of a small map",
    hint="For each segment, its pixels get its category; pixels of no segment get 255.",
)
def test_categories_by_hand(student, expect):
    expect.given(ids=IDS, segments=[(s["id"], s["category_id"]) for s in SEGMENTS])
    expect.array(
        student.panoptic_to_semantic(IDS, SEGMENTS),
        np.array([[1, 1, 1, 1, 1], [1, 1, 1, 3, 255], [5, 5, 5, 3, 255]]),
        "the semantic map",
        mistaken={"void-as-zero": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 3, 0], [5, 5, 5, 3, 0]])},
    )


@graded(
    "panoptic-maps",
    points=1,
    title="Ids that look like categories",
    hint="Here 1, 2 and 3 are ids and categories at once. Follow one pixel with id 1 through your code, line by line.",
)
def test_ids_that_look_like_categories(student, expect):
    ids = np.array([[1, 1, 2, 2], [1, 3, 3, 2]])
    segments = [{"id": 1, "category_id": 2}, {"id": 2, "category_id": 3}, {"id": 3, "category_id": 1}]
    expect.given(ids=ids, segments=[(s["id"], s["category_id"]) for s in segments])
    expect.array(
        student.panoptic_to_semantic(ids, segments),
        np.array([[2, 2, 3, 3], [2, 1, 1, 3]]),
        "the semantic map",
        mistaken={"replaced-in-place": np.ones((2, 4), int)},
    )


def masks_and_categories(got, expect):
    is_pair = isinstance(got, list | tuple) and len(got) == 2
    expect.true(is_pair, "`panoptic_to_instances` should return two things: the masks and their categories.")
    return got


@graded(
    "panoptic-maps",
    points=1,
    title="The things of a small map",
    hint="Go through `segments` in their order and keep those whose category is in `things`.",
)
def test_things_by_hand(student, expect):
    expect.given(ids=IDS, segments=[(s["id"], s["category_id"]) for s in SEGMENTS], things=[1, 3])
    masks, categories = masks_and_categories(student.panoptic_to_instances(IDS, SEGMENTS, [1, 3]), expect)
    expect.array(
        masks,
        np.array([IDS == 7, IDS == 9, IDS == 4]),
        "the stack of masks",
        kind="bool",
        mistaken={
            "stuff-as-instances": np.array([IDS == 7, IDS == 9, IDS == 4, IDS == 2]),
            "one-mask-per-category": np.array([(IDS == 7) | (IDS == 9), IDS == 4]),
        },
    )
    expect.same(categories, [1, 1, 3], "the list of categories")


@graded(
    "panoptic-maps",
    points=1.5,
    title="The categories of a whole scene",
    hint="Try your function on a scene of your own: large ids, several objects of a category, some void.",
    hidden=True,
)
def test_categories_of_a_scene(student, rng, expect):
    ids, semantic, segments = scene(rng)
    void_as_zero = np.where(semantic == 255, 0, semantic)
    got = student.panoptic_to_semantic(ids, segments)
    expect.array(got, semantic, "the semantic map", mistaken={"void-as-zero": void_as_zero})


@graded(
    "panoptic-maps",
    points=1.5,
    title="The things of a whole scene, and of one without things",
    hint="The masks follow the order of `segments`. Without things, the stack is (0, H, W) and the list is empty.",
    hidden=True,
)
def test_things_of_a_scene(student, rng, expect):
    ids, _, segments = scene(rng)
    wanted = [segment for segment in segments if segment["category_id"] in (2, 4)]
    masks, categories = masks_and_categories(student.panoptic_to_instances(ids, segments, [2, 4]), expect)
    expect.array(masks, np.array([ids == segment["id"] for segment in wanted]), "the stack of masks")
    expect.same(categories, [segment["category_id"] for segment in wanted], "the list of categories")
    masks, categories = masks_and_categories(student.panoptic_to_instances(ids, segments, [9]), expect)
    expect.array(masks, np.zeros((0, *ids.shape), bool), "the stack of masks without any thing")
    expect.same(categories, [], "the list of categories without any thing")


def scene(rng):
    """Ids, semantic map and shuffled segments: four objects of categories 2 and 4 on stuff of 0 and 6, some void."""
    ids, semantic = np.zeros((20, 27), int), np.full((20, 27), 255)
    boxes = [(slice(0, 8), slice(3, 27)), (slice(8, 18), slice(0, 27))]
    boxes += [(slice(1, 16), slice(left, left + 4)) for left in (4, 8, 14, 20)]
    numbers = (1000 + rng.choice(2**24 - 1000, 6, replace=False)).tolist()
    segments = []
    for box, number, category in zip(boxes, numbers, (0, 6, 2, 2, 4, 2), strict=True):
        ids[box], semantic[box] = number, category
        segments.append({"id": number, "category_id": category})
    return ids, semantic, [segments[i] for i in rng.permutation(6)]


# -------------------------------------------------------------------------------------------------------------- rle


@graded(
    "rle",
    points=1,
    title="Encode a mask worked by hand",
    hint="Read down the first column, then the second, and so on; write down how long each run of equal pixels is.",
)
def test_encode_by_hand(student, expect):
    mask = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]], bool)
    expect.given(mask=mask)
    expect.same(
        student.rle_encode(mask),
        [3, 2, 1, 1, 1, 1, 3],
        "the list of counts",
        mistaken={"row-major": [1, 2, 2, 1, 4, 1, 1], "last-run-missing": [3, 2, 1, 1, 1, 1]},
    )


@graded(
    "rle",
    points=1,
    title="Encode a mask whose first pixel is set",
    hint="The counts take turns: background, object, background, ... How can the first one still be for background?",
)
def test_encode_object_first(student, expect):
    mask = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]], bool)
    expect.given(mask=mask)
    expect.same(
        student.rle_encode(mask),
        [0, 2, 2, 2, 2, 1],
        "the list of counts",
        mistaken={
            "no-leading-zero": [2, 2, 2, 2, 1],
            "row-major": [0, 1, 2, 2, 2, 2],
            "last-run-missing": [0, 2, 2, 2, 2],
        },
    )


@graded(
    "rle",
    points=1,
    title="Decode counts worked by hand",
    hint="Lay the runs one after another, background first, and fold the long line into columns of height H.",
)
def test_decode_by_hand(student, expect):
    mask = np.array([[0, 1, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
    expect.given(counts=[2, 3, 4, 1, 2], shape=(3, 4))
    expect.array(
        student.rle_decode([2, 3, 4, 1, 2], (3, 4)),
        mask,
        "the mask",
        kind="bool",
        mistaken={
            "row-major": np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0]], bool),
            "starts-with-object": ~mask,
        },
    )


@graded(
    "rle",
    points=1.5,
    title="Encode an empty mask, a full one and a blob",
    hint="What are the runs of a mask with nothing in it, and of one with everything in it? Count in your head first.",
    hidden=True,
)
def test_encode_others(student, rng, expect):
    height, width = (int(size) for size in rng.choice([5, 6, 7, 8, 9], 2, replace=False))
    blob = rng.random((height, width)) < 0.5
    blob[0, 0] = False
    columns = [bool(blob[y, x]) for x in range(width) for y in range(height)]
    counts = [len(list(run)) for _, run in groupby(columns)]
    expect.same(student.rle_encode(np.zeros((height, width), bool)), [height * width], "the counts of an empty mask")
    expect.same(student.rle_encode(np.ones((height, width), bool)), [0, height * width], "the counts of a full mask")
    expect.same(student.rle_encode(blob), counts, "the counts of the blob")


@graded(
    "rle",
    points=1.5,
    title="Decode other counts",
    hint="Masks need not be square, a first count of 0 is allowed, and one single run is too.",
    hidden=True,
)
def test_decode_others(student, rng, expect):
    height, width = (int(size) for size in rng.choice([5, 6, 7, 8, 9], 2, replace=False))
    cuts = [0, *sorted(rng.choice(np.arange(1, height * width), 9, replace=False).tolist()), height * width]
    counts = [0, *(end - start for start, end in pairwise(cuts))]
    line = [value for count, value in zip(counts, cycle((False, True)), strict=False) for _ in range(count)]
    mask = np.array([[line[x * height + y] for x in range(width)] for y in range(height)])
    expect.array(student.rle_decode(counts, (height, width)), mask, "the mask", mistaken={"starts-with-object": ~mask})
    nothing = np.zeros((height, width), bool)
    expect.array(student.rle_decode([height * width], (height, width)), nothing, "the mask of a single run")


# ------------------------------------------------------------------------------------------------- confusion-matrix


@graded(
    "confusion-matrix",
    points=1.5,
    title="Eight pixels, three classes",
    hint="Take one pixel after another: its true class chooses the row, its predicted class the column; add 1 there.",
)
def test_matrix_by_hand(student, expect):
    target = np.array([[0, 0, 1, 1], [0, 2, 2, 1]])
    pred = np.array([[0, 1, 1, 1], [0, 2, 0, 0]])
    expect.given(pred=pred, target=target)
    matrix = np.array([[2, 1, 0], [1, 2, 0], [1, 0, 1]])
    got = student.confusion_matrix(pred, target, 3)
    expect.array(got, matrix, "the confusion matrix", mistaken={"transposed": matrix.T})


@graded(
    "confusion-matrix",
    points=1.5,
    title="Pixels to ignore",
    hint="Where the truth is 255, nobody knows the class, so the pixel counts nowhere. Which of the two maps decides?",
)
def test_matrix_ignores(student, expect):
    target = np.array([[0, 255, 1, 1], [255, 2, 2, 1]])
    pred = np.array([[0, 1, 1, 2], [0, 2, 0, 1]])
    expect.given(pred=pred, target=target)
    matrix = np.array([[1, 0, 0], [0, 2, 1], [1, 0, 1]])
    expect.array(
        student.confusion_matrix(pred, target, 3),
        matrix,
        "the confusion matrix",
        mistaken={"transposed": matrix.T, "ignored-counted": np.array([[2, 1, 0], [0, 2, 1], [1, 0, 1]])},
    )


@graded(
    "confusion-matrix",
    points=1.5,
    title="A larger scene, where 99 marks the pixels to ignore",
    hint="Use `ignore_index` as it is given: data sets differ in the number that they mark unknown pixels with.",
    hidden=True,
)
def test_matrix_of_a_scene(student, rng, expect):
    matrix = rng.integers(0, 25, (5, 5))
    matrix[4, 0], matrix[0, 4] = 7, 20
    pairs = [(t, p) for t in range(5) for p in range(5) for _ in range(matrix[t, p])]
    pairs += [(99, int(p)) for p in rng.integers(0, 5, 24 * 32 - len(pairs))]
    target, pred = rng.permutation(pairs).T.reshape(2, 24, 32)
    got = student.confusion_matrix(pred, target, 5, ignore_index=99)
    expect.array(got, matrix, "the confusion matrix", mistaken={"transposed": matrix.T})


@graded(
    "confusion-matrix",
    points=1.5,
    title="A perfect prediction with 21 classes, not all of them in the picture",
    hint="The matrix has a row and a column for every class, present or not. The maps are uint8, as in most data sets.",
    hidden=True,
)
def test_matrix_of_21_classes(student, rng, expect):
    pixels = rng.integers(1, 30, 21)
    pixels[[4, 20]] = 0
    labels = rng.permutation(np.repeat(np.arange(21, dtype=np.uint8), pixels))[None]
    overflown = np.zeros(441, int)
    for label, count in enumerate(pixels):
        overflown[22 * label % 256] += count
    got = student.confusion_matrix(labels, labels, 21)
    mistaken = {"index-overflow": overflown.reshape(21, 21)}
    expect.array(got, np.diag(pixels), "the confusion matrix", mistaken=mistaken)


# ----------------------------------------------------------------------------------------------------- four-metrics

MATRIX = np.array([[6, 2, 0], [1, 2, 1], [0, 0, 8]])  # classes of 8, 4 and 8 pixels


@graded(
    "four-metrics",
    points=1,
    title="Pixel accuracy by hand",
    hint="Where in the matrix are the pixels that are right? How many pixels are there in all?",
)
def test_pixel_accuracy_by_hand(student, expect):
    expect.given(matrix=MATRIX)
    got = student.pixel_accuracy(MATRIX)
    mistaken = {"count-for-ratio": 16, "integer-division": 0}
    expect.number(got, 16 / 20, "the pixel accuracy", mistaken=mistaken)


@graded(
    "four-metrics",
    points=1,
    title="Mean accuracy by hand",
    hint="Of class 0's 8 pixels 6 are right, of class 1's 4 pixels 2, of class 2's 8 pixels 8. And the mean?",
)
def test_mean_accuracy_by_hand(student, expect):
    expect.given(matrix=MATRIX)
    expect.number(
        student.mean_accuracy(MATRIX),
        (6 / 8 + 2 / 4 + 8 / 8) / 3,
        "the mean accuracy",
        mistaken={"pixel-for-mean-accuracy": 16 / 20, "columns-for-rows": (6 / 7 + 2 / 4 + 8 / 9) / 3},
    )


@graded(
    "four-metrics",
    points=1,
    title="Mean IoU by hand",
    hint="8 pixels are of class 0, 7 were predicted to be, 6 are in both. So how many are in either?",
)
def test_mean_iou_by_hand(student, expect):
    expect.given(matrix=MATRIX)
    expect.number(
        student.mean_iou(MATRIX),
        (6 / 9 + 2 / 6 + 8 / 9) / 3,
        "the mean IoU",
        mistaken={
            "overlap-counted-twice": (6 / 15 + 2 / 8 + 8 / 17) / 3,
            "dice-for-iou": (12 / 15 + 4 / 8 + 16 / 17) / 3,
            "iou-of-totals": 16 / 24,
        },
    )


@graded(
    "four-metrics",
    points=1,
    title="Frequency-weighted IoU by hand",
    hint="The IoUs are 6/9, 2/6 and 8/9. Of the 20 pixels, 8, 4 and 8 belong to these classes.",
)
def test_frequency_weighted_iou_by_hand(student, expect):
    expect.given(matrix=MATRIX)
    expect.number(
        student.frequency_weighted_iou(MATRIX),
        (8 * 6 / 9 + 4 * 2 / 6 + 8 * 8 / 9) / 20,
        "the frequency-weighted IoU",
        mistaken={
            "weights-from-prediction": (7 * 6 / 9 + 4 * 2 / 6 + 9 * 8 / 9) / 20,
            "unweighted": (6 / 9 + 2 / 6 + 8 / 9) / 3,
            "accuracy-weighted": 16 / 20,
        },
    )


@graded(
    "four-metrics",
    points=1,
    title="A class that is nowhere",
    hint="Class 2 has no pixel, neither true nor predicted. Average over the other three.",
)
def test_absent_class(student, expect):
    matrix = np.array([[5, 1, 0, 0], [1, 3, 0, 2], [0, 0, 0, 0], [0, 0, 0, 4]])
    ious, accuracies = 5 / 7 + 3 / 7 + 4 / 6, 5 / 6 + 3 / 6 + 4 / 4
    expect.given(matrix=matrix)
    for got, total, what in (
        (student.mean_iou(matrix), ious, "the mean IoU"),
        (student.mean_accuracy(matrix), accuracies, "the mean accuracy"),
    ):
        mistaken = {"absent-as-zero": total / 4, "absent-as-one": (total + 1) / 4, "nan-in-the-mean": math.nan}
        expect.number(got, total / 3, what, mistaken=mistaken)


@graded(
    "four-metrics",
    points=1,
    title="A class that was predicted, but is not there",
    hint="It has no true pixel, so its accuracy is undefined and left out. Its union is not empty, so its IoU is 0.",
    hidden=True,
)
def test_invented_class(student, rng, expect):
    matrix = rng.integers(3, 40, (6, 6))
    matrix[2] = 0
    present = [0, 1, 3, 4, 5]
    ious = [matrix[c, c] / (sum(matrix[c]) + sum(matrix[:, c]) - matrix[c, c]) for c in range(6)]
    accuracies = [matrix[c, c] / sum(matrix[c]) for c in present]
    without = sum(ious) / 5
    expect.number(student.mean_iou(matrix), sum(ious) / 6, "the mean IoU", mistaken={"invented-left-out": without})
    mistaken = {"nan-in-the-mean": math.nan, "absent-as-zero": sum(accuracies) / 6}
    expect.number(student.mean_accuracy(matrix), sum(accuracies) / 5, "the mean accuracy", mistaken=mistaken)


@graded(
    "four-metrics",
    points=1,
    title="All four, for twelve classes",
    hint="Work a matrix of two classes by hand, with your functions beside it.",
    hidden=True,
)
def test_twelve_classes(student, rng, expect):
    matrix = rng.integers(1, 50, (12, 12)) + np.diag(rng.integers(0, 900, 12))
    matrix[7], matrix[:, 7] = 0, 0  # in neither
    classes, total = [c for c in range(12) if c != 7], matrix.sum()
    right = {c: matrix[c, c] for c in classes}
    true = {c: sum(matrix[c]) for c in classes}
    union = {c: true[c] + sum(matrix[:, c]) - right[c] for c in classes}
    expect.number(student.pixel_accuracy(matrix), sum(right.values()) / total, "the pixel accuracy")
    expect.number(student.mean_accuracy(matrix), sum(right[c] / true[c] for c in classes) / 11, "the mean accuracy")
    expect.number(student.mean_iou(matrix), sum(right[c] / union[c] for c in classes) / 11, "the mean IoU")
    weighted = sum(true[c] * right[c] / union[c] for c in classes) / total
    expect.number(student.frequency_weighted_iou(matrix), weighted, "the frequency-weighted IoU")


# ----------------------------------------------------------------------------------------------------- iou-and-dice

PRED = np.array([[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)  # 6 pixels, 2 of them ...
TARGET = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)  # ... among these 4


@graded(
    "iou-and-dice",
    points=0.75,
    title="IoU by hand",
    hint="Lay one mask over the other. How many pixels are in both? How many in at least one?",
)
def test_iou_by_hand(student, expect):
    expect.given(pred=PRED, target=TARGET)
    expect.number(
        student.iou(PRED, TARGET),
        2 / 8,
        "the IoU",
        mistaken={"sum-for-union": 2 / 10, "dice-for-iou": 4 / 10, "xor-for-union": 2 / 6, "count-for-ratio": 2},
    )


@graded(
    "iou-and-dice",
    points=0.75,
    title="Dice by hand",
    hint="One mask has 6 pixels, the other 4. Equal masks must come out as 1.",
)
def test_dice_by_hand(student, expect):
    expect.given(pred=PRED, target=TARGET)
    got = student.dice(PRED, TARGET)
    expect.number(got, 4 / 10, "the Dice score", mistaken={"no-factor-2": 2 / 10, "iou-for-dice": 2 / 8})


@graded(
    "iou-and-dice",
    points=0.5,
    title="Two empty masks",
    hint="There is nothing to find and nothing was found: neither right nor wrong. Return NaN, `float('nan')`.",
)
def test_two_empty_masks(student, expect):
    empty = np.zeros((4, 5), bool)
    expect.given(pred=empty, target=empty)
    mistaken = {"empty-as-one": 1, "empty-as-zero": 0}
    expect.number(student.iou(empty, empty), math.nan, "the IoU", mistaken=mistaken)
    expect.number(student.dice(empty, empty), math.nan, "the Dice score", mistaken=mistaken)


@graded(
    "iou-and-dice",
    points=1,
    title="IoU of other masks, one of them empty",
    hint="Check equal masks (1), masks that do not meet (0), and one empty mask (0).",
    hidden=True,
)
def test_iou_of_others(student, rng, expect):
    pred, target, both, pred_only, target_only = masks_of_known_areas(rng)
    expect.number(student.iou(pred, target), both / (both + pred_only + target_only), "the IoU")
    expect.number(student.iou(pred, pred), 1, "the IoU of equal masks")
    expect.number(student.iou(np.zeros_like(pred), target), 0, "the IoU with an empty prediction")


@graded(
    "iou-and-dice",
    points=1,
    title="Dice of other masks, one of them empty",
    hint="Check equal masks (1), masks that do not meet (0), and one empty mask (0).",
    hidden=True,
)
def test_dice_of_others(student, rng, expect):
    pred, target, both, pred_only, target_only = masks_of_known_areas(rng)
    expect.number(student.dice(pred, target), 2 * both / (2 * both + pred_only + target_only), "the Dice score")
    expect.number(student.dice(pred, pred), 1, "the Dice score of equal masks")
    expect.number(student.dice(np.zeros_like(pred), target), 0, "the Dice score with an empty prediction")


def masks_of_known_areas(rng):
    """Two masks (16, 25), and how many pixels are in both, in the first alone and in the second alone."""
    both, pred_only, target_only = (int(area) for area in rng.integers(20, 120, 3))
    kinds = np.repeat([3, 1, 2, 0], [both, pred_only, target_only, 400 - both - pred_only - target_only])
    kinds = rng.permutation(kinds).reshape(16, 25)
    return kinds % 2 == 1, kinds >= 2, both, pred_only, target_only
