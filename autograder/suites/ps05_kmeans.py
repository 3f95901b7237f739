"""The tests of ps05: k-means step by step, a good start, and a score that does not care what clusters are called.

Students get this file without its hidden tests. So the tests that they can read hold cases worked by hand, and only
hidden ones compute what they expect.
"""

from itertools import permutations

import numpy as np

from autograder.forbidden import LIBRARIES
from autograder.suite import Exercise, graded

exercise = Exercise(
    "ps05-kmeans",
    cells={
        "features": 4,
        "nearest": 6,
        "update": 5,
        "inertia": 3,
        "kmeans": 7,
        "starts": 6,
        "agreement": 5,
    },
    preload=("numpy", "matplotlib.pyplot"),
    forbidden=(
        *LIBRARIES,
        "scipy",
        "torch",
    ),
    hints={
        # features
        "column-order": "The rows are in the wrong order: go along the first row of the picture from left to right, "
        "then the second, as `reshape` does by itself.",
        "not-scaled": "Your colours run from 0 to 255, the positions from 0 to 1. Which of the two would decide every "
        "distance?",
        "x-y-swapped": "x and y have changed places. Which of the two grows along a row, and which of an array's two "
        "indices is that?",
        "sides-apart": "You divided x by the width and y by the height. In a wide picture, one pixel to the right and "
        "one pixel down would then be different distances. One number must divide both.",
        # nearest
        "root-taken": "You took the square root. Here the squares themselves are asked for: they are what the means "
        "make small.",
        "city-block": "You added up the sizes of the differences. Square each of them before you add.",
        "centres-by-points": "Your array is transposed: a row for each point, a column for each centre.",
        "uint8-wraps": "What is 10 - 250 in uint8, and what is 16 · 16? Neither fits into 0 to 255. Convert before you "
        "subtract.",
        "farthest": "That is the centre farthest away.",
        "last-of-equals": "Where two centres are equally near, the one with the lower index wins. Yours takes the "
        "last.",
        "labels-from-1": "Your labels are one too high: a label is an index into the centres, and those start at 0.",
        # update
        "one-mean": "You took one mean over all points, or over all features at once. Each centre is the mean of its "
        "own points, feature by feature.",
        "median": "That is the median of the points. The sum of squared distances is least at another place.",
        "integer-means": "The centres came as whole numbers, and yours still are: whatever you write into an integer "
        "array is cut off. A mean needs an array of floats.",
        "mean-of-nothing": "A cluster without points has no mean: 0 / 0. What should its centre be, says the task?",
        "empty-at-zero": "A cluster without points went to 0, where perhaps nobody lives. It should stay where it was.",
        "cluster-dropped": "A cluster without points has disappeared, and all that follow have a new number. Its "
        "centre should stay where it was.",
        # inertia
        "mean-for-sum": "You divided by the number of points (or of all their features). Inertia is the sum.",
        "root-before-sum": "You added up distances. Inertia adds up their squares.",
        "nearest-for-own": "You took each point's nearest centre. Asked is the centre of the cluster that its label "
        "names, near or not.",
        # kmeans
        "one-round": "One round of two steps is not enough: the new means change who is nearest to whom.",
        "old-centres": "Your inertias are measured before the means of the same round are renewed. First both steps, "
        "then the measurement.",
        "last-round-missing": "One inertia is missing: the round that finds no label changed is a round too.",
        "never-stops": "Your loop runs on to `max_iterations`, although no label changes any more.",
        "limit-ignored": "You ran more rounds than `max_iterations` allows.",
        # starts
        "plain-random": "Your later centres are drawn as the first is, all points alike. In k-means++ a point's chance "
        "is the square of its distance to the nearest centre there is.",
        "distance-for-square": "A point's chance should grow with the square of its distance to the nearest centre.",
        "last-centre-only": "You measured distances to the centre chosen last. A point near any chosen centre, "
        "old or new, should have a small chance.",
        "farthest-point": "You took the farthest point each time. One outlier would then always be a centre; the "
        "farthest point has the best chance, but no certainty. Use the random number.",
        "chosen-twice": "A centre was chosen twice. The weight of a chosen point is 0, so no number may lead to it: is "
        "the running sum greater than the number sought, or equal to it?",
        # agreement
        "no-renaming": "You compared the labels as they are. But k-means numbers its clusters by chance: which "
        "renaming of the clusters makes the two maps most alike?",
        "many-to-one": "Two clusters got the same name, so that both could be right. Each name can be given once.",
        "greedy": "You gave away the largest overlap first. That can force a bad name on the rest: look at all ways to "
        "hand out the names.",
        "count-for-share": "That is a number of pixels. Asked is a share of all pixels, 0 to 1.",
    },
)


