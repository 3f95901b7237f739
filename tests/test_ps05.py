"""The reference solution of ps05 against scikit-learn and SciPy."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import confusion_matrix

from segedu.datasets import photos


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of("ps05-kmeans")


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    return photos.load("coffee").image[::10, ::10].reshape(-1, 3) / 255


def test_features_are_colours_and_scaled_places(reference):
    image = photos.load("astronaut").image[::16, ::8]
    points = reference["features"](image, 2.0)
    height, width = image.shape[:2]
    np.testing.assert_array_equal(points[:, :3].reshape(image.shape), image / 255)
    np.testing.assert_allclose(points[:, 3].reshape(height, width), np.tile(np.arange(width) * 2 / width, (height, 1)))
    np.testing.assert_allclose(points[::width, 4], np.arange(height) * 2 / width)


def test_distances_are_those_of_scipy(reference, colours):
    theirs = cdist(colours, colours[:7], "sqeuclidean")
    np.testing.assert_allclose(reference["squared_distances"](colours, colours[:7]), theirs, atol=1e-12)


@pytest.mark.parametrize("number", [1, 2, 5, 8])
def test_kmeans_is_that_of_scikit_learn(reference, colours, number):
    start = colours[np.random.default_rng(number).choice(len(colours), number, replace=False)]
    labels, centres, inertias = reference["kmeans"](colours, start, 300)
    theirs = KMeans(number, init=start, n_init=1, max_iter=300, tol=0, algorithm="lloyd").fit(colours)
    np.testing.assert_array_equal(labels, theirs.labels_)
    np.testing.assert_allclose(centres, theirs.cluster_centers_, atol=1e-9)
    assert inertias[-1] == pytest.approx(theirs.inertia_)
    assert inertias[-1] == pytest.approx(reference["inertia"](colours, labels, centres))
    assert len(inertias) == theirs.n_iter_


@given(seed=st.integers(0, 10**6), number=st.integers(1, 6))
def test_inertia_never_grows(reference_of, seed, number):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 20, (40, 2)).astype(float)
    _, _, inertias = reference_of("ps05-kmeans")["kmeans"](points, points[:number])
    assert all(after <= before + 1e-9 for before, after in pairwise(inertias))


def test_starts_are_drawn_with_the_right_chances(reference):
    points = np.array([[0.0], [1], [4], [10]])
    rng = np.random.default_rng(0)
    second = [reference["choose_starts"](points, [0.0, u])[1, 0] for u in rng.random(4000)]
    shares = [np.mean(np.array(second) == place) for place in (1, 4, 10)]
    np.testing.assert_allclose(shares, np.array([1, 16, 100]) / 117, atol=0.02)


@given(seed=st.integers(0, 10**6), number=st.integers(2, 5))
def test_agreement_is_the_best_assignment(reference_of, seed, number):
    rng = np.random.default_rng(seed)
    labels, truth = rng.integers(0, number, (2, 6, 9))
    table = confusion_matrix(labels.ravel(), truth.ravel(), labels=range(number))
    best = table[linear_sum_assignment(table, maximize=True)].sum() / labels.size
    assert reference_of("ps05-kmeans")["best_agreement"](labels, truth, number) == pytest.approx(best)
