"""Dense CRFs against pydensecrf, plain loops and sums over all pairs; the lattice against what its paper proves."""

import itertools
import math
import os

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.classical import kmeans
from segedu.datasets import photos
from segedu.models import crf as crf_module
from segedu.models import permutohedral
from segedu.models.crf import DenseCRF, ExactDenseCRF
from segedu.models.permutohedral import PermutohedralLattice
from segedu.models.simplices import elevate, enclosing_simplex

COLOUR = ["astronaut", "chelsea", "coffee", "motorcycle", "rocket"]


def pydensecrf():
    """pydensecrf2, which pip has to compile: CI must have it, others may lack a compiler."""
    if "CI" in os.environ:
        import pydensecrf.densecrf as module

        return module
    return pytest.importorskip(
        "pydensecrf.densecrf", reason="pydensecrf2 is not there; make test builds it where there is a C++ compiler"
    )


@pytest.fixture
def nowhere(monkeypatch):
    """Make the modules take no tensor for one in memory, so that they compute with torch."""

    def switch(on: bool = True) -> None:
        for module in (crf_module, permutohedral):
            monkeypatch.setattr(module, "in_memory", lambda tensor: not on and tensor.device.type == "cpu")

    switch()
    return switch


def noisy_truth(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a photograph's labels, of which many are wrong, and the photograph."""
    photo = photos.load(name)
    _, labels = np.unique(photo.semantic, return_inverse=True)
    K, rng = labels.max() + 1, np.random.default_rng(0)
    labels = np.where(rng.random(labels.shape) < 0.6, labels, rng.integers(0, K, labels.shape))
    logits = 2 * np.eye(K, dtype=np.float32)[labels] + rng.normal(0, 0.5, (*labels.shape, K)).astype(np.float32)
    return batch(logits), batch(photo.image)


def colour_segments(name: str, K: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a photograph's segments by k-means, and the photograph."""
    image = photos.load(name).image
    found = kmeans(image.transpose(2, 0, 1), K, iterations=3, seed=0)
    distances = ((image[..., None, :] - np.asarray(found.centres)) ** 2).sum(-1)
    return batch(-np.sqrt(distances).astype(np.float32) / 20), batch(image)


def batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None]


def small(K: int, side: int, name: str = "coffee") -> tuple[torch.Tensor, torch.Tensor]:
    """A crop of a photograph, shrunk to side x side, and noise."""
    image = cv2.resize(photos.load(name).image[100:356, 150:406], (side, side), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, K, side, side)).astype(np.float32)), batch(image)


def peer(logits: torch.Tensor, image: torch.Tensor, iterations: int, gaussian=3, bilateral=4, xy=49, rgb=5, sigma=3):
    """pydensecrf's probabilities (1, K, H, W)."""
    _, K, H, W = logits.shape
    assert H * W % 4 == 0  # else it fills up with black pixels at (0, 0), whose lattice points change others' results
    model = pydensecrf().DenseCRF2D(W, H, K)
    model.setUnaryEnergy(np.ascontiguousarray(-logits.log_softmax(1).numpy().reshape(K, -1)))
    model.addPairwiseGaussian(sxy=sigma, compat=gaussian)
    rgb_image = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    model.addPairwiseBilateral(sxy=xy, srgb=rgb, rgbim=rgb_image, compat=bilateral)
    return torch.from_numpy(np.array(model.inference(iterations)).reshape(1, K, H, W))