# ---------------------------------------------------------------------------------------------------------- features


@graded(
    "features",
    points=1,
    title="The colours of six pixels",
    hint="One row for each pixel, in reading order: its red, green and blue, divided by 255.",
)
def test_colours_by_hand(student, expect):
    image = np.array([[[255, 0, 0], [0, 51, 0], [0, 0, 102]], [[0, 0, 0], [255, 255, 255], [153, 204, 51]]], np.uint8)
    expect.given(image=image)
    rows = np.array([[1, 0, 0], [0, 0.2, 0], [0, 0, 0.4], [0, 0, 0], [1, 1, 1], [0.6, 0.8, 0.2]])
    want = np.pad(rows, ((0, 0), (0, 2)))
    expect.array(
        student.features(image, 0),
        want,
        "the features",
        kind="float",
        tolerance=1e-6,
        mistaken={"column-order": want[[0, 3, 1, 4, 2, 5]], "not-scaled": 255 * want},
    )


@graded(
    "features",
    points=1,
    title="The positions in a black picture of 2 × 4 pixels",
    hint="x counts columns from 0 and y counts rows from 0; both are divided by the longer side and multiplied by the "
    "weight.",
)
def test_positions_by_hand(student, expect):
    image = np.zeros((2, 4, 3), np.uint8)
    expect.given(shape=image.shape, position_weight=2)
    x = np.array([0, 0.5, 1, 1.5, 0, 0.5, 1, 1.5])
    y = np.array([0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5])
    black = np.zeros((8, 3))
    expect.array(
        student.features(image, 2),
        np.column_stack([black, x, y]),
        "the features",
        kind="float",
        tolerance=1e-6,
        mistaken={
            "x-y-swapped": np.column_stack([black, y, x]),
            "sides-apart": np.column_stack([black, x, 2 * y]),
            "column-order": np.column_stack([black, x, y])[[0, 4, 1, 5, 2, 6, 3, 7]],
        },
    )


@graded(
    "features",
    points=2,
    title="A picture of any size and any weight",
    hint="Try a picture that is higher than wide, and a weight below 1. Do colours stay the same whatever the weight?",
    hidden=True,
)
def test_features_of_a_picture(student, rng, expect):
    height, width = (int(side) for side in rng.permutation([rng.integers(5, 9), rng.integers(10, 14)]))
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    weight = float(rng.uniform(0.1, 3))
    want, swapped, apart = [], [], []
    for y in range(height):
        for x in range(width):
            colour = [int(channel) / 255 for channel in image[y, x]]
            place = [weight * x / max(height, width), weight * y / max(height, width)]
            want.append(colour + place)
            swapped.append(colour + place[::-1])
            apart.append([*colour, weight * x / width, weight * y / height])
    mistaken = {"x-y-swapped": np.array(swapped), "sides-apart": np.array(apart)}
    expect.array(student.features(image, weight), np.array(want), "the features", tolerance=1e-6, mistaken=mistaken)


# ----------------------------------------------------------------------------------------------------------- nearest


