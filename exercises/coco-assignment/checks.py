# The exercise's public tests, for the instant check. Editing them changes no grade.
"""The technical part of the assignment: COCO's masks to label maps, a split, a metric, and results in COCO's format.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect, or score what comes back on a hidden subset of generated scenes.
"""

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from autograder.suite import Exercise, graded

exercise = Exercise(
    "coco-assignment",
    cells={"usable": 2, "targets": 5, "split": 4, "miou": 4, "results": 5},
    preload=("numpy", "scipy.ndimage", "faster_coco_eval.core.mask"),
    forbidden=("fiftyone", "panopticapi", "segedu", "sklearn", "torchmetrics"),
    hints={
        # usable
        "empty-images-lost": "You left out an image without objects. It shows what background looks like: it stays.",
        "part-is-there": "A file that ends in .part is a download that was cut off. Only the whole name counts.",
        "all-of-them": "You listed an image whose file is not there. Downloads stop half-way.",
        "name-from-id": "You made the file's name from the id. The record says what its file is called.",
        "unsorted": "These are the right ids in the order of the document. They are to ascend.",
        # targets
        "crowd-as-object": "You painted a crowd in its class. Nobody knows which of its pixels are objects: 255.",
        "crowd-on-top": "Your crowd hides an object. A crowd is painted first, what has a mask of its own above it.",
        "crowd-left-out": "A crowd left no trace. If its pixels were background, a network would be taught that people "
        "in a crowd are background.",
        "crowd-of-others": "That crowd is of a category without a label. It paints nothing.",
        "small-hidden": "A large object, later in the list, hides a small one. Paint from large to small.",
        "first-polygon": "You used the first polygon only. An object that something stands before has several.",
        "box-filled": "You filled the object's box. Its mask is in `segmentation`.",
        "other-images": "There is an object of another image in your map.",
        "by-place": "You took the category's id for the label. `label_of` says which label it has.",
        "rows-first": "Your run lengths go along rows. In COCO they go down the columns.",
        # split
        "photograph-in-both": "A photograph is in both sets, under two ids. The network would be tested on what it has "
        "learnt by heart.",
        "sides-swapped": "The share is that of validation. Yours is that of training.",
        "share-of-images": "You counted images. The share is of the photographs.",
        "order-of-the-dict": "The same images in another order gave another split. What do you draw from?",
        "not-repeatable": "The same seed gave two different splits, so nobody can repeat your experiment.",
        "seed-ignored": "Every seed gives the same split.",
        "not-drawn": "You did not draw: validation is one end of the list. Ids and file names have an order that means "
        "something.",
        "some-lost": "Some images are in neither set.",
        "not-in-order": "The sets are right, but their ids do not ascend.",
        # miou
        "mean-of-images": "You averaged over images. Count all pixels of the set first, then divide, once a class.",
        "void-counted": "You counted pixels whose target is 255. They count neither for nor against.",
        "absent-is-zero": "A class that is nowhere got 0, and pulls the mean down. It is to be NaN, and left out.",
        "absent-is-one": "A class that is nowhere got 1, and pulls the mean up. It is to be NaN, and left out.",
        "missed-is-nan": "A class that is in the targets and that nobody predicted has IoU 0. It is not absent.",
        "dice": "You divided by both areas added up. That is the Dice coefficient's way.",
        "accuracy": "You divided by the true pixels only. What was predicted in the wrong place has to count, too.",
        "precision": "You divided by the predicted pixels only. What was missed has to count, too.",
        "no-background": "You left the background out of the mean. It is a class like the others here.",
        # results
        "label-for-category": "You wrote the label where the category's id belongs. See `category_of`.",
        "background-too": "You reported the background. Class 0 is no object.",
        "one-for-each-class": "Two things that do not touch became one record. Each segment is a record of its own.",
        "corners-join": "Two segments that touch at a corner only became one. Neighbours share a side.",
        "sure-of-everything": "Your score does not say how sure the network is. It is a mean probability.",
        "highest-pixel": "Your score is that of the surest pixel. It is the mean over the segment.",
        "too-strict": "You left out a segment of exactly `min_area` pixels. Only smaller ones go.",
        "specks-kept": "You kept a segment that is smaller than `min_area`.",
        "worst-first": "Your records go from the lowest score to the highest.",
        "bytes-for-text": "Your `counts` are bytes, which JSON cannot hold. `.decode()` makes a text of them.",
        "along-the-rows": "Your run lengths go along the mask's rows. COCO's go down the columns; "
        "`np.asfortranarray` puts an array so.",
    },
)