def assert_agree(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ((ours - theirs).abs() <= 1e-3).all()
    assert (ours.argmax(1) == theirs.argmax(1)).float().mean() >= 0.999


# ----------------------------------------------------------------------------------------------------------- pydensecrf


@pytest.mark.parametrize("name", ["chelsea", pytest.param("rocket", marks=pytest.mark.slow)])
def test_noisy_labels_as_pydensecrf(name):
    logits, image = noisy_truth(name)
    ours = DenseCRF(logits.shape[1])(logits, image)
    assert_agree(ours, peer(logits, image, 10))
    assert (ours.argmax(1) != logits.argmax(1)).float().mean() > 0.1  # it had something to do


@pytest.mark.slow
@pytest.mark.parametrize("name", COLOUR)
def test_21_segments_as_pydensecrf(name):
    logits, image = colour_segments(name, 21)
    assert_agree(DenseCRF(21)(logits, image), peer(logits, image, 10))


def test_21_segments_of_a_part_as_pydensecrf():
    logits, image = (whole[..., 100:260, 150:350] for whole in colour_segments("coffee", 21))
    assert_agree(DenseCRF(21)(logits, image), peer(logits, image, 10))


@pytest.mark.parametrize(
    "settings",
    [
        {"gaussian": 5, "sigma": 1.5, "bilateral": 10, "xy": 80, "rgb": 13},  # those of pydensecrf's own example
        {"gaussian": 3, "sigma": 3, "bilateral": 3, "xy": 30, "rgb": 3},  # the ends of what DeepLab tried
        {"gaussian": 3, "sigma": 3, "bilateral": 6, "xy": 100, "rgb": 6},
    ],
)
def test_other_parameters_as_pydensecrf(settings):
    logits, image = small(5, 96)
    weights = settings["gaussian"], settings["sigma"], settings["bilateral"], settings["xy"], settings["rgb"]
    assert_agree(DenseCRF(5, 10, *weights)(logits, image), peer(logits, image, 10, **settings))


def test_a_compatibility_matrix_as_pydensecrf():
    logits, image = small(4, 60)
    random = np.random.default_rng(1).random((4, 4)).astype(np.float32)
    penalties = random + random.T
    model = DenseCRF(4, compatibility="learnt").eval()
    model.compatibility.data = torch.from_numpy(penalties)
    with torch.no_grad():
        assert_agree(model(logits, image), peer(logits, image, 10, 3 * penalties, 4 * penalties))


def test_every_step_as_pydensecrf():
    logits, image = small(3, 64)
    steps = list(DenseCRF(3, iterations=4).steps(logits, image))
    assert len(steps) == 5
    for iterations, ours in enumerate(steps):
        assert_agree(ours, peer(logits, image, iterations))
    assert torch.equal(steps[-1], DenseCRF(3, iterations=4)(logits, image))


# ---------------------------------------------------------------------------------------------------------- plain loops


def loops(logits, image, labels, model):
    """Algorithm 1 and the energy by the paper's equations, one pair of pixels at a time."""
    K, H, W = logits.shape
    pixels = [(y, x) for y in range(H) for x in range(W)]
    mu = (1 - torch.eye(K) if model.compatibility is None else model.compatibility).tolist()

    def kernel(i, j, xy, rgb):
        positions = sum((a - b) ** 2 for a, b in zip(i, j, strict=True)) / (2 * xy**2)
        colours = sum((float(a) - float(b)) ** 2 for a, b in zip(image[:, *i], image[:, *j], strict=True))
        return math.exp(-positions - (colours / (2 * rgb**2) if rgb else 0))

    pairwise = {}
    sigmas = (model.gaussian_sigma, None), (model.bilateral_sigma_xy, model.bilateral_sigma_rgb)
    for w, (xy, rgb) in zip(model.kernel_weights.tolist(), sigmas, strict=True):
        k = {(i, j): kernel(i, j, xy, rgb) for i in pixels for j in pixels}
        total = {i: sum(k[i, j] for j in pixels) for i in pixels}
        for i, j in k:
            pairwise[i, j] = pairwise.get((i, j), 0) + w * k[i, j] / math.sqrt(total[i] * total[j])

    unary = {i: (-logits[:, *i].log_softmax(0)).tolist() for i in pixels}
    energy = sum(unary[i][labels[i]] for i in pixels)
    energy += sum(
        (mu[labels[i]][labels[j]] + mu[labels[j]][labels[i]]) / 2 * pairwise[i, j]
        for i, j in itertools.combinations(pixels, 2)
    )
    energy += sum(mu[labels[i]][labels[i]] * pairwise[i, i] / 2 for i in pixels)

    Q = {i: logits[:, *i].softmax(0).tolist() for i in pixels}
    for _ in range(model.iterations):
        passed = {i: [sum(pairwise[i, j] * Q[j][label] for j in pixels) for label in range(K)] for i in pixels}
        scores = {i: [-unary[i][a] - sum(mu[a][b] * passed[i][b] for b in range(K)) for a in range(K)] for i in pixels}
        Q = {i: torch.tensor(scores[i], dtype=torch.float64).softmax(0).tolist() for i in pixels}
    return torch.tensor([Q[i] for i in pixels], dtype=torch.float64).T.reshape(K, H, W), energy


@pytest.mark.parametrize("compatibility", ["potts", "learnt"])
def test_the_exact_crf_and_its_energy_as_loops(compatibility):
    torch.manual_seed(0)
    model = ExactDenseCRF(3, 3, 1.5, 1.2, 2.0, 4.0, 20.0, compatibility)
    if compatibility == "learnt":
        model.compatibility.data = torch.rand(3, 3)  # neither symmetric nor zero on its diagonal
    logits, image = torch.randn(1, 3, 6, 6, dtype=torch.float64), small(3, 6)[1]
    labels = torch.randint(0, 3, (1, 6, 6))
    probabilities, energy = loops(logits[0], image[0].numpy(), labels[0].numpy(), model)
    torch.testing.assert_close(model(logits, image)[0], probabilities, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.energy(labels, logits, image)[0].item(), energy, rtol=1e-6, atol=0)


# The blurred lattice comes close to a Gaussian, but is none; a small image is nearly all border, where it is worst.
@pytest.mark.parametrize("settings", [{}, {"bilateral_sigma_xy": 20, "bilateral_sigma_rgb": 20}])
@pytest.mark.parametrize("name", ["coffee", "astronaut"])
def test_the_lattice_is_close_to_the_exact_crf(name, settings):
    labels = cv2.resize(photos.load(name).semantic[100:356, 150:406], (32, 32), interpolation=cv2.INTER_NEAREST)
    _, labels = np.unique(labels, return_inverse=True)
    K = labels.max() + 1
    logits, image = small(K, 32, name)
    logits += batch(2 * np.eye(K, dtype=np.float32)[labels])
    models = [model(K, **settings) for model in (DenseCRF, ExactDenseCRF)]
    ours, exact = (model(logits, image) for model in models)
    assert (ours - exact).abs().mean() < 0.01
    assert (ours.argmax(1) == exact.argmax(1)).float().mean() > 0.975
    values = torch.rand(1, 32 * 32, 4)
    for kernel, exact_kernel in zip(*(model.kernels(image) for model in models), strict=True):
        expected = exact_kernel.filter(values)
        assert (kernel.filter(values) - expected).abs().mean() < 0.05 * expected.mean()
    energies = [model.energy(torch.from_numpy(labels)[None], logits, image) for model in models]
    torch.testing.assert_close(*energies, rtol=0.05, atol=0)


# ---------------------------------------------------------------------------------------------------------- the lattice


def random_features(D: int, N: int = 300, entries: int = 1) -> torch.Tensor:
    return 3 * torch.randn(entries, N, D, generator=torch.Generator().manual_seed(D))


@pytest.mark.parametrize("D", [1, 2, 5, 6])
def test_elevation_keeps_shapes_and_lies_in_the_plane(D):
    features = random_features(D)[0]
    elevated = elevate(features)
    torch.testing.assert_close(elevated.sum(1), torch.zeros(300), rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.pdist(elevated), torch.pdist(features) * math.sqrt(2 / 3) * (D + 1))


@given(st.lists(st.floats(-50, 50, width=32), min_size=5, max_size=5))
def test_points_are_the_weighted_means_of_their_lattice_points(point):
    elevated = elevate(torch.tensor([point]))
    C = 6
    one_by_one = [enclosing_simplex(elevated, axis) for axis in torch.eye(C, dtype=torch.int64)]
    corners = torch.stack([keys[0] for keys, _ in one_by_one], 1)  # the coordinates of each corner
    weights = one_by_one[0][1][0]
    assert weights.min() >= -1e-5
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    torch.testing.assert_close(weights @ corners.float(), elevated[0], rtol=1e-5, atol=1e-4)
    assert (corners.sum(1) == 0).all()
    # The coordinates of corner r leave the remainder r; and any two corners are D or less apart.
    assert torch.equal(corners.remainder(C), torch.arange(C)[:, None].expand(C, C))
    assert (corners.amax(0) - corners.amin(0)).max() == C - 1


@pytest.mark.parametrize("D", [1, 2, 5, 6])
@pytest.mark.parametrize("entries", [1, 3])
def test_loops_filter_as_torch_does(D, entries, nowhere):
    features, values = random_features(D, 4000, entries), torch.rand(entries, 4000, 11)
    expected = PermutohedralLattice(features).normalise().filter(values)
    nowhere(False)
    lattice = PermutohedralLattice(features).normalise()
    torch.testing.assert_close(lattice.filter(values), expected, rtol=1e-5, atol=1e-6)
    alone = [
        PermutohedralLattice(one[None]).normalise().filter(v[None]) for one, v in zip(features, values, strict=True)
    ]
    torch.testing.assert_close(torch.cat(alone), expected, rtol=1e-5, atol=1e-6)


def test_many_lattice_points(nowhere):
    features, values = 20 * random_features(5, 12_000), torch.rand(1, 12_000, 2)
    expected = PermutohedralLattice(features).filter(values)
    nowhere(False)
    lattice = PermutohedralLattice(features)
    assert lattice.neighbours.shape[2] > 65_000  # the hash table has grown
    torch.testing.assert_close(lattice.filter(values), expected)


def test_a_single_value_spreads_as_a_gaussian():
    offsets = torch.linspace(0, 3, 13)
    rows = torch.stack([offsets, torch.zeros(13)], 1)
    shifts = torch.rand(400, 1, 2, generator=torch.Generator().manual_seed(0)) * 20
    grid = torch.cartesian_prod(torch.arange(-8, 8.1, 0.5), torch.arange(-8, 8.1, 0.5))  # so that the lattice is there
    features = torch.cat([rows.expand(400, -1, -1), grid.expand(400, -1, -1)], 1) + shifts
    values = torch.zeros(400, features.shape[1], 1)
    values[:, 0] = 1
    response = PermutohedralLattice(features).filter(values)[:, :13, 0].mean(0)
    torch.testing.assert_close(response / response[0], (-(offsets**2) / 2).exp(), rtol=0, atol=0.06)


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (torch.zeros(1, 4, 2, dtype=torch.int64), TypeError, "floating point, got torch.int64"),
        (torch.zeros(4, 2), ValueError, r"\(B, N, D\) and no empty axis, got \(4, 2\)"),
        (torch.zeros(1, 0, 2), ValueError, r"got \(1, 0, 2\)"),
        (torch.tensor([[[0.0, torch.nan]]]), ValueError, "finite"),
        (torch.tensor([[[0.0] * 5, [1e4] * 5]]), ValueError, "larger standard deviations"),
    ],
)
def test_features_that_no_lattice_takes(features, error, message):
    with pytest.raises(error, match=message):
        PermutohedralLattice(features)