@graded(
    "nearest",
    points=1,
    title="Three points and two centres",
    hint="For each pair: subtract feature by feature, square, add up. From (3, 4) to (3, 0) it is 0² + 4².",
)
def test_squared_distances_by_hand(student, expect):
    points, centres = np.array([[0.0, 0], [3, 4], [1, 1]]), np.array([[0.0, 0], [3, 0]])
    expect.given(points=points, centres=centres)
    want = np.array([[0, 9], [25, 16], [2, 5]])
    expect.array(
        student.squared_distances(points, centres),
        want,
        "the squared distances",
        tolerance=1e-6,
        mistaken={
            "root-taken": np.sqrt(want),
            "city-block": np.array([[0, 3], [7, 4], [2, 3]]),
            "centres-by-points": want.T,
        },
    )


@graded(
    "nearest",
    points=1,
    title="Distances of colours as a picture holds them",
    hint="Both arrays are uint8 here. Follow one pair by hand and look at each number on the way.",
)
def test_squared_distances_of_bytes(student, expect):
    points = np.array([[10, 20, 30], [250, 20, 30], [0, 0, 255]], np.uint8)
    centres = np.array([[250, 20, 30], [26, 20, 30]], np.uint8)
    expect.given(points=points, centres=centres)
    expect.array(
        student.squared_distances(points, centres),
        np.array([[57600, 256], [0, 50176], [113525, 51701]]),
        "the squared distances",
        tolerance=1e-6,
        mistaken={"uint8-wraps": np.array([[0, 0], [0, 0], [36 + 144 + 193, 164 + 144 + 193]])},
    )


@graded(
    "nearest",
    points=1.5,
    title="Distances of many points",
    hint="Any number of points, centres and features: what are the shapes of `points[:, None]` and of their "
    "difference with `centres`?",
    hidden=True,
)
def test_squared_distances_of_many(student, rng, expect):
    count, number, size = int(rng.integers(20, 40)), int(rng.integers(2, 7)), int(rng.integers(1, 6))
    points, centres = rng.normal(size=(count, size)), rng.normal(size=(number, size))
    want = np.array([[sum((p - c) ** 2 for p, c in zip(a, b, strict=True)) for b in centres] for a in points])
    mistaken = {"root-taken": np.sqrt(want), "centres-by-points": want.T}
    got = student.squared_distances(points, centres)
    expect.array(got, want, "the squared distances", tolerance=1e-6, mistaken=mistaken)


@graded(
    "nearest",
    points=1,
    title="Labels from a table of distances",
    hint="For each row, the index of its least number. In the third row, two are equal.",
)
def test_assign_by_hand(student, expect):
    distances = np.array([[4.0, 1, 9], [0, 5, 2], [7, 3, 3], [8, 6, 5]])
    expect.given(squared_distances=distances)
    want = np.array([1, 0, 1, 2])
    expect.array(
        student.assign(distances),
        want,
        "the labels",
        kind="integer",
        mistaken={
            "farthest": np.array([2, 1, 0, 0]),
            "last-of-equals": np.array([1, 0, 2, 2]),
            "labels-from-1": want + 1,
        },
    )


@graded(
    "nearest",
    points=1.5,
    title="Labels of many points, with ties",
    hint="The lowest index wins every tie, also between centres that are not neighbours in the table.",
    hidden=True,
)
def test_assign_many(student, rng, expect):
    distances = rng.integers(0, 4, (60, int(rng.integers(3, 7)))).astype(float)
    rows = distances.tolist()
    last = [len(row) - 1 - row[::-1].index(min(row)) for row in rows]
    expect.array(
        student.assign(distances),
        np.array([row.index(min(row)) for row in rows]),
        "the labels",
        mistaken={"last-of-equals": np.array(last), "farthest": np.array([row.index(max(row)) for row in rows])},
    )


# ------------------------------------------------------------------------------------------------------------ update