# ------------------------------------------------------------------------------------------------------------ usable


def listing(**file_names):
    """A document with an image for each name, by id; no info, no licenses, no annotations."""
    return {"images": [{"id": int(key[2:]), "file_name": name} for key, name in file_names.items()]}


@graded(
    "usable",
    points=1,
    title="A download that was cut off",
    hint="An image is usable if a file of exactly its name is there, and if nothing is in it, too.",
)
def test_cut_off(student, expect):
    document = listing(id9="e.jpg", id4="b.jpg", id7="c.jpg", id6="d.jpg", id2="000000000011.jpg")
    document["annotations"] = [{"id": 1, "image_id": image_id} for image_id in (4, 7, 2)]
    files = ["notes.txt", "e.jpg", "c.jpg.part", "b.jpg", "000000000011.jpg"]
    expect.given(images=document["images"], files=files, annotations="of the images 4, 7 and 2")
    expect.same(
        student.usable_images(document, files),
        [2, 4, 9],
        "the list of ids",
        mistaken={
            "empty-images-lost": [2, 4],
            "part-is-there": [2, 4, 7, 9],
            "all-of-them": [2, 4, 6, 7, 9],
            "name-from-id": [],
            "unsorted": [9, 4, 2],
        },
    )


@graded(
    "usable",
    points=0.5,
    title="A document that has images and nothing else",
    hint="`info`, `licenses` and `annotations` may be missing. Which key do you need?",
)
def test_bare_document(student, expect):
    expect.same(student.usable_images(listing(id5="a.jpg", id1="b.jpg"), ["a.jpg"]), [5], "the list of ids")




# ----------------------------------------------------------------------------------------------------------- targets

CAT, DOG, CUP = 17, 18, 47  # COCO's ids
LABEL_OF = {CAT: 1, DOG: 2}


def rectangle(top, left, bottom, right):
    """The polygon of the pixels in rows top to bottom - 1 and columns left to right - 1."""
    return [left, top, right, top, right, bottom, left, bottom]


def runs_of(mask):
    """Run lengths of a mask, down its columns, beginning with a run of 0."""
    counts, last = [0], 0
    for column in mask.T.tolist():
        for value in column:
            if value != last:
                counts.append(0)
                last = value
            counts[-1] += 1
    return counts


