"""k-means against scikit-learn and OpenCV, and the properties that it must have."""

import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Peer
from sklearn.exceptions import ConvergenceWarning
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.classical import kmeans, lloyd, lloyd_round
from segedu.datasets import photos

both_rounds = pytest.mark.parametrize("find", [kmeans, lambda *args, **options: by_torch(*args, **options)])
COLOUR = [name for name in photos.names() if photos.load(name).image.ndim == 3]


def channels_first(name: str, step: int = 3) -> np.ndarray:
    return np.ascontiguousarray(photos.load(name).image[::step, ::step].transpose(2, 0, 1))


def points_of(image: np.ndarray) -> np.ndarray:
    return image.reshape(len(image), -1).T.astype(np.float64)


def some_points(image: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """First centres near pixels, but a little off: between whole numbers there are ties, which scikit-learn's formula
    decides by rounding."""
    points, rng = np.unique(points_of(image), axis=0), np.random.default_rng(seed)
    return points[rng.choice(len(points), k, replace=False)] + rng.uniform(0, 0.5, (k, points.shape[1]))


def peer(points: np.ndarray, start: np.ndarray, iterations: int, tolerance: float = 0) -> Peer:
    model = Peer(len(start), init=start, n_init=1, max_iter=iterations, tol=tolerance, algorithm="lloyd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(points)


def by_torch(image: np.ndarray, k: int, **options):
    """The same by the rounds for other devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lloyd, "in_memory", lambda tensor: False)
        return kmeans(image, k, **options)


@pytest.mark.parametrize("k", [2, 5, 8])
@pytest.mark.parametrize("name", COLOUR)
def test_photographs_as_scikit_learn(name, k):
    image = channels_first(name)
    start = some_points(image, k)
    theirs = peer(points_of(image), start, 10)
    ours = kmeans(image.astype(np.float64), k, start=start, iterations=10, tolerance=0)
    np.testing.assert_array_equal(ours.labels.ravel(), theirs.labels_)
    np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, rtol=1e-9)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-9)
    assert ours.iterations == theirs.n_iter_
    # Centres of bytes are float32: a pixel half-way between two may change sides.
    ours = kmeans(image, k, start=start, iterations=10, tolerance=0)
    assert np.mean(ours.labels.ravel() == theirs.labels_) > 0.999
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)


@pytest.mark.parametrize("tolerance", [0, 1e-4, 1e-2])
def test_rest_as_scikit_learn(tolerance):
    image = channels_first("coffee", 6)
    start = some_points(image, 4)
    ours = kmeans(image.astype(np.float64), 4, start=start, iterations=300, tolerance=tolerance)
    theirs = peer(points_of(image), start, 300, tolerance)
    assert ours.converged and ours.iterations == theirs.n_iter_
    np.testing.assert_array_equal(ours.labels.ravel(), theirs.labels_)


def test_rest_as_opencv():
    image = channels_first("chelsea", 5)
    points = points_of(image).astype(np.float32)
    start = some_points(image, 4)
    first = peer(points_of(image), start, 1).predict(points_of(image)).astype(np.int32)
    # OpenCV begins with labels, from which it takes the first means.
    criteria, flags = (cv2.TERM_CRITERIA_MAX_ITER, 300, 0), cv2.KMEANS_USE_INITIAL_LABELS
    inertia, labels, centres = cv2.kmeans(points, 4, first[:, None], criteria, 1, flags)
    ours = kmeans(image, 4, start=start, iterations=300, tolerance=0)
    np.testing.assert_allclose(ours.centres, centres, atol=0.05)
    assert np.mean(ours.labels.ravel() == labels.ravel()) > 0.999
    assert ours.inertia == pytest.approx(inertia, rel=1e-4)


@pytest.mark.parametrize("position_weight", [0, 0.7])
@pytest.mark.parametrize("start", ["k-means++", "random"])
def test_compiled_and_torch_rounds_agree(start, position_weight):
    image = channels_first("astronaut", 4).astype(np.float64)
    options = {"start": start, "iterations": 12, "position_weight": position_weight, "seed": 3}
    ours, theirs = kmeans(image, 5, **options), by_torch(image, 5, **options)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_allclose(ours.centres, theirs.centres, rtol=1e-12)
    assert ours.inertia == pytest.approx(theirs.inertia, rel=1e-12)


@pytest.mark.parametrize("share", [1000, 1 << 15])
def test_compiled_and_torch_rounds_of_bytes_agree_bit_for_bit(share, monkeypatch):
    monkeypatch.setattr(lloyd, "SHARE", share)
    monkeypatch.setattr(lloyd, "HELD", 2 * share)
    image = channels_first("rocket", 4)
    for iterations in (1, 7):
        ours, theirs = (run(image, 6, iterations=iterations, tolerance=0) for run in (kmeans, by_torch))
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(ours.centres, theirs.centres)
        assert ours.inertia == pytest.approx(theirs.inertia, rel=1e-12)


@given(seed=st.integers(0, 10**6), k=st.integers(1, 6))
@settings(max_examples=40)
def test_every_pixel_has_its_nearest_centre_and_more_rounds_are_no_worse(seed, k):
    image = np.random.default_rng(seed).integers(0, 256, (2, 7, 9)).astype(np.uint8)
    before = np.inf
    for iterations in (1, 2, 4, 50):
        found = kmeans(image, k, iterations=iterations, tolerance=0, seed=seed)
        squared = ((points_of(image)[:, None] - found.centres) ** 2).sum(-1)
        np.testing.assert_allclose(np.take_along_axis(squared, found.labels.reshape(-1, 1), 1)[:, 0], squared.min(1))
        assert found.inertia == pytest.approx(squared.min(1).sum(), rel=1e-5)
        assert found.inertia <= before * (1 + 1e-6)
        before = found.inertia
    means = [points_of(image)[found.labels.ravel() == label].mean(0) for label in range(k)]
    np.testing.assert_allclose(found.centres, means, rtol=1e-5)


@given(seed=st.integers(0, 10**6), colours=st.integers(1, 5))
@settings(max_examples=30)
def test_a_centre_for_each_colour_leaves_nothing(seed, colours):
    rng = np.random.default_rng(seed)
    palette = rng.choice(256, (colours, 1), replace=False).astype(np.uint8)
    image = palette[np.concatenate([np.arange(colours), rng.integers(0, colours, 35)])].reshape(1, -1, 1)
    found = kmeans(image, colours, restarts=3, seed=seed)
    assert found.inertia == 0
    np.testing.assert_array_equal(found.painted(), image)


def test_one_cluster_is_the_mean():
    image = channels_first("coffee")
    found = kmeans(image, 1)
    np.testing.assert_allclose(found.centres[0], image.mean((1, 2)), rtol=1e-6)
    assert found.inertia == pytest.approx(image.reshape(3, -1).var(1).sum() * image[0].size, rel=1e-5)


def test_a_centre_without_pixels_goes_to_the_farthest_pixel():
    image = np.array([[[0, 1, 2, 3, 100]]], np.float64)
    found = kmeans(image, 2, start=np.array([[1.0], [1000]]), iterations=100, tolerance=0)
    np.testing.assert_array_equal(found.centres, [[1.5], [100]])
    theirs = peer(points_of(image[0]), np.array([[1.0], [1000]]), 100)
    np.testing.assert_array_equal(found.labels.ravel(), theirs.labels_)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_one_centre_without_pixels_as_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(2, 6, 9))
    start = np.concatenate([rng.normal(size=(3, 2)), [[1000, 1000]]])
    ours, theirs = kmeans(image, 4, start=start, tolerance=0), peer(points_of(image), start, 100)
    np.testing.assert_array_equal(ours.labels.ravel(), theirs.labels_)
    np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, atol=1e-9)


@both_rounds
def test_many_centres_without_pixels(find):
    image = np.random.default_rng(0).normal(size=(2, 5, 4))
    found = find(image, 20, start=np.full((20, 2), 7.0), tolerance=0)
    assert found.inertia == 0 and len(np.unique(found.labels)) == 20


@both_rounds
def test_the_first_of_equally_near_centres(find):
    image = np.array([[[0.0, 1, 2, 3, 4]]])
    assert find(image, 2, start=np.array([[4.0], [0]]), iterations=1).centres.ravel().tolist() == [3, 0.5]
    assert find(image, 2, start=np.array([[0.0], [4]]), iterations=1).centres.ravel().tolist() == [1, 3.5]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_the_order_of_pixels_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    image, order = rng.integers(0, 256, (3, 1, 60), dtype=np.uint8), rng.permutation(60)
    start = some_points(image, 4, seed)
    ours, shuffled = kmeans(image, 4, start=start), kmeans(image[..., order], 4, start=start)
    np.testing.assert_array_equal(ours.labels[:, order], shuffled.labels)
    np.testing.assert_array_equal(ours.centres, shuffled.centres)


@pytest.mark.parametrize("start", ["k-means++", "random"])
def test_more_clusters_than_colours_end_well(start):
    found = kmeans(np.full((3, 4, 5), 7, np.uint8), 6, start=start)
    assert found.inertia == 0 and found.converged
    np.testing.assert_array_equal(found.painted(), np.full((3, 4, 5), 7))


def test_batch_is_each_image_for_itself():
    batch = np.stack([channels_first("coffee", 8)[:, :48, :48], channels_first("astronaut", 8)[:, :48, :48]])
    together = kmeans(batch, 4, restarts=3, seed=5)
    for number, image in enumerate(batch):
        alone = kmeans(image, 4, restarts=3, seed=5)
        np.testing.assert_array_equal(together.labels[number], alone.labels)
        np.testing.assert_array_equal(together.centres[number], alone.centres)
    followed = by_torch(batch.astype(np.float64), 4, restarts=3, seed=5)
    np.testing.assert_array_equal(kmeans(batch.astype(np.float64), 4, restarts=3, seed=5).labels, followed.labels)


def test_an_empty_batch_is_a_batch():
    found = kmeans(np.zeros((0, 3, 4, 5), np.uint8), 2)
    assert found.labels.shape == (0, 4, 5) and found.centres.shape == (0, 2, 3) and found.inertia.shape == (0,)


def test_the_number_of_threads_does_not_matter():
    image = np.random.default_rng(0).random((3, 300, 300))
    threads = torch.get_num_threads()
    try:
        labels = []
        for number in (1, 3):
            torch.set_num_threads(number)
            labels.append(kmeans(image, 6, iterations=5))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(labels[0].centres, labels[1].centres)
    assert labels[0].inertia == labels[1].inertia


def test_views_read_only_arrays_and_gradients():
    image = photos.load("coffee").image[::8, ::8]
    expected = kmeans(np.ascontiguousarray(image.transpose(2, 0, 1)), 4).labels
    image.flags.writeable = False
    np.testing.assert_array_equal(kmeans(image.transpose(2, 0, 1), 4).labels, expected)
    followed = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)).requires_grad_()
    found = kmeans(followed, 4)
    np.testing.assert_array_equal(found.labels.numpy(), expected)
    assert not found.centres.requires_grad


def test_restarts_keep_the_best():
    image = channels_first("rocket", 6)
    alone = [kmeans(image, 6, start="random", seed=seed).inertia for seed in range(3)]
    assert kmeans(image, 6, start="random", restarts=12, seed=0).inertia <= alone[0]


def test_plus_plus_draws_in_proportion_to_squared_distance():
    image = np.array([[[0.0, 1, 3]]])
    second = [
        kmeans(image, 2, iterations=1, seed=seed).labels.ravel().tolist() for seed in range(600)
    ]  # the partition after a round tells which pixels were drawn: 0|1 3 or 0 1|3
    apart = np.mean([labels[0] == labels[1] for labels in second])
    # {0, 3} and {1, 3} leave 0 and 1 together: from 0 with chance 9/10, from 1 with 4/5, from 3 always.
    assert apart == pytest.approx((9 / 10 + 4 / 5 + 1) / 3, abs=0.05)


def test_place_keeps_equal_colours_apart():
    image = np.zeros((3, 10, 40), np.uint8)
    labels = kmeans(image, 2, position_weight=1.0, restarts=5).labels
    assert len(set(labels[:, :15].ravel())) == len(set(labels[:, 25:].ravel())) == 1
    assert labels[0, 0] != labels[0, -1]
    scaled = kmeans(image.astype(np.float32) / 255, 2, position_weight=1.0, restarts=5)
    np.testing.assert_array_equal(labels, scaled.labels)


def test_grey_images_need_no_channel():
    grey = photos.load("coins").image
    found = kmeans(grey, 3)
    assert found.labels.shape == grey.shape and found.centres.shape == (3, 1)
    np.testing.assert_array_equal(found.labels, kmeans(grey[None], 3).labels)
    assert found.painted().shape == (1, *grey.shape)


def test_tensors_give_tensors():
    found = kmeans(torch.from_numpy(channels_first("coffee", 10)), 3)
    for value in (found.labels, found.centres, found.inertia, found.iterations, found.converged, found.painted()):
        assert isinstance(value, torch.Tensor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be 1 or more, got 0"),
        ({"k": 200}, "k must be at most the number of pixels, 100, got 200"),
        ({"k": 2, "start": "best"}, "'k-means\\+\\+', 'random' or the centres, got 'best'"),
        ({"k": 2, "start": np.zeros((3, 3))}, r"start must have shape \(2, 3\), centres by features, got \(3, 3\)"),
        ({"k": 2, "restarts": 0}, "restarts must be 1 or more"),
        ({"k": 2, "tolerance": -1}, "tolerance must be 0 or more"),
        ({"k": 2, "position_weight": float("nan")}, "position_weight must be 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        kmeans(np.zeros((3, 10, 10), np.uint8), **options)


def test_channels_last_are_recognised():
    with pytest.raises(ValueError, match=r"use image\.transpose"):
        kmeans(photos.load("coffee").image, 3)


def test_a_round_runs_on_the_device_of_its_points_and_compiled():
    points, centres = torch.rand(2, 3, 100), torch.rand(2, 4, 3)
    expected = lloyd_round(points, centres)
    for ours, theirs in zip(
        torch.compile(lloyd_round, fullgraph=True, backend="eager")(points, centres), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    with FakeTensorMode():
        parts = lloyd_round(torch.zeros(2, 3, 100, device="cuda"), torch.zeros(2, 4, 3, device="cuda"))
    assert {part.device.type for part in parts} == {"cuda"}
    assert [part.shape for part in parts] == [part.shape for part in expected]