@graded(
    "update",
    points=1.5,
    title="Two clusters in the plane",
    hint="Cluster 0 has the points (0, 0), (2, 0), (4, 6). The mean of their first numbers is 2, of their second 2.",
)
def test_update_by_hand(student, expect):
    points = np.array([[0.0, 0], [2, 0], [10, 1], [4, 6], [12, 4]])
    labels = np.array([0, 0, 1, 0, 1])
    centres = np.array([[1.0, 1], [9, 9]])
    expect.given(points=points, labels=labels, centres=centres)
    expect.array(
        student.update(points, labels, centres),
        np.array([[2, 2], [11, 2.5]]),
        "the new centres",
        kind="float",
        tolerance=1e-6,
        mistaken={
            "one-mean": np.array([[2, 2], [6.75, 6.75]]),
            "median": np.array([[2, 0], [11, 2.5]]),
        },
    )


@graded(
    "update",
    points=1,
    title="Centres that came as whole numbers",
    hint="The first centres are often colours of the picture, so they are integers. Their means are not.",
)
def test_update_of_integers(student, expect):
    points = np.array([[1, 4], [2, 4], [7, 0], [8, 3]])
    labels, centres = np.array([0, 0, 1, 1]), np.array([[0, 0], [9, 9]])
    expect.given(points=points, labels=labels, centres=centres)
    expect.array(
        student.update(points, labels, centres),
        np.array([[1.5, 4], [7.5, 1.5]]),
        "the new centres",
        tolerance=1e-6,
        mistaken={"integer-means": np.array([[1, 4], [7, 1]])},
    )


@graded(
    "update",
    points=1,
    title="A cluster that nobody chose",
    hint="Which labels occur, and what does the task say about the others?",
    hidden=True,
)
def test_update_of_an_empty_cluster(student, rng, expect):
    points = rng.normal(size=(12, 2))
    labels = np.repeat([0, 2, 4], 4)[rng.permutation(12)]
    centres = rng.normal(size=(5, 2)) + 3
    means = {label: points[labels == label].mean(axis=0) for label in (0, 2, 4)}
    want = np.array([means.get(label, centres[label]) for label in range(5)])
    empty = np.isin(range(5), [1, 3])[:, None]
    expect.array(
        student.update(points, labels, centres),
        want,
        "the new centres",
        tolerance=1e-6,
        mistaken={
            "mean-of-nothing": np.where(empty, np.nan, want),
            "empty-at-zero": np.where(empty, 0, want),
            "cluster-dropped": want[[0, 2, 4]],
        },
    )


@graded(
    "update",
    points=1.5,
    title="Many points with many features",
    hint="Loop over the clusters, not over the points, and let `mean` work along the right axis.",
    hidden=True,
)
def test_update_of_many(student, rng, expect):
    number, size = int(rng.integers(3, 8)), int(rng.integers(2, 6))
    points = rng.normal(size=(90, size))
    labels = np.concatenate([np.arange(number), rng.integers(0, number, 90 - number)])
    want = [[sum(p[j] for p in points[labels == k]) / sum(labels == k) for j in range(size)] for k in range(number)]
    got = student.update(points, labels, rng.normal(size=(number, size)))
    expect.array(got, np.array(want), "the new centres", tolerance=1e-6)


# ----------------------------------------------------------------------------------------------------------- inertia


@graded(
    "inertia",
    points=1.5,
    title="Four points, one of them in the wrong cluster",
    hint="(0, 0) to (0, 1) is 1, squared 1; (0, 3) to (0, 1) is 2, squared 4; and so on. Add up.",
)
def test_inertia_by_hand(student, expect):
    points = np.array([[0.0, 0], [0, 3], [6, 1], [1, 1]])
    labels, centres = np.array([0, 0, 1, 1]), np.array([[0.0, 1], [4, 1]])
    expect.given(points=points, labels=labels, centres=centres)
    expect.number(
        student.inertia(points, labels, centres),
        1 + 4 + 4 + 9,
        "the inertia",
        mistaken={"mean-for-sum": 18 / 4, "root-before-sum": 1 + 2 + 2 + 3, "nearest-for-own": 1 + 4 + 4 + 1},
    )