def test_values_of_other_points():
    with pytest.raises(ValueError, match=r"those of 300 points, got \(1, 299, 2\)"):
        PermutohedralLattice(random_features(2)).filter(torch.zeros(1, 299, 2))


# ------------------------------------------------------------------------------------------------ batches, dtypes, etc.


def two_images() -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [small(3, 24, name) for name in ("coffee", "chelsea")]
    return torch.cat([-pairs[0][0], pairs[1][0]]), torch.cat([pairs[0][1], pairs[1][1]])


@pytest.mark.parametrize("model", [DenseCRF, ExactDenseCRF])
@pytest.mark.parametrize("in_loops", [True, False])
def test_batches_as_each_image_alone(model, in_loops, nowhere):
    nowhere(not in_loops)
    logits, images = two_images()
    alone = torch.cat([model(3)(logits[b : b + 1], images[b : b + 1]) for b in range(2)])
    torch.testing.assert_close(model(3)(logits, images), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("K", [2, 8, 21])
@pytest.mark.parametrize("compatibility", ["potts", "learnt"])
def test_loops_give_what_torch_gives(K, compatibility, nowhere):
    torch.manual_seed(0)
    (logits, images), model = two_images(), DenseCRF(K, compatibility=compatibility)
    logits = torch.randn(2, K, *logits.shape[2:])
    if compatibility == "learnt":
        model.compatibility.data = torch.rand(K, K)
    with torch.no_grad():
        expected = list(model.steps(logits, images))
        nowhere(False)
        steps = list(model.steps(logits, images))
    for ours, theirs in zip(steps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        assert ours.is_contiguous()
    with torch.inference_mode():
        assert torch.equal(model(logits, images), steps[-1])


def test_threads_change_nothing(one_thread):
    logits, images = small(9, 200)  # so many pixels that there is work for several threads
    model, results = DenseCRF(9, iterations=2), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(model(logits, images))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_images_of_floats_and_logits_of_other_precision():
    logits, images = two_images()
    expected = DenseCRF(3)(logits, images)
    torch.testing.assert_close(DenseCRF(3)(logits, images / 255), expected, rtol=0, atol=1e-3)
    assert DenseCRF(3)(logits.double(), images).dtype == torch.float64
    torch.testing.assert_close(DenseCRF(3)(logits.double(), images).float(), expected, rtol=0, atol=1e-5)
    half = DenseCRF(3)(logits.bfloat16(), images)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, DenseCRF(3)(logits.bfloat16().float(), images))


def test_impossible_labels_stay_impossible():
    logits, images = two_images()
    probabilities = logits.softmax(1)
    torch.testing.assert_close(DenseCRF(3)(probabilities.log(), images), DenseCRF(3)(logits, images), rtol=0, atol=1e-5)
    logits[:, 1] = -torch.inf
    result = DenseCRF(3)(logits, images)
    assert (result[:, 1] == 0).all()
    torch.testing.assert_close(result[:, [0, 2]], DenseCRF(2)(logits[:, [0, 2]], images), rtol=0, atol=1e-5)


def test_no_iteration_is_a_softmax():
    logits, images = two_images()
    torch.testing.assert_close(DenseCRF(3, iterations=0)(logits, images), logits.softmax(1))


# ---------------------------------------------------------------------------------------------------- learning, devices


@pytest.mark.parametrize("model", [DenseCRF, ExactDenseCRF])
def test_gradients_as_by_differences(model):
    torch.manual_seed(0)
    crf = model(3, 2, 1.0, 1.5, 1.0, 4.0, 30.0, "learnt").double()
    images = small(3, 4)[1]

    def probabilities(logits, compatibility, weights):
        parameters = {"compatibility": compatibility, "kernel_weights": weights}
        return torch.func.functional_call(crf, parameters, (logits, images))

    inputs = torch.randn(1, 3, 4, 4), torch.rand(3, 3), torch.rand(2)
    assert torch.autograd.gradcheck(probabilities, tuple(t.double().requires_grad_() for t in inputs))


def test_potts_has_nothing_to_learn():
    assert not any(parameter.requires_grad for parameter in DenseCRF(3).parameters())
    assert sum(p.numel() for p in DenseCRF(3, compatibility="learnt").parameters() if p.requires_grad) == 11


def test_a_compatibility_is_learnt():
    torch.manual_seed(0)
    logits, images = two_images()
    target = logits.roll(1, 1).argmax(1)  # every label is called by another's name
    model = DenseCRF(3, 2, compatibility="learnt")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(6):
        loss = torch.nn.functional.nll_loss((model(logits, images) + 1e-6).log(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


# Without a GPU, PyTorch goes backward through fake tensors on "lazy", a device that is not the CPU either.
@pytest.mark.parametrize("device", ["cuda", "lazy:0"])
@pytest.mark.parametrize("model", [DenseCRF, ExactDenseCRF])
def test_makes_all_it_needs_on_the_images_device(model, device):
    with FakeTensorMode():
        with torch.device(device):
            crf = model(3, 2, compatibility="learnt")
            logits, images = torch.rand(2, 3, 9, 8, requires_grad=True), torch.zeros(2, 3, 9, 8, dtype=torch.uint8)
        probabilities = crf(logits, images)
        assert probabilities.device.type in device
        assert crf.energy(probabilities.argmax(1), logits, images).device.type in device
        if device == "lazy:0":
            probabilities.square().sum().backward()
            assert all(tensor.grad.shape == tensor.shape for tensor in (logits, *crf.parameters()))


@pytest.mark.parametrize(("model", "compatibility"), [(DenseCRF, "potts"), (ExactDenseCRF, "learnt")])
@torch.no_grad()
def test_compiles_into_one_graph(model, compatibility):
    logits, images = two_images()
    crf = model(3, 1, compatibility=compatibility)
    torch.compiler.reset()
    compiled = torch.compile(crf, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, images), crf(logits, images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", [DenseCRF, ExactDenseCRF])
def test_half_precision_stays_close(model):
    logits, images = two_images()
    crf, leaf = model(3, 3, compatibility="learnt"), logits.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        probabilities = crf(leaf, images)
    probabilities.square().sum().backward()
    torch.testing.assert_close(probabilities, crf(logits, images), rtol=0, atol=0.1)
    assert leaf.grad.isfinite().all()


# --------------------------------------------------------------------------------------------------------------- errors

LOGITS, IMAGES = torch.zeros(2, 3, 8, 9), torch.zeros(2, 3, 8, 9, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("logits", "images", "error", "message"),
    [
        (LOGITS.numpy(), IMAGES, TypeError, "logits must be a PyTorch tensor, got ndarray"),
        (LOGITS, IMAGES.numpy(), TypeError, "images must be a PyTorch tensor, got ndarray"),
        (LOGITS.long(), IMAGES, TypeError, "floating point, got torch.int64"),
        (LOGITS, IMAGES.int(), TypeError, r"uint8 or floating point in \[0, 1\], got torch.int32"),
        (LOGITS[0], IMAGES, ValueError, r"\(B, 3, H, W\) and no empty axis, got \(3, 8, 9\)"),
        (LOGITS[:, :2], IMAGES, ValueError, r"\(B, 3, H, W\) and no empty axis, got \(2, 2, 8, 9\)"),
        (LOGITS[..., :0], IMAGES[..., :0], ValueError, r"no empty axis, got \(2, 3, 8, 0\)"),
        (LOGITS, IMAGES.mT, ValueError, r"\(2, 3, 8, 9\), as the logits do, got \(2, 3, 9, 8\)"),
        (LOGITS, IMAGES[:, :1], ValueError, r"got \(2, 1, 8, 9\)"),
        (LOGITS, IMAGES[:1], ValueError, r"got \(1, 3, 8, 9\)"),
        (LOGITS, IMAGES.to("meta"), ValueError, "on one device, got cpu and meta"),
        (LOGITS, IMAGES + 255.0, ValueError, r"in \[0, 1\]"),
        (LOGITS, IMAGES - 0.5, ValueError, "not the normalised one"),
        (LOGITS, IMAGES + torch.nan, ValueError, r"in \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("model", [DenseCRF, ExactDenseCRF])
def test_wrong_input_is_named(model, logits, images, error, message):
    with pytest.raises(error, match=message):
        model(3)(logits, images)


@pytest.mark.parametrize("labels", [torch.zeros(2, 8, 8, dtype=torch.int64), torch.zeros(2, 8, 9)])
def test_labels_of_other_images(labels):
    with pytest.raises(ValueError, match=r"integers of shape \(2, 8, 9\), got"):
        DenseCRF(3).energy(labels, LOGITS, IMAGES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "2 classes or more"),
        ({"iterations": -1}, "0 iterations or more"),
        ({"gaussian_sigma": 0}, "standard deviations above 0"),
        ({"bilateral_sigma_rgb": math.nan}, "standard deviations above 0"),
        ({"compatibility": "pots"}, "'potts' or 'learnt', got 'pots'"),
    ],
)
def test_wrong_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        DenseCRF(**{"num_classes": 3, **settings})