def annotated(size, *annotations, image_id=5):
    """A document of an image and its annotations, each (category, segmentation, further keys)."""
    records = []
    for number, (category, segmentation, more) in enumerate(annotations, start=1):
        one = {"id": number, "image_id": image_id, "category_id": category, "segmentation": segmentation}
        if isinstance(segmentation, list):
            corners = np.array([xy for polygon in segmentation for xy in zip(polygon[::2], polygon[1::2], strict=True)])
            (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
            one["bbox"] = [left, top, right - left, bottom - top]
        records.append(one | more)
    images = [{"id": 3, "height": 4, "width": 4, "file_name": "x.jpg"}]
    images.append({"id": image_id, "height": size[0], "width": size[1], "file_name": "y.jpg"})
    return {"images": images, "annotations": records}


def painted(size, *boxes):
    """A label map with these boxes (label, top, left, bottom, right) painted in turn."""
    labels = np.zeros(size, np.uint8)
    for label, top, left, bottom, right in boxes:
        labels[top:bottom, left:right] = label
    return labels


@graded(
    "targets",
    points=1,
    title="A cat in two pieces",
    hint="The cat behind a post has two polygons: rows 1 to 3, columns 1 to 2 and columns 5 to 7. The cup has no "
    "label, and the dog is in another image.",
)
def test_two_polygons(student, expect):
    size, post = (6, 10), [rectangle(1, 1, 4, 3), rectangle(1, 5, 4, 8)]
    document = annotated(size, (CAT, post, {}), (CUP, [rectangle(4, 0, 6, 2)], {}))
    dog = {"id": 9, "image_id": 3, "category_id": DOG, "segmentation": [rectangle(0, 0, 3, 3)]}
    document["annotations"].append({**dog, "bbox": [0, 0, 3, 3]})
    expect.given(annotations=document["annotations"], label_of=LABEL_OF)
    cat = (1, 1, 1, 4, 3), (1, 1, 5, 4, 8)
    expect.array(
        student.load_targets(document, 5, LABEL_OF),
        painted(size, *cat),
        "the label map",
        mistaken={
            "first-polygon": painted(size, cat[0]),
            "box-filled": painted(size, (1, 1, 1, 4, 8)),
            "other-images": painted(size, *cat, (2, 0, 0, 3, 3)),
            "by-place": painted(size, (CAT, 1, 1, 4, 3), (CAT, 1, 5, 4, 8)),
        },
    )


@graded(
    "targets",
    points=1,
    title="A crowd, a large dog, a small cat",
    hint="The crowd's pixels are 255, but for those of the dog. The cat is smaller than the dog, and lies on it.",
)
def test_order(student, expect):
    size = (6, 9)
    crowd = {"size": list(size), "counts": runs_of(painted(size, (1, 0, 0, 6, 4)))}
    document = annotated(
        size, (CAT, [rectangle(3, 4, 5, 6)], {}), (DOG, [rectangle(2, 2, 6, 8)], {}), (DOG, crowd, {"iscrowd": 1})
    )
    expect.given(annotations=document["annotations"], label_of=LABEL_OF)
    void, dog, cat = (255, 0, 0, 6, 4), (2, 2, 2, 6, 8), (1, 3, 4, 5, 6)
    along_rows = np.where(painted(size, (1, 0, 0, 6, 4)).T.reshape(size) == 1, 255, 0)
    along_rows = np.where(painted(size, dog, cat) > 0, painted(size, dog, cat), along_rows)
    expect.array(
        student.load_targets(document, 5, LABEL_OF),
        painted(size, void, dog, cat),
        "the label map",
        mistaken={
            "crowd-as-object": painted(size, (2, 0, 0, 6, 4), dog, cat),
            "crowd-on-top": painted(size, dog, cat, void),
            "crowd-left-out": painted(size, dog, cat),
            "small-hidden": painted(size, void, cat, dog),
            "rows-first": along_rows,
        },
    )


@graded(
    "targets",
    points=0.5,
    title="An image with nothing in it",
    hint="No annotations: every pixel is background, and the map has the image's size.",
)
def test_nothing_there(student, expect):
    expect.array(student.load_targets(annotated((3, 5)), 5, LABEL_OF), np.zeros((3, 5), np.uint8), "the label map")






# ------------------------------------------------------------------------------------------------------------- split


def a_set(rng, photos, copies):
    """Images by id, each with its photograph; the first `copies` photographs are there twice."""
    ids = rng.choice(100_000, photos + copies, replace=False).tolist()
    prints = [f"{value:012x}" for value in rng.choice(2**40, photos, replace=False).tolist()]
    return dict(zip(ids, prints + prints[:copies], strict=True))


def two_lists(got, expect):
    """The two sets that came back, sure that they are two lists of numbers."""
    good = isinstance(got, list | tuple) and len(got) == 2 and all(isinstance(part, list | tuple) for part in got)
    expect.true(good, "`split_images` should return two lists of ids.")
    expect.true(all(isinstance(one, int) for part in got for one in part), "The lists should hold ids, integers.")
    return [list(part) for part in got]


@graded(
    "split",
    points=1,
    title="Every image in one of two sets",
    hint="Ten photographs, a share of 0.3: three go to validation, seven to training, and none is lost.",
)
def test_every_image(student, rng, expect):
    photo_of = a_set(rng, 10, 0)
    train, validation = two_lists(student.split_images(photo_of, 0.3, 0), expect)
    expect.given(images=sorted(photo_of), your_training=train, your_validation=validation)
    expect.true(set(train) | set(validation) == set(photo_of), "Some images are in neither set.", hint="some-lost")
    expect.true(not set(train) & set(validation), "Some images are in both sets.", hint="photograph-in-both")
    swapped = len(validation) == 7
    expect.true(not swapped, "Validation should have 3 images, yours has 7.", hint="sides-swapped")
    expect.true(len(validation) == 3, f"Validation should have 3 images, yours has {len(validation)}.")
    good = train == sorted(train) and validation == sorted(validation)
    expect.true(good, "The ids of each set should ascend.", hint="not-in-order")


@graded(
    "split",
    points=1,
    title="Photographs that are there twice",
    hint="Draw photographs, not images. An image then goes where its photograph goes.",
)
def test_copies(student, rng, expect):
    photo_of = a_set(rng, 12, 8)
    expect.given(images_and_photographs={str(one): photo for one, photo in photo_of.items()})
    for seed in range(5):
        train, validation = two_lists(student.split_images(photo_of, 0.5, seed), expect)
        expect.true(set(train) | set(validation) == set(photo_of), "Some images are in neither set.", hint="some-lost")
        shared = {photo_of.get(one) for one in train} & {photo_of.get(one) for one in validation}
        message = f"{len(shared)} photographs are in both sets."
        expect.true(not shared, message, hint="photograph-in-both")
        count = len({photo_of[one] for one in validation})
        message = f"Validation should have 6 of the 12 photographs, yours has {count}."
        expect.true(count == 6, message, hint="share-of-images")






# -------------------------------------------------------------------------------------------------------------- miou


@graded(
    "miou",
    points=1,
    title="Two small images",
    hint="Count over both images: class 0 has 5 pixels in both and 8 in either, class 1 has 4 and 7. No pixel is of "
    "class 2, so it does not count.",
)
def test_two_images(student, expect):
    predictions = [np.array([[0, 0, 0, 1]]), np.array([[1, 1, 1, 0], [0, 0, 1, 1]])]
    targets = [np.array([[0, 0, 0, 0]]), np.array([[1, 1, 1, 1], [0, 0, 0, 1]])]
    expect.given(predictions=predictions, targets=targets, num_classes=3)
    mean, each = _pair(student.mean_iou(predictions, targets, 3), expect)
    a, b = 5 / 8, 4 / 7
    dice = (10 / 13 + 8 / 11) / 2
    of_images = (0.75 / 2 + (2 / 4 + 4 / 6) / 2) / 2
    expect.number(
        mean,
        (a + b) / 2,
        "the mean IoU",
        mistaken={
            "absent-is-zero": (a + b) / 3,
            "absent-is-one": (a + b + 1) / 3,
            "mean-of-images": of_images,
            "dice": dice,
            "accuracy": (5 / 7 + 4 / 5) / 2,
            "precision": (5 / 6 + 4 / 6) / 2,
            "no-background": b,
        },
    )
    wrong = {"absent-is-zero": np.array([a, b, 0]), "absent-is-one": np.array([a, b, 1])}
    expect.array(each, np.array([a, b, np.nan]), "the IoU of each class", tolerance=1e-6, mistaken=wrong)


@graded(
    "miou",
    points=1,
    title="Pixels that do not count, and a class that was missed",
    hint="Of the six pixels two are void. Class 2 is in the targets and nobody predicted it: its IoU is 0.",
)
def test_void(student, expect):
    predictions, targets = [np.array([[0, 0, 1], [1, 1, 0]])], [np.array([[0, 0, 1], [255, 255, 2]])]
    expect.given(predictions=predictions[0], targets=targets[0], num_classes=3)
    mean, each = _pair(student.mean_iou(predictions, targets, 3), expect)
    counted = (2 / 3 + 1 / 3) / 3
    expect.number(
        mean,
        (2 / 3 + 1) / 3,
        "the mean IoU",
        mistaken={"void-counted": counted, "missed-is-nan": (2 / 3 + 1) / 2},
    )
    expect.array(each, np.array([2 / 3, 1, 0]), "the IoU of each class", tolerance=1e-6)




def _pair(got, expect):
    good = isinstance(got, list | tuple) and len(got) == 2
    expect.true(good, "`mean_iou` should return two things: the mean, and the IoU of each class.")
    return got


# ----------------------------------------------------------------------------------------------------------- results

CATEGORY_OF = {1: CAT, 2: DOG}
KEYS = {"image_id", "category_id", "segmentation", "score"}


def as_probabilities(labels, sure):
    """Probabilities (3, H, W) whose largest is that of the labels, and `sure` there."""
    maps = np.empty((3, *labels.shape))
    maps[:] = (1 - sure) / 2
    for label in range(3):
        maps[label][labels == label] = sure[labels == label]
    return maps


def records_of(got, expect, size):
    """What came back as (category, score, mask), sure that it is in COCO's format."""
    expect.true(isinstance(got, list | tuple), "`to_coco_results` should return a list.")
    found = []
    for one in got:
        expect.true(isinstance(one, dict) and set(one) >= KEYS, f"Each record should have {', '.join(sorted(KEYS))}.")
        shape = one["segmentation"]
        good = isinstance(shape, dict) and list(shape.get("size", ())) in (list(size), list(size)[::-1])
        expect.true(good, f"`segmentation` should be a dict with the size {list(size)}.")
        counts = shape.get("counts")
        expect.true(not isinstance(counts, bytes), "`counts` should be text, yours are bytes.", hint="bytes-for-text")
        expect.true(isinstance(counts, str) and counts != "", "`counts` should be the run lengths as text.")
        good = isinstance(one["score"], float) and 0 <= one["score"] <= 1
        expect.true(good, "`score` should be a float from 0 to 1.")
        mask = _decode(counts, list(size), expect)
        found.append((one["category_id"], one["score"], mask))
    return found


def _decode(counts, size, expect):
    try:
        runs = coco_mask.decode({"size": size, "counts": counts.encode()})
    except (ValueError, RuntimeError, TypeError):
        runs = None
    expect.true(runs is not None, "`counts` could not be read as run lengths of the image.", hint="along-the-rows")
    return runs.astype(bool)


@graded(
    "results",
    points=1,
    title="Two cats, a dog and a speck",
    hint="The cat's label has two segments that do not touch: two records. The dog's speck of one pixel is below "
    "`min_area`, which is 2. The scores are 0.8, 0.7 and 0.6.",
)
def test_three_segments(student, expect):
    rows = "110002", "110000", "002200", "002201", "000001"
    labels = np.array([[int(label) for label in row] for row in rows])
    sure = np.where(labels == 0, 0.9, 0.6)
    sure[:2, :2], sure[3:, 5] = [[0.7, 0.9], [0.7, 0.9]], 0.7
    expect.given(labels=labels, probability_of_the_label=sure, category_of=CATEGORY_OF, min_area=2)
    got = student.to_coco_results(5, as_probabilities(labels, sure), CATEGORY_OF, 2)
    found = records_of(got, expect, labels.shape)
    cats = np.argwhere(labels == 1)
    joined = [mask for *_, mask in found if mask.sum() == len(cats)]
    mistaken = {
        "one-for-each-class": 2 if joined else -1,
        "specks-kept": 4 if any(mask.sum() == 1 for *_, mask in found) else -1,
        "too-strict": 2 if not joined and not any(mask.sum() == 2 for *_, mask in found) else -1,
        "background-too": 4 if any(mask.sum() > 10 for *_, mask in found) else -1,
    }
    expect.same(len(found), 3, "the number of records", mistaken=mistaken)
    expect.same(
        [category for category, *_ in found],
        [CAT, CAT, DOG],
        "the categories, by falling score",
        mistaken={"label-for-category": [1, 1, 2], "worst-first": [DOG, CAT, CAT]},
    )
    expect.array(
        np.array([score for _, score, _ in found]),
        np.array([0.8, 0.7, 0.6]),
        "the scores",
        tolerance=1e-6,
        mistaken={"sure-of-everything": np.ones(3), "highest-pixel": np.array([0.9, 0.7, 0.6])},
    )
    want = np.stack([painted(labels.shape, (1, *box)) for box in ((0, 0, 2, 2), (3, 5, 5, 6), (2, 2, 4, 4))])
    masks = np.stack([mask for *_, mask in found])
    turned = np.stack([mask.reshape(labels.shape[::-1]).T for mask in want])
    expect.array(masks, want, "the masks", mistaken={"along-the-rows": turned})
    expect.same({one["image_id"] for one in got}, {5}, "the image's id")


@graded(
    "results",
    points=1,
    title="Touching at a corner, and nothing at all",
    hint="Pixels belong together if they share a side. Where everything is background the list is empty.",
)
def test_corners(student, expect):
    labels = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    sure = np.where(labels == 1, 0.75, 0.9)
    expect.given(labels=labels, min_area=4)
    found = records_of(student.to_coco_results(1, as_probabilities(labels, sure), CATEGORY_OF, 4), expect, (4, 4))
    joined = {"corners-join": 1 if len(found) == 1 and found[0][2].sum() == 8 else -1}
    strict = {"too-strict": 0 if not found else -1}
    expect.same(len(found), 2, "the number of records", mistaken={**joined, **strict})
    nothing = as_probabilities(np.zeros((3, 4), int), np.full((3, 4), 0.8))
    expect.same(student.to_coco_results(1, nothing, CATEGORY_OF, 1), [], "the list where nothing is found")