@graded(
    "inertia",
    points=1.5,
    title="The inertia of many points",
    hint="`centres[labels]` puts the right centre beside each point.",
    hidden=True,
)
def test_inertia_of_many(student, rng, expect):
    number, size = int(rng.integers(2, 6)), int(rng.integers(1, 6))
    points, centres = rng.normal(size=(50, size)), rng.normal(size=(number, size))
    labels = rng.integers(0, number, 50)
    squares = [
        sum((a - b) ** 2 for a, b in zip(p, centres[k], strict=True)) for p, k in zip(points, labels, strict=True)
    ]
    nearest = [min(sum((a - b) ** 2 for a, b in zip(p, c, strict=True)) for c in centres) for p in points]
    mistaken = {
        "mean-for-sum": sum(squares) / 50,
        "root-before-sum": sum(np.sqrt(squares)),
        "nearest-for-own": sum(nearest),
    }
    expect.number(student.inertia(points, labels, centres), sum(squares), "the inertia", mistaken=mistaken)


# ------------------------------------------------------------------------------------------------------------ kmeans


def three_parts(got, expect):
    is_triple = isinstance(got, list | tuple) and len(got) == 3
    expect.true(is_triple, "`kmeans` should return three things: the labels, the centres and the inertias.")
    return got


LINE = np.array([[1.0], [2], [9], [10]])


@graded(
    "kmeans",
    points=2,
    title="Four points on a line",
    hint="Write the rounds on paper. Round 1: labels 0 1 1 1, means 1 and 7. Round 2: who is nearest to 1 now?",
)
def test_line_by_hand(student, expect):
    expect.given(points=LINE.ravel(), centres=[1, 2])
    labels, centres, _ = three_parts(student.kmeans(LINE, np.array([[1.0], [2]])), expect)
    expect.array(labels, np.array([0, 0, 1, 1]), "the labels", mistaken={"one-round": np.array([0, 1, 1, 1])})
    expect.array(centres, np.array([[1.5], [9.5]]), "the centres", tolerance=1e-6)


@graded(
    "kmeans",
    points=1.5,
    title="The inertia after each round",
    hint="Three rounds: the third finds that no label has changed. An inertia stands for labels and means of the "
    "same round.",
)
def test_line_inertias(student, expect):
    expect.given(points=LINE.ravel(), centres=[1, 2])
    _, _, inertias = three_parts(student.kmeans(LINE, np.array([[1.0], [2]])), expect)
    expect.array(
        inertias,
        np.array([38.0, 1, 1]),
        "the list of inertias",
        tolerance=1e-6,
        mistaken={
            "one-round": np.array([38.0]),
            "old-centres": np.array([113.0, 14, 1]),
            "last-round-missing": np.array([38.0, 1]),
            "never-stops": np.array([38.0] + 99 * [1.0]),
        },
    )


def lloyd(points, centres, rounds):
    """k-means in plain loops: labels, centres, inertias."""
    centres, before, inertias = [list(map(float, centre)) for centre in centres], None, []
    for _ in range(rounds):
        squares = [[sum((a - b) ** 2 for a, b in zip(p, c, strict=True)) for c in centres] for p in points]
        labels = [row.index(min(row)) for row in squares]
        for k in range(len(centres)):
            own = [p for p, label in zip(points, labels, strict=True) if label == k]
            if own:
                centres[k] = [sum(values) / len(own) for values in zip(*own, strict=True)]
        pairs = zip(points, labels, strict=True)
        inertias.append(sum(sum((a - b) ** 2 for a, b in zip(p, centres[k], strict=True)) for p, k in pairs))
        if labels == before:
            break
        before = labels
    return np.array(labels), np.array(centres), np.array(inertias)


@graded(
    "kmeans",
    points=1,
    title="No more rounds than allowed",
    hint="`max_iterations` can be reached before the labels have come to rest.",
    hidden=True,
)
def test_limit(student, rng, expect):
    points = np.arange(30.0)[:, None] + rng.uniform(0, 0.4, (30, 1))
    start = points[:3] + 0.01
    _, _, all_inertias = lloyd(points, start, 100)
    _, _, inertias = three_parts(student.kmeans(points, start, 3), expect)
    wanted = lloyd(points, start, 3)[2]
    mistaken = {"limit-ignored": all_inertias, "one-round": wanted[:1]}
    expect.array(inertias, wanted, "the list of inertias", tolerance=1e-6, mistaken=mistaken)


@graded(
    "kmeans",
    points=2.5,
    title="Heaps of points, and a start of whole numbers",
    hint="Test with heaps of your own, started from integers, and with a start so far away that nobody chooses it.",
    hidden=True,
)
def test_heaps(student, rng, expect):
    middles = rng.permutation([(0, 0), (9, 1), (1, 8), (10, 10)])
    points = np.concatenate([middle + rng.normal(size=(15, 2)) for middle in middles])
    start = np.array([(0, 0), (1, 1), (2, 0), (3, 2), (500, 500)])
    want_labels, want_centres, _ = lloyd(points, start, 100)
    labels, centres, _ = three_parts(student.kmeans(points, start), expect)
    expect.array(labels, want_labels, "the labels")
    expect.array(centres, want_centres, "the centres", tolerance=1e-6)


# ------------------------------------------------------------------------------------------------------------ starts


@graded(
    "starts",
    points=2,
    title="Three of four points on a line",
    hint="The first is points[int(0.3 · 4)]. Then the squared distances to it are 1, 0, 9, 81, in sum 91; their "
    "running sums are 1, 1, 10, 91. Which is the first above 0.2 · 91?",
)
def test_starts_by_hand(student, expect):
    points = np.array([[0.0], [1], [4], [10]])
    expect.given(points=points.ravel(), uniforms=[0.3, 0.2, 0.5])
    expect.array(
        student.choose_starts(points, [0.3, 0.2, 0.5]),
        np.array([[1], [10], [4]]),
        "the starting centres",
        mistaken={
            "plain-random": np.array([[1], [0], [4]]),
            "distance-for-square": np.array([[1], [4], [10]]),
            "last-centre-only": np.array([[1], [10], [1]]),
        },
    )


@graded(
    "starts",
    points=1,
    title="Not always the farthest",
    hint="The squared distances to the first centre are 0, 1, 4, 9, their running sums 0, 1, 5, 14. Which is the first "
    "above 0.2 · 14?",
)
def test_starts_not_the_farthest(student, expect):
    points = np.arange(4.0)[:, None]
    expect.given(points=points.ravel(), uniforms=[0, 0.2])
    got = student.choose_starts(points, [0.0, 0.2])
    mistaken = {"farthest-point": np.array([[0], [3]]), "plain-random": np.array([[0], [0]])}
    expect.array(got, np.array([[0], [2]]), "the starting centres", mistaken=mistaken)


@graded(
    "starts",
    points=1,
    title="No point twice",
    hint="What happens when a random number is exactly 0? And can a chosen point be chosen again?",
    hidden=True,
)
def test_starts_differ(student, rng, expect):
    points = rng.permutation(8)[:5, None].astype(float)
    want, twice = points[:3], points[[0, 0, 0]]
    got = student.choose_starts(points, [0.0, 0.0, 0.0])
    expect.array(got, want, "the starting centres", mistaken={"chosen-twice": twice})


@graded(
    "starts",
    points=2,
    title="Many points in space",
    hint="Keep, for each point, the squared distance to the nearest of all centres chosen so far.",
    hidden=True,
)
def test_starts_of_many(student, rng, expect):
    points, uniforms = rng.normal(size=(40, 3)), rng.random(5)
    got = student.choose_starts(points, uniforms.tolist())
    mistaken = {
        "distance-for-square": plus_plus(points, uniforms, power=0.5),
        "last-centre-only": plus_plus(points, uniforms, last_only=True),
    }
    expect.array(got, plus_plus(points, uniforms), "the starting centres", tolerance=1e-9, mistaken=mistaken)


def plus_plus(points, uniforms, power=1.0, last_only=False):
    """k-means++ in plain loops, or one of its misreadings."""
    chosen = [points[int(uniforms[0] * len(points))]]
    for uniform in uniforms[1:]:
        known = chosen[-1:] if last_only else chosen
        weights = [min(float(((p - c) ** 2).sum()) for c in known) ** power for p in points]
        goal, running = uniform * sum(weights), 0.0
        for point, weight in zip(points, weights, strict=True):
            running += weight
            if running > goal:
                chosen.append(point)
                break
    return np.array(chosen)


# --------------------------------------------------------------------------------------------------------- agreement


@graded(
    "agreement",
    points=1.5,
    title="The same regions under other names",
    hint="Here cluster 0 is class 2, cluster 1 is class 0 and cluster 2 is class 1: with these names, all 8 "
    "pixels agree.",
)
def test_other_names(student, expect):
    labels = np.array([[0, 0, 1, 1], [0, 2, 2, 1]])
    truth = np.array([[2, 2, 0, 0], [2, 1, 1, 0]])
    expect.given(labels=labels, truth=truth)
    got = student.best_agreement(labels, truth, 3)
    expect.number(got, 1, "the agreement", mistaken={"no-renaming": 0, "count-for-share": 8})


@graded(
    "agreement",
    points=1,
    title="Two clusters that want the same name",
    hint="Both clusters lie mostly on class 0. Only one can be called 0; which choice leaves more pixels right?",
)
def test_one_name_each(student, expect):
    labels = np.array([[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    truth = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]])
    expect.given(labels=labels, truth=truth)
    got = student.best_agreement(labels, truth, 2)
    mistaken = {"many-to-one": 9 / 12, "count-for-share": 8}
    expect.number(got, 8 / 12, "the agreement", mistaken=mistaken)


@graded(
    "agreement",
    points=1,
    title="When the largest overlap misleads",
    hint="Try every way to hand out the names, also those that begin with a small overlap.",
    hidden=True,
)
def test_largest_overlap_misleads(student, rng, expect):
    base = int(rng.integers(5, 12))
    table = np.array([[base + 2, base], [base, 0]])  # pixels by cluster and class
    labels, truth = maps_of(table, rng)
    total = int(table.sum())
    mistaken = {"greedy": (base + 2) / total, "many-to-one": (2 * base + 2) / total}
    expect.number(student.best_agreement(labels, truth, 2), 2 * base / total, "the agreement", mistaken=mistaken)


@graded(
    "agreement",
    points=1.5,
    title="Four clusters on a noisy map",
    hint="With k clusters there are k! ways to hand out k names; for 4 that is 24, few enough to try them all.",
    hidden=True,
)
def test_four_clusters(student, rng, expect):
    truth = rng.integers(0, 4, (12, 15))
    labels = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, 4, truth.shape), (truth + rng.integers(1, 4)) % 4)
    shares = [np.mean(np.array(names)[labels] == truth) for names in permutations(range(4))]
    plain = float(np.mean(labels == truth))
    got = student.best_agreement(labels, truth, 4)
    expect.number(got, max(shares), "the agreement", mistaken={"no-renaming": plain})


def maps_of(table, rng):
    """Two flat maps, as one row, whose pixels by cluster and class are `table`."""
    cells = [cell for cell in np.ndindex(table.shape) for _ in range(table[cell])]
    pairs = rng.permutation(np.array(cells))
    return pairs[None, :, 0], pairs[None, :, 1]
